"""The service over real sockets: what the ledger drives, what readers ask, who is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward_chain.authorization import PseudonymSigner, Signer
from cipherward_chain.canonical import Value, decode_map, encode
from cipherward_chain.state_proof import verify_state_proof
from cipherward_chain.testing import seed_of
from cipherward_chain.transactions import transaction_id
from cipherward_contract.testing import (
    MEMBERS,
    TICK,
    Presented,
    Story,
    instantiate,
    report,
    transition,
)
from cipherward_contract.testing_registry import suspended
from cipherward_contract.testing_studies import granted, study_terms
from cipherward_kit.errors import reason_of

RECORD, CONSENT = b"r" * 16, b"c" * 16
READER_KEY = bytes(1216)
SECONDS = 10.0


class Serving(Protocol):
    """The fixture of conftest.py."""

    story: Story

    def stub(self, member: str = ..., service: str = ...) -> ContractServiceStub: ...

    def holder(self) -> ContractServiceStub: ...

    def read(self, signer: Signer, method: str, object_id: bytes) -> chain_pb.AuthorizedRead: ...


@dataclass(frozen=True, slots=True)
class People:
    """An owner with a consent to the clinicians of hospital-b, and clinicians of b and c."""

    owner: PseudonymSigner
    grantee: PseudonymSigner
    other: PseudonymSigner


@pytest.fixture
async def people(serving: Serving) -> People:
    story = serving.story
    owner = await story.record(RECORD)
    grantee = await story.staff("hospital-b", "clinician", "grantee")
    other = await story.staff("hospital-c", "clinician", "other")
    await story.applied(owner, instantiate("consent", CONSENT, consent_terms(story)))
    return People(owner, grantee, other)


def consent_terms(story: Story, **changed: Value) -> dict[str, Value]:
    return {
        "record": RECORD,
        "grantee_member": "hospital-b",
        "grantee_key": b"",
        "representative_key": b"",
        "purposes": ["TREAT"],
        "expires": story.now + 1000,
        "visits_max": 2,
        "visit_seconds": 60,
        **changed,
    }


def opening(purpose: str = "TREAT") -> chain_pb.Act:
    return transition(CONSENT, "open", reader_key=READER_KEY, purpose=purpose)


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code(), reason_of(caught.value)


async def test_a_ledger_drives_blocks_through_the_service(serving: Serving) -> None:
    story, stub = serving.story, serving.stub()
    begun = await stub.InitChain(pb.InitChainRequest(genesis=story.keys.document), timeout=SECONDS)
    committed = await stub.GetCommitted(pb.GetCommittedRequest(), timeout=SECONDS)
    assert (committed.height, committed.app_hash) == (0, begun.app_hash)
    assert committed.genesis_digest == hashlib.sha256(story.keys.document).digest()
    assert committed.machine_version == 1
    assert not committed.HasField("next_timer")
    block = pb.ExecuteBlockRequest(
        height=1,
        time=Timestamp(seconds=story.now),
        transactions=[story.transaction(story.member("hospital-a"), TICK)],
    )
    executed = await stub.ExecuteBlock(block, timeout=SECONDS)
    await stub.Commit(pb.CommitRequest(height=1), timeout=SECONDS)
    kept = await stub.GetExecuted(pb.GetExecutedRequest(height=1), timeout=SECONDS)
    assert kept.executed == executed
    committed = await stub.GetCommitted(pb.GetCommittedRequest(), timeout=SECONDS)
    assert (committed.height, committed.app_hash) == (1, executed.app_hash)


async def test_the_ledgers_methods_refuse_with_their_reasons(serving: Serving) -> None:
    stub, story = serving.stub(), serving.story
    malformed = pb.InitChainRequest(genesis=b"{}")
    assert (await refusal(stub.InitChain(malformed, timeout=SECONDS)))[1] == "GENESIS_MALFORMED"
    other = pb.InitChainRequest(genesis=story.keys.document + b" ")
    assert await refusal(stub.InitChain(other, timeout=SECONDS)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "GENESIS_DIFFERS",
    )
    gap = pb.ExecuteBlockRequest(height=7, time=Timestamp(seconds=story.now))
    assert (await refusal(stub.ExecuteBlock(gap, timeout=SECONDS)))[1] == "HEIGHT_GAP"
    large = pb.ExecuteBlockRequest(height=1, transactions=[bytes(2**21 + 1)])
    assert (await refusal(stub.ExecuteBlock(large, timeout=SECONDS)))[1] == "BLOCK_TOO_LARGE"
    first = pb.ExecuteBlockRequest(height=1, time=Timestamp(seconds=story.now))
    commit = pb.CommitRequest(height=1)
    assert (await refusal(stub.Commit(commit, timeout=SECONDS)))[1] == "NOT_EXECUTED"
    await stub.ExecuteBlock(first, timeout=SECONDS)
    later = pb.ExecuteBlockRequest(height=1, time=Timestamp(seconds=story.now + 1))
    assert (await refusal(stub.ExecuteBlock(later, timeout=SECONDS)))[1] == "ANOTHER_BLOCK"
    missing = pb.GetExecutedRequest(height=9)
    assert (await refusal(stub.GetExecuted(missing, timeout=SECONDS)))[1] == "BLOCK_NOT_KEPT"


async def test_nothing_is_answered_before_the_chain_begins(serving_nothing_yet: Serving) -> None:
    serving, uninitialised = serving_nothing_yet, "CHAIN_NOT_INITIALISED"
    stub, holder = serving.stub(), serving.holder()
    committed = await stub.GetCommitted(pb.GetCommittedRequest(), timeout=SECONDS)
    assert committed == pb.GetCommittedResponse()
    block = pb.ExecuteBlockRequest(height=1)
    assert (await refusal(stub.ExecuteBlock(block, timeout=SECONDS)))[1] == uninitialised
    state = pb.ReadStateRequest(keys=[b"orders"])
    assert (await refusal(stub.ReadState(state, timeout=SECONDS)))[1] == uninitialised
    member = serving.story.member("hospital-a")
    decide = pb.DecideRequest(read=serving.read(member, "Decide", CONSENT))
    assert (await refusal(holder.Decide(decide, timeout=SECONDS)))[1] == uninitialised
    get = pb.GetContractRequest(read=serving.read(member, "GetContract", CONSENT))
    assert (await refusal(holder.GetContract(get, timeout=SECONDS)))[1] == "READ_REJECTED"


@pytest.mark.parametrize(
    ("member", "service"),
    [("hospital-b", "ledger"), ("hospital-a", "storage"), ("hospital-a", "client")],
)
async def test_only_the_own_ledger_drives_the_chain(
    serving: Serving, member: str, service: str
) -> None:
    stub = serving.stub(member, service)
    requests = (
        stub.InitChain(pb.InitChainRequest(), timeout=SECONDS),
        stub.ExecuteBlock(pb.ExecuteBlockRequest(height=1), timeout=SECONDS),
        stub.Commit(pb.CommitRequest(height=1), timeout=SECONDS),
        stub.GetCommitted(pb.GetCommittedRequest(), timeout=SECONDS),
        stub.GetExecuted(pb.GetExecutedRequest(height=1), timeout=SECONDS),
    )
    for request in requests:
        assert await refusal(request) == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_REFUSED")


async def test_state_is_read_with_proofs_of_presence_and_absence(
    serving: Serving, people: People
) -> None:
    stub = serving.stub("hospital-c", "storage")
    keys = [b"record/" + RECORD, b"record/" + bytes(16)]
    answer = await stub.ReadState(pb.ReadStateRequest(keys=keys), timeout=SECONDS)
    assert answer.height == serving.story.height
    found = [
        verify_state_proof(proof, answer.app_hash, key)
        for key, proof in zip(keys, answer.proofs, strict=True)
    ]
    assert found[0] is not None
    assert found[1] is None
    many = pb.ReadStateRequest(keys=[bytes([n]) for n in range(65)])
    assert (await refusal(stub.ReadState(many, timeout=SECONDS)))[1] == "TOO_MANY_KEYS"


async def test_decide_tells_what_would_happen_and_changes_nothing(
    serving: Serving, people: People
) -> None:
    async def decide(signer: Signer, purpose: str, name: str = "open") -> pb.DecideResponse:
        return await serving.holder().Decide(
            pb.DecideRequest(
                read=serving.read(signer, "Decide", CONSENT),
                transition=name,
                arguments=encode({"reader_key": READER_KEY, "purpose": purpose}),
            ),
            timeout=SECONDS,
        )

    assert await decide(people.grantee, "TREAT") == pb.DecideResponse(
        allowed=True, policies=["grantee-opens"]
    )
    assert await decide(people.grantee, "HRESCH") == pb.DecideResponse(policies=["purpose-differs"])
    assert await decide(people.other, "TREAT") == pb.DecideResponse(policies=["not-the-grantee"])
    assert (await decide(people.grantee, "TREAT", "close")).rule == "TRANSITION_UNKNOWN"
    assert (await decide(people.grantee, "WHIM")).rule == "ARGUMENTS_MALFORMED"
    for _ in range(2):
        await serving.story.applied(people.grantee, opening())
    assert await decide(people.grantee, "TREAT") == pb.DecideResponse(policies=["visits-spent"])
    serving.story.now += 1000  # nobody has made a block since: the local clock may only refuse
    assert set((await decide(people.grantee, "TREAT")).policies) == {
        "visits-spent",
        "after-the-end",
    }
    await serving.story.applied(people.owner, TICK)
    assert (await decide(people.grantee, "TREAT")).rule == "STATE_FORBIDS"


async def test_decide_tells_a_suspended_member_that_it_may_do_nothing(
    serving: Serving, people: People
) -> None:
    member = MEMBERS[3]

    async def rule() -> str:
        read = serving.read(serving.story.member(member), "Decide", CONSENT)
        asked = pb.DecideRequest(read=read, transition="close", arguments=encode({}))
        return (await serving.holder().Decide(asked, timeout=SECONDS)).rule

    assert await rule() == "TRANSITION_UNKNOWN"
    await suspended(serving.story, member, bytes([9]) * 16)
    assert await rule() == "MEMBER_SUSPENDED"


async def test_decide_refuses_what_is_out_of_form_or_unknown(
    serving: Serving, people: People
) -> None:
    stub = serving.holder()
    read = serving.read(people.grantee, "Decide", CONSENT)
    odd = pb.DecideRequest(read=read, transition="open", arguments=b"\xff")
    assert (await refusal(stub.Decide(odd, timeout=SECONDS)))[1] == "READ_MALFORMED"
    nowhere = serving.read(people.grantee, "Decide", bytes(16))
    unknown = pb.DecideRequest(read=nowhere, transition="open", arguments=encode({}))
    assert (await refusal(stub.Decide(unknown, timeout=SECONDS)))[1] == "INSTANCE_UNKNOWN"


async def test_parties_and_members_read_a_contract_and_nobody_else(
    serving: Serving, people: People
) -> None:
    stub, story = serving.holder(), serving.story
    for signer in (people.owner, people.grantee, story.member("hospital-d")):
        read = serving.read(signer, "GetContract", CONSENT)
        answer = await stub.GetContract(pb.GetContractRequest(read=read), timeout=SECONDS)
        contract = answer.contract
        assert (contract.template, contract.version, contract.state) == ("consent", 1, "active")
        assert decode_map(contract.terms)["purposes"] == ["TREAT"]
        assert contract.created_height == contract.changed_height == story.height
    for stranger in (people.other, PseudonymSigner(seed_of("unregistered"))):
        read = serving.read(stranger, "GetContract", CONSENT)
        call = stub.GetContract(pb.GetContractRequest(read=read), timeout=SECONDS)
        assert await refusal(call) == (grpc.StatusCode.UNAUTHENTICATED, "READ_REJECTED")


async def test_a_read_counts_once_for_its_method_while_its_key_counts(
    serving: Serving, people: People
) -> None:
    stub, story = serving.holder(), serving.story
    request = pb.GetContractRequest(read=serving.read(people.owner, "GetContract", CONSENT))
    await stub.GetContract(request, timeout=SECONDS)
    replayed = stub.GetContract(request, timeout=SECONDS)
    assert (await refusal(replayed))[1] == "READ_REJECTED"
    elsewhere = pb.GetContractRequest(read=serving.read(people.owner, "Decide", CONSENT))
    assert (await refusal(stub.GetContract(elsewhere, timeout=SECONDS)))[1] == "READ_REJECTED"
    empty = pb.GetContractRequest()
    assert (await refusal(stub.GetContract(empty, timeout=SECONDS)))[1] == "READ_MALFORMED"
    presented = Presented(f"record:{RECORD.hex()}", "hospital-a")
    shown = pb.GetContractRequest(read=serving.read(presented, "GetContract", CONSENT))
    assert (await refusal(stub.GetContract(shown, timeout=SECONDS)))[1] == "READ_REJECTED"
    story.now += story.genesis.parameters.epoch_seconds
    late = pb.GetContractRequest(read=serving.read(people.owner, "GetContract", CONSENT))
    assert (await refusal(stub.GetContract(late, timeout=SECONDS)))[1] == "READ_REJECTED"


async def test_contracts_about_a_record_are_listed_in_pages(
    serving: Serving, people: People
) -> None:
    story, stub = serving.story, serving.holder()
    made = [CONSENT] + [bytes([n]) * 16 for n in range(1, 5)]
    for instance in made[1:]:
        await story.applied(people.owner, instantiate("consent", instance, consent_terms(story)))
    found: list[bytes] = []
    token, pages = "", 0
    while pages == 0 or token:
        answer = await stub.ListContracts(
            pb.ListContractsRequest(
                read=serving.read(people.owner, "ListContracts", RECORD),
                page_size=2,
                page_token=token,
            ),
            timeout=SECONDS,
        )
        found += [contract.instance_id for contract in answer.contracts]
        token, pages = answer.next_page_token, pages + 1
    assert found == made
    assert pages == 3
    for request, reason in (
        (
            pb.ListContractsRequest(read=serving.read(people.grantee, "ListContracts", RECORD)),
            "READ_REJECTED",
        ),
        (
            pb.ListContractsRequest(
                read=serving.read(people.owner, "ListContracts", RECORD), page_token="-1"
            ),
            "PAGE_TOKEN_MALFORMED",
        ),
        (pb.ListContractsRequest(), "READ_MALFORMED"),
    ):
        assert (await refusal(stub.ListContracts(request, timeout=SECONDS)))[1] == reason


async def test_a_study_is_listed_under_its_own_id(serving: Serving) -> None:
    story, study = serving.story, b"s" * 16
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    await granted(story)
    await story.applied(researcher, instantiate("study", study, study_terms()))
    for signer in (researcher, story.member("hospital-d")):
        read = serving.read(signer, "ListContracts", study)
        answer = await serving.holder().ListContracts(
            pb.ListContractsRequest(read=read), timeout=SECONDS
        )
        assert [contract.instance_id for contract in answer.contracts] == [study]
    clinician = await story.staff("hospital-a", "clinician", "clinician")
    read = serving.read(clinician, "ListContracts", study)
    call = serving.holder().ListContracts(pb.ListContractsRequest(read=read), timeout=SECONDS)
    assert (await refusal(call))[1] == "READ_REJECTED"


async def disclosures(serving: Serving, signer: Signer) -> list[pb.Disclosure]:
    answer = await serving.holder().ListDisclosures(
        pb.ListDisclosuresRequest(read=serving.read(signer, "ListDisclosures", RECORD)),
        timeout=SECONDS,
    )
    return list(answer.disclosures)


async def test_the_owner_sees_every_access_ordered_carried_out_and_refused(
    serving: Serving, people: People
) -> None:
    story = serving.story
    allowed = story.transaction(people.grantee, opening())
    refused = story.transaction(people.other, opening())
    block_time = story.now
    decided = await story.block(allowed, refused)
    ordered, denied = await disclosures(serving, people.owner)
    assert ordered == pb.Disclosure(
        stage=pb.DISCLOSURE_STAGE_ORDERED,
        transaction_id=transaction_id(chain_pb.Transaction.FromString(allowed).body),
        height=decided.height,
        time=Timestamp(seconds=block_time),
        member="hospital-b",
        role="clinician",
        purpose="TREAT",
        instance_id=CONSENT,
        order=chain_pb.OrderRef(height=decided.height, index=0),
    )
    assert denied == pb.Disclosure(
        stage=pb.DISCLOSURE_STAGE_REFUSED,
        transaction_id=transaction_id(chain_pb.Transaction.FromString(refused).body),
        height=decided.height,
        time=Timestamp(seconds=block_time),
        member="hospital-c",
        role="clinician",
        purpose="TREAT",
        instance_id=CONSENT,
        reason="POLICY_DENIED",
    )
    done = report((decided.height, 0), True, bytes(32))
    raw = story.transaction(story.member("hospital-a"), done)
    await story.block(raw)
    carried_out = (await disclosures(serving, people.owner))[0]
    assert carried_out.stage == pb.DISCLOSURE_STAGE_CARRIED_OUT
    body = chain_pb.Transaction.FromString(raw).body
    assert carried_out.report_transaction_id == transaction_id(body)


async def test_a_failed_release_is_told_and_attempts_after_the_end_too(
    serving: Serving, people: People
) -> None:
    story = serving.story
    decided = await story.applied(people.grantee, opening())
    await story.applied(people.owner, transition(CONSENT, "revoke"))
    await story.applied(story.member("hospital-a"), report((decided.height, 0), False))
    await story.act(people.grantee, opening())
    await story.act(PseudonymSigner(seed_of("nobody")), opening("HRESCH"))
    shown = await disclosures(serving, people.owner)
    assert [(row.stage, row.reason, row.member, row.purpose) for row in shown] == [
        (pb.DISCLOSURE_STAGE_FAILED, "", "hospital-b", "TREAT"),
        (pb.DISCLOSURE_STAGE_REFUSED, "STATE_FORBIDS", "hospital-b", "TREAT"),
        (pb.DISCLOSURE_STAGE_REFUSED, "KEY_NOT_REGISTERED", "", "HRESCH"),
    ]


async def test_a_claimed_purpose_outside_the_closed_list_is_not_kept(
    serving: Serving, people: People
) -> None:
    await serving.story.act(people.grantee, opening("Mr. Smith has a cough"))
    (row,) = await disclosures(serving, people.owner)
    assert (row.reason, row.purpose) == ("ARGUMENTS_MALFORMED", "")


async def test_disclosures_are_for_owner_author_and_custodian_in_pages(
    serving: Serving, people: People
) -> None:
    story, stub = serving.story, serving.holder()
    for _ in range(3):
        await story.act(people.other, opening())
    assert len(await disclosures(serving, story.member("hospital-a"))) == 3
    first = await stub.ListDisclosures(
        pb.ListDisclosuresRequest(
            read=serving.read(people.owner, "ListDisclosures", RECORD), page_size=2
        ),
        timeout=SECONDS,
    )
    second = await stub.ListDisclosures(
        pb.ListDisclosuresRequest(
            read=serving.read(people.owner, "ListDisclosures", RECORD),
            page_size=2,
            page_token=first.next_page_token,
        ),
        timeout=SECONDS,
    )
    assert (len(first.disclosures), len(second.disclosures)) == (2, 1)
    assert second.next_page_token == ""
    heights = [row.height for row in (*first.disclosures, *second.disclosures)]
    assert heights == sorted(set(heights))
    for signer in (people.grantee, people.other, story.member("hospital-b")):
        read = serving.read(signer, "ListDisclosures", RECORD)
        call = stub.ListDisclosures(pb.ListDisclosuresRequest(read=read), timeout=SECONDS)
        assert (await refusal(call))[1] == "READ_REJECTED"
    nowhere = serving.read(people.owner, "ListDisclosures", bytes(16))
    call = stub.ListDisclosures(pb.ListDisclosuresRequest(read=nowhere), timeout=SECONDS)
    assert (await refusal(call))[1] == "READ_REJECTED"
    odd = pb.ListDisclosuresRequest(page_token="first")
    assert (await refusal(stub.ListDisclosures(odd, timeout=SECONDS)))[1] == "PAGE_TOKEN_MALFORMED"
