"""Answers with proofs, templates and shared keys over real sockets, and what people are told."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

import grpc
import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward_chain.authorization import Signer
from cipherward_chain.canonical import decode_map, encode
from cipherward_chain.group_keys import GroupKeyEntry, group_key_key
from cipherward_chain.key_holders import KeyHolders, key_holders_key
from cipherward_chain.state_proof import verify_state_proof
from cipherward_contract.entries import INSTANCE, KEY, Instance, template_key
from cipherward_contract.entries import RECORD as RECORD_ENTRY
from cipherward_contract.testing import (
    MEMBERS,
    Story,
    instantiate,
    shipped_documents,
    transition,
)
from cipherward_contract.testing_data_keys import KEY as KEY_ID
from cipherward_contract.testing_data_keys import RESHARING, handed_over, ready_key
from cipherward_contract.testing_records import (
    CONSENT,
    DAY,
    READER_KEY,
    RECORD,
    ConsentScene,
    share_record_key,
)
from cipherward_kit.errors import reason_of

SECONDS = 10.0


class Serving(Protocol):
    """The fixture of conftest.py."""

    story: Story

    def stub(self, member: str = ..., service: str = ...) -> ContractServiceStub: ...

    def holder(self) -> ContractServiceStub: ...

    def read(self, signer: Signer, method: str, object_id: bytes) -> chain_pb.AuthorizedRead: ...


@pytest.fixture
async def scene(serving: Serving) -> ConsentScene:
    return await ConsentScene.begin(serving.story)


def verified(proven: pb.ProvenState) -> dict[bytes, bytes | None]:
    """Return what a state proves, by key; every proof leads to its app hash."""
    return {
        proof.key: verify_state_proof(proof, proven.app_hash, proof.key) for proof in proven.proofs
    }


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code(), reason_of(caught.value)


async def decide(
    serving: Serving, signer: Signer, purpose: str = "TREAT", *, with_proof: bool = True
) -> pb.DecideResponse:
    request = pb.DecideRequest(
        read=serving.read(signer, "Decide", CONSENT),
        transition="open",
        arguments=encode({"reader_key": READER_KEY, "purpose": purpose}),
        with_proof=with_proof,
    )
    return await serving.holder().Decide(request, timeout=SECONDS)


async def test_a_decision_proves_the_entries_it_was_made_from(
    serving: Serving, scene: ConsentScene
) -> None:
    answer = await decide(serving, scene.clinician)
    assert (answer.allowed, list(answer.policies)) == (True, ["grantee-opens"])
    committed = await scene.story.chain.committed()
    assert committed is not None
    assert answer.proven.app_hash == committed.head.app_hash
    assert answer.proven.height == committed.head.height
    shown = verified(answer.proven)
    raw = shown[INSTANCE + CONSENT]
    assert raw is not None
    assert Instance.from_bytes(CONSENT, raw).position.state == "active"
    assert shown[RECORD_ENTRY + RECORD] is not None
    assert shown[KEY + scene.clinician.public_key] is not None
    assert b"erased/" + RECORD in shown  # that it is not erased counts too: proven absent
    assert shown[b"erased/" + RECORD] is None


async def test_a_denial_is_proven_as_well_and_a_plain_answer_proves_nothing(
    serving: Serving, scene: ConsentScene
) -> None:
    denied = await decide(serving, scene.clinician, "HRESCH")
    assert (denied.allowed, list(denied.policies)) == (False, ["purpose-differs"])
    assert INSTANCE + CONSENT in verified(denied.proven)
    plain = await decide(serving, scene.clinician, with_proof=False)
    assert plain.allowed
    assert not plain.HasField("proven")


async def test_proofs_are_for_who_may_read_the_contract(
    serving: Serving, scene: ConsentScene
) -> None:
    stranger = await scene.story.staff("hospital-c", "clinician", "stranger")
    assert not (await decide(serving, stranger, with_proof=False)).allowed
    assert await refusal(decide(serving, stranger)) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "READ_REJECTED",
    )


async def test_a_contract_is_answered_with_its_entry(serving: Serving, scene: ConsentScene) -> None:
    request = pb.GetContractRequest(
        read=serving.read(scene.owner, "GetContract", CONSENT), with_proof=True
    )
    answer = await serving.holder().GetContract(request, timeout=SECONDS)
    ((key, raw),) = verified(answer.proven).items()
    assert key == INSTANCE + CONSENT
    assert raw is not None
    assert Instance.from_bytes(CONSENT, raw).origin.document == answer.contract.terms
    assert decode_map(answer.contract.terms)["purposes"] == ["TREAT"]


async def test_a_data_key_is_answered_with_who_holds_it(serving: Serving) -> None:
    story = serving.story
    key = await ready_key(story)

    async def held() -> bytes | None:
        read = serving.read(story.member("hospital-b"), "GetContract", KEY_ID)
        request = pb.GetContractRequest(read=read, with_proof=True)
        answer = await serving.holder().GetContract(request, timeout=SECONDS)
        shown = verified(answer.proven)
        assert set(shown) == {INSTANCE + KEY_ID, key_holders_key(KEY_ID)}
        return shown[key_holders_key(KEY_ID)]

    assert await held() is None  # those that its terms name
    await handed_over(key, MEMBERS[:3])
    raw = await held()
    assert raw is not None
    assert KeyHolders.from_bytes(raw) == KeyHolders(MEMBERS[:3], 3, RESHARING)


async def test_staff_read_no_emergency_but_their_own(
    serving: Serving, scene: ConsentScene, emergency: int
) -> None:
    assert emergency
    stranger = await scene.story.staff("hospital-c", "clinician", "stranger")
    officer = await scene.story.staff("hospital-a", "dpo", "officer")

    async def state(signer: Signer) -> str:
        request = pb.GetContractRequest(read=serving.read(signer, "GetContract", b"e" * 16))
        answer = await serving.holder().GetContract(request, timeout=SECONDS)
        return answer.contract.state

    for signer in (scene.clinician, officer, scene.owner):
        assert await state(signer) == "open"
    assert (await refusal(state(stranger)))[1] == "READ_REJECTED"


async def test_a_template_is_answered_with_its_proof(serving: Serving) -> None:
    documents = {found.name: found.document for found in shipped_documents()}
    for version in (0, 1):
        request = pb.GetTemplateRequest(name="consent", version=version)
        answer = await serving.holder().GetTemplate(request, timeout=SECONDS)
        assert answer.version == 1
        assert verified(answer.proven) == {template_key("consent", 1): documents["consent"]}
    for name, version in (("consent", 9), ("nothing", 0), ("nothing", 1)):
        request = pb.GetTemplateRequest(name=name, version=version)
        assert await refusal(serving.holder().GetTemplate(request, timeout=SECONDS)) == (
            grpc.StatusCode.NOT_FOUND,
            "TEMPLATE_UNKNOWN",
        )


async def test_a_shared_key_is_answered_with_its_proof(serving: Serving) -> None:
    request = pb.GetGroupKeyRequest(purpose="record")
    assert await refusal(serving.holder().GetGroupKey(request, timeout=SECONDS)) == (
        grpc.StatusCode.NOT_FOUND,
        "GROUP_KEY_UNKNOWN",
    )
    entries = [await share_record_key(serving.story) for _ in range(2)]
    newest = await serving.holder().GetGroupKey(request, timeout=SECONDS)
    assert newest.key_epoch == 2
    request.key_epoch = 1
    first = await serving.holder().GetGroupKey(request, timeout=SECONDS)
    (raw,) = verified(first.proven).values()
    assert raw is not None
    assert GroupKeyEntry.from_bytes(raw) == entries[0]
    assert list(verified(newest.proven)) == [group_key_key("record", 2)]
    wrong = pb.GetGroupKeyRequest(purpose="study")
    assert await refusal(serving.holder().GetGroupKey(wrong, timeout=SECONDS)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "PURPOSE_UNKNOWN",
    )


async def test_before_the_chain_begins_nothing_is_proven(serving_nothing_yet: Serving) -> None:
    holder = serving_nothing_yet.holder()
    for call in (
        holder.GetTemplate(pb.GetTemplateRequest(name="consent"), timeout=SECONDS),
        holder.GetGroupKey(pb.GetGroupKeyRequest(purpose="record"), timeout=SECONDS),
    ):
        assert (await refusal(call))[1] == "CHAIN_NOT_INITIALISED"


async def notices(
    serving: Serving, signer: Signer, about: bytes = b"", **page: Any
) -> pb.ListNoticesResponse:
    request = pb.ListNoticesRequest(read=serving.read(signer, "ListNotices", about), **page)
    return await serving.holder().ListNotices(request, timeout=SECONDS)


@pytest.fixture
async def emergency(scene: ConsentScene) -> int:
    """Break the glass; return the block's time."""
    terms = {
        "record": RECORD,
        "reader_key": READER_KEY,
        "reason": "unconscious",
        "visit_seconds": 60,
    }
    await scene.story.applied(scene.clinician, instantiate("emergency-access", b"e" * 16, terms))
    return scene.story.now - 1


async def test_owner_and_keepers_are_told_of_an_emergency(
    serving: Serving, scene: ConsentScene, emergency: int
) -> None:
    for signer, about in ((scene.owner, RECORD), (scene.story.member("hospital-a"), b"")):
        told = (await notices(serving, signer, about)).notices
        assert [notice.kind for notice in told] == ["emergency", "review-due"]
        assert {(notice.record_id, notice.instance_id) for notice in told} == {(RECORD, b"e" * 16)}
        assert not told[0].HasField("due")
        assert told[1].due.seconds == emergency + 3 * DAY
        assert told[0].time.seconds == emergency
    assert not (await notices(serving, scene.story.member("hospital-c"))).notices


async def test_notices_come_in_pages(serving: Serving, scene: ConsentScene, emergency: int) -> None:
    assert emergency
    await scene.story.applied(scene.clinician, transition(b"e" * 16, "close"))
    member = scene.story.member("hospital-a")
    first = await notices(serving, member, page_size=2)
    assert [notice.kind for notice in first.notices] == ["emergency", "review-due"]
    rest = await notices(serving, member, page_size=2, page_token=first.next_page_token)
    assert [notice.kind for notice in rest.notices] == ["emergency-ended"]
    assert rest.next_page_token == ""
    wrong = notices(serving, member, page_token="x")
    assert (await refusal(wrong))[1] == "PAGE_TOKEN_MALFORMED"


async def test_nobody_reads_what_others_were_told(
    serving: Serving, scene: ConsentScene, emergency: int
) -> None:
    assert emergency
    for signer, about in (
        (scene.clinician, RECORD),  # nobody to the record
        (scene.clinician, b""),  # no member
        (scene.story.member("hospital-a"), RECORD),  # not its owner
        (scene.owner, b"?" * 16),  # no record
    ):
        assert (await refusal(notices(serving, signer, about)))[1] == "READ_REJECTED"


async def test_a_refused_emergency_is_disclosed_to_the_owner(
    serving: Serving, scene: ConsentScene
) -> None:
    researcher = await scene.story.staff("hospital-c", "researcher", "researcher")
    terms = {
        "record": RECORD,
        "reader_key": READER_KEY,
        "reason": "unconscious",
        "visit_seconds": 60,
    }
    await scene.story.act(researcher, instantiate("emergency-access", b"e" * 16, terms))
    request = pb.ListDisclosuresRequest(read=serving.read(scene.owner, "ListDisclosures", RECORD))
    (row,) = (await serving.holder().ListDisclosures(request, timeout=SECONDS)).disclosures
    assert (row.stage, row.reason) == (pb.DISCLOSURE_STAGE_REFUSED, "POLICY_DENIED")
    assert (row.member, row.role, row.purpose) == ("hospital-c", "researcher", "ETREAT")
    assert row.instance_id == b"e" * 16
