"""An alliance that changes: members are admitted, take their seats, stay away, and are removed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.acts import anchor_record, register_pseudonym
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.canonical import Value
from cipherward_chain.genesis import MEMBERS_MAX
from cipherward_chain.registry_entry import member_key
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import ca_certificate, seed_of
from cipherward_contract.entries import INSTANCE, Instance
from cipherward_contract.reading import Reading
from cipherward_contract.refusals import Refused
from cipherward_contract.registry import SEATED_POWER, Registered, admit
from cipherward_contract.state import State
from cipherward_contract.tally import registry_quorum
from cipherward_contract.testing import (
    MEMBERS,
    TICK,
    Decided,
    Presented,
    Story,
    contract_genesis,
    instantiate,
    issuer_key,
    open_story,
    transition,
    vote,
)
from cipherward_contract.testing_anchors import record_anchor
from cipherward_contract.testing_registry import Newcomer, admitted, joined, removed, voted

NEW = Newcomer("hospital-e")
CONTRACT, OTHER, CONSENT, RECORD = b"m" * 16, b"n" * 16, b"c" * 16, b"r" * 16


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncGenerator[Story]:
    """A chain of four members, each of which runs a node."""
    genesis, keys = contract_genesis(engine="cometbft")
    async with open_story(tmp_path, genesis, keys) as opened:
        yield opened


def answered(decided: Decided) -> pb.ExecuteBlockResponse:
    return pb.ExecuteBlockResponse.FromString(decided.answer)


def updates(decided: Decided) -> list[tuple[bytes, int]]:
    return [(one.public_key, one.power) for one in answered(decided).validator_updates]


async def state_of(story: Story, instance: bytes) -> str:
    raw = await story.state(INSTANCE + instance)
    assert raw is not None
    return Instance.from_bytes(instance, raw).position.state


async def propose(
    story: Story, changed: Mapping[str, Value] | None = None, instance: bytes = CONTRACT
) -> str:
    """Propose the newcomer with a changed registration; return the reason of a refusal."""
    act = instantiate("membership", instance, {**NEW.terms(), **(changed or {})})
    return (await story.act(story.member(MEMBERS[0]), act)).reason


class NothingCommitted:
    """A state before any block."""

    def get(self, key: bytes) -> bytes | None:
        return None

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(())


def own_keys(story: Story, member: str) -> dict[str, bytes]:
    found = story.genesis.members[member]
    return {"public_key": found.public_key, "consensus_public_key": found.consensus_public_key}


async def test_questions_are_answered_by_the_rules_of_the_newest_block(story: Story) -> None:
    reading = Reading(story.database, lambda: float(story.now))
    before = await reading.registry()
    assert (before[0], set(before[1])) == (story.height, set(MEMBERS))
    await admitted(story, NEW, CONTRACT)
    for _ in range(2):
        height, registry = await reading.registry()
        assert (height, set(registry)) == (story.height, {*MEMBERS, NEW.id})


async def test_a_newcomer_is_admitted_by_vote_and_takes_its_own_seat(nodes: Story) -> None:
    decided = await admitted(nodes, NEW, CONTRACT)
    (order,) = decided.orders
    terms = NEW.terms()
    assert order.instruction == "admit_member"
    assert order.arguments == {
        **{name: terms[name] for name in terms if not name.endswith("_seconds")},
        "index": 4,
    }
    assert answered(decided).registry_changed
    assert updates(decided) == []
    assert await nodes.state(b"order/" + bytes(7) + bytes([decided.height]) + bytes(4)) is None
    await nodes.applied(NEW.signer, TICK)
    decided = await nodes.applied(NEW.signer, transition(CONTRACT, "join"))
    assert [order.instruction for order in decided.orders] == ["seat_validator"]
    assert updates(decided) == [(NEW.consensus_public_key, SEATED_POWER)]
    assert answered(decided).registry_changed
    assert await state_of(nodes, CONTRACT) == "joined"
    quiet = await nodes.applied(NEW.signer, TICK)
    assert not answered(quiet).registry_changed
    assert updates(quiet) == []


async def test_less_than_a_quorum_admits_nobody(nodes: Story) -> None:
    act = instantiate("membership", CONTRACT, NEW.terms())
    await nodes.applied(nodes.member(MEMBERS[0]), act)
    decided = await voted(nodes, CONTRACT, "admit", MEMBERS[:2])
    assert decided.orders == ()
    assert (await nodes.act(NEW.signer, TICK)).reason == "MEMBER_UNKNOWN"
    for member in MEMBERS[2:]:
        await nodes.applied(nodes.member(member), vote(CONTRACT, "admit", False))
    assert await state_of(nodes, CONTRACT) == "rejected"


async def test_members_alone_propose_and_vote(nodes: Story) -> None:
    staff = await nodes.staff(MEMBERS[0], "clinician", "clinician")
    act = instantiate("membership", CONTRACT, NEW.terms())
    assert (await nodes.act(staff, act)).reason == "POLICY_DENIED"
    await nodes.applied(nodes.member(MEMBERS[0]), act)
    assert (await nodes.act(staff, vote(CONTRACT, "admit", True))).reason == "POLICY_DENIED"


async def test_later_transactions_of_the_block_see_the_new_member(nodes: Story) -> None:
    await nodes.applied(nodes.member(MEMBERS[0]), instantiate("membership", CONTRACT, NEW.terms()))
    await voted(nodes, CONTRACT, "admit", MEMBERS[:2])
    deciding = nodes.transaction(nodes.member(MEMBERS[2]), vote(CONTRACT, "admit", True))
    join = nodes.transaction(NEW.signer, transition(CONTRACT, "join"))
    early = nodes.transaction(NEW.signer, TICK)
    decided = await nodes.block(early, deciding, join)
    assert [result.reason for result in decided.results] == ["MEMBER_UNKNOWN", "", ""]
    assert updates(decided) == [(NEW.consensus_public_key, SEATED_POWER)]


async def test_a_refused_transaction_leaves_the_registry_as_it_was(nodes: Story) -> None:
    await nodes.applied(nodes.member(MEMBERS[0]), instantiate("membership", CONTRACT, NEW.terms()))
    await voted(nodes, CONTRACT, "admit", MEMBERS[:2])
    refused = vote(OTHER, "admit", True)
    both = nodes.transaction(nodes.member(MEMBERS[2]), vote(CONTRACT, "admit", True), refused)
    decided = await nodes.block(both, nodes.transaction(NEW.signer, TICK))
    assert [result.reason for result in decided.results] == ["INSTANCE_UNKNOWN", "MEMBER_UNKNOWN"]
    assert decided.orders == ()
    assert not answered(decided).registry_changed


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("member", "Hospital E"),
        ("member", MEMBERS[1]),
        ("name", ""),
        ("name", "x" * 65),
        ("name", "Hospital\u202eE"),
        ("name", " Hospital E"),
        ("public_key", bytes(32)),  # of small order
        ("public_key", b"short"),
        ("consensus_public_key", bytes(32)),
        ("custodian_public_key", bytes(1216)),
        ("custodian_public_key", b"short"),
        ("ca_certificate", "nobody"),
        ("ca_certificate", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
        ("ca_certificate", "-----BEGIN CERTIFICATE-----\nM\n-----END CERTIFICATE-----\n"),
        ("ca_certificate", ca_certificate("one") + ca_certificate("two")),
        ("ca_certificate", "x" * 5_000),
        ("node_id", bytes(19)),
        ("issuer_public_key", bytes(32)),
    ],
)
async def test_a_registration_out_of_form_is_refused_at_once(
    nodes: Story, field: str, value: Value
) -> None:
    assert await propose(nodes, {field: value}) == "TERMS_MALFORMED"


@pytest.mark.parametrize(
    "taken",
    ["public_key", "consensus_public_key", "node_id", "issuer_public_key", "ca_certificate"],
)
async def test_a_key_of_another_member_is_refused_when_the_vote_decides(
    nodes: Story, taken: str
) -> None:
    other = nodes.genesis.members[MEMBERS[1]]
    values: dict[str, Value] = {
        "issuer_public_key": issuer_key(MEMBERS[1]),
        "ca_certificate": other.ca_certificate,
        "node_id": other.node_id,
        **own_keys(nodes, MEMBERS[1]),
    }
    assert await propose(nodes, {taken: values[taken]}) == ""
    decided = await voted(nodes, CONTRACT, "admit", MEMBERS[:3])
    assert decided.results[0].reason == "REGISTRATION_REFUSED"
    assert await state_of(nodes, CONTRACT) == "proposed"


async def test_one_key_may_not_serve_twice(nodes: Story) -> None:
    key = SigningKey(seed_of(NEW.id)).public_key
    assert await propose(nodes, {"consensus_public_key": key}) == ""
    decided = await voted(nodes, CONTRACT, "admit", MEMBERS[:3])
    assert decided.results[0].reason == "REGISTRATION_REFUSED"


async def test_of_two_proposals_of_one_id_the_first_admitted_counts(nodes: Story) -> None:
    assert await propose(nodes, instance=OTHER) == ""
    await admitted(nodes, NEW, CONTRACT)
    decided = await voted(nodes, OTHER, "admit", MEMBERS[:4])
    assert decided.results[0].reason == "REGISTRATION_REFUSED"


async def test_a_member_without_a_node_is_refused_where_members_run_one(nodes: Story) -> None:
    assert await propose(nodes, {"consensus_public_key": b"", "node_id": b""}) == ""
    decided = await voted(nodes, CONTRACT, "admit", MEMBERS[:3])
    assert decided.results[0].reason == "REGISTRATION_REFUSED"


async def test_a_full_registry_admits_nobody(nodes: Story) -> None:
    one = Registered.from_bytes(MEMBERS[0], await nodes.state(member_key(MEMBERS[0])) or b"")
    state = State(NothingCommitted())
    for index in range(MEMBERS_MAX):
        member = replace(one.member, id=f"hospital-{index}", index=index)
        state.put(member_key(member.id), Registered(member).to_bytes())
    with pytest.raises(Refused, match="at most 64 members"):
        admit(state, Registered(replace(one.member, id=NEW.id)), runs_node=True)


async def test_only_the_newcomer_takes_its_seat_and_once(nodes: Story) -> None:
    await admitted(nodes, NEW, CONTRACT)
    join = transition(CONTRACT, "join")
    assert (await nodes.act(nodes.member(MEMBERS[0]), join)).reason == "POLICY_DENIED"
    stranger = MemberSigner(NEW.id, seed_of("stranger"))
    assert (await nodes.act(stranger, join)).reason == "MEMBER_UNKNOWN"
    await nodes.applied(NEW.signer, join)
    assert (await nodes.act(NEW.signer, join)).reason == "STATE_FORBIDS"


async def test_a_member_that_never_joins_is_removed_again(nodes: Story) -> None:
    await admitted(nodes, NEW, CONTRACT)
    nodes.now += 3_600
    decided = await nodes.applied(nodes.member(MEMBERS[0]), TICK)
    assert [order.instruction for order in decided.orders] == ["remove_member"]
    assert answered(decided).registry_changed
    assert updates(decided) == []
    assert await state_of(nodes, CONTRACT) == "lapsed"
    assert (await nodes.act(NEW.signer, TICK)).reason == "MEMBER_UNKNOWN"


async def test_what_is_not_decided_in_time_lapses(nodes: Story) -> None:
    assert await propose(nodes, {"vote_seconds": 60}) == ""
    terms = {"member": MEMBERS[3], "vote_seconds": 60}
    await nodes.applied(nodes.member(MEMBERS[0]), instantiate("removal", OTHER, terms))
    nodes.now += 60
    await nodes.applied(nodes.member(MEMBERS[0]), TICK)
    assert await state_of(nodes, CONTRACT) == "lapsed"
    assert await state_of(nodes, OTHER) == "lapsed"
    assert (await nodes.act(nodes.member(MEMBERS[3]), TICK)).applied


async def test_a_removed_member_loses_its_seat_its_issuer_and_its_say(nodes: Story) -> None:
    patient = Presented(f"record:{RECORD.hex()}", MEMBERS[3])
    decided = await removed(nodes, MEMBERS[3], CONTRACT)
    assert [order.instruction for order in decided.orders] == ["remove_member"]
    assert decided.orders[0].arguments == {"member": MEMBERS[3]}
    assert updates(decided) == [(nodes.genesis.members[MEMBERS[3]].consensus_public_key, 0)]
    assert (await nodes.act(nodes.member(MEMBERS[3]), TICK)).reason == "MEMBER_UNKNOWN"
    act = register_pseudonym(nodes.genesis.chain_id, patient.scope, seed_of("patient"))
    assert (await nodes.act(patient, act)).reason == "ISSUER_UNKNOWN"
    terms = {"member": MEMBERS[3], "vote_seconds": 3_600}
    again = instantiate("removal", OTHER, terms)
    assert (await nodes.act(nodes.member(MEMBERS[0]), again)).reason == "TERMS_MALFORMED"


async def test_a_removed_id_or_key_never_comes_back(nodes: Story) -> None:
    gone = nodes.genesis.members[MEMBERS[3]]
    await removed(nodes, MEMBERS[3], CONTRACT)
    registrations: list[dict[str, Value]] = [
        {"member": gone.id},
        {"public_key": gone.public_key},
        {"node_id": gone.node_id},
    ]
    for number, changed in enumerate(registrations):
        instance = bytes([number]) * 16
        assert await propose(nodes, changed, instance) == ""
        decided = await voted(nodes, instance, "admit", MEMBERS[:3])
        assert decided.results[0].reason == "REGISTRATION_REFUSED"
    decided = await admitted(nodes, NEW, OTHER)
    assert decided.orders[0].arguments["index"] == 4  # the number is not given again either


async def test_the_member_named_does_not_vote_on_its_removal(nodes: Story) -> None:
    terms = {"member": MEMBERS[3], "vote_seconds": 3_600}
    await nodes.applied(nodes.member(MEMBERS[3]), instantiate("removal", CONTRACT, terms))
    no = vote(CONTRACT, "remove", False)
    assert (await nodes.act(nodes.member(MEMBERS[3]), no)).reason == "POLICY_DENIED"
    await nodes.applied(nodes.member(MEMBERS[0]), no)
    assert await state_of(nodes, CONTRACT) == "rejected"  # three of four are out of reach


async def test_a_vote_of_a_member_removed_meanwhile_does_not_count(nodes: Story) -> None:
    await joined(nodes, NEW, OTHER)
    await nodes.applied(
        nodes.member(MEMBERS[0]),
        instantiate("membership", CONTRACT, Newcomer("hospital-f").terms()),
    )
    decided = await voted(nodes, CONTRACT, "admit", [MEMBERS[3], *MEMBERS[:2]])
    assert decided.orders == ()  # three of five
    await removed(nodes, MEMBERS[3], b"o" * 16, MEMBERS[:3])
    await nodes.applied(NEW.signer, vote(b"o" * 16, "remove", True))  # the fourth of four others
    decided = await voted(nodes, CONTRACT, "admit", [MEMBERS[2]])
    assert [order.instruction for order in decided.orders] == ["admit_member"]


async def test_the_last_validator_cannot_be_removed(story: Story) -> None:
    terms = {"member": MEMBERS[0], "vote_seconds": 3_600}
    await story.applied(story.member(MEMBERS[1]), instantiate("removal", CONTRACT, terms))
    decided = await voted(story, CONTRACT, "remove", MEMBERS[1:])
    assert decided.results[0].reason == "REMOVAL_REFUSED"
    await story.applied(story.member(MEMBERS[0]), TICK)


async def test_a_solo_alliance_grows_without_another_node(story: Story) -> None:
    assert await propose(story) == ""
    decided = await voted(story, CONTRACT, "admit", MEMBERS[:3])
    assert decided.results[0].reason == "REGISTRATION_REFUSED"  # it came with a node
    decided = await joined(story, Newcomer("hospital-f"), OTHER)
    assert updates(decided) == []
    assert [order.instruction for order in decided.orders] == ["seat_validator"]


async def test_two_contracts_may_decide_one_removal(nodes: Story) -> None:
    for instance in (CONTRACT, OTHER):
        terms = {"member": MEMBERS[3], "vote_seconds": 3_600}
        await nodes.applied(nodes.member(MEMBERS[0]), instantiate("removal", instance, terms))
    for instance, orders in ((CONTRACT, 1), (OTHER, 0)):
        decided = await voted(nodes, instance, "remove", MEMBERS[:3])
        assert decided.results[0].applied
        assert len(decided.orders) == orders
        assert await state_of(nodes, instance) == "removed"


async def test_keys_of_a_removed_issuer_only_give_up_rights(nodes: Story) -> None:
    owner = await nodes.record(RECORD, author=MEMBERS[3])
    terms: dict[str, Value] = {
        "record": RECORD,
        "grantee_member": MEMBERS[1],
        "grantee_key": b"",
        "representative_key": b"",
        "purposes": ["TREAT"],
        "expires": nodes.now + 10_000,
        "visits_max": 2,
        "visit_seconds": 60,
    }
    await nodes.applied(owner, instantiate("consent", CONSENT, terms))
    clinician = await nodes.staff(MEMBERS[1], "clinician", "clinician")
    await removed(nodes, MEMBERS[3], CONTRACT)
    again = instantiate("consent", OTHER, terms)
    assert (await nodes.act(owner, again)).reason == "ISSUER_UNKNOWN"
    opening = transition(CONSENT, "open", reader_key=bytes(1216), purpose="TREAT")
    assert (await nodes.act(clinician, opening)).reason == "MEMBER_NOT_IN_REGISTRY"
    own = transition(CONSENT, "open", reader_key=bytes(1216), purpose="PATRQT")
    assert (await nodes.act(owner, own)).reason == "ISSUER_UNKNOWN"
    await nodes.applied(owner, transition(CONSENT, "revoke"))


async def test_a_removed_member_is_nobodys_custodian(nodes: Story) -> None:
    await removed(nodes, MEMBERS[3], CONTRACT)
    anchor = record_anchor(RECORD, author=MEMBERS[0])
    anchor.custodian = MEMBERS[3]
    act = anchor_record(anchor, bytes(32))
    assert (await nodes.act(nodes.member(MEMBERS[0]), act)).reason == "MEMBER_NOT_IN_REGISTRY"


@pytest.mark.parametrize(
    ("members", "voters", "wanted"),
    [
        *((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 3), (7, 7, 5), (10, 10, 7)),
        # where one has no vote
        *((2, 1, 2), (3, 2, 2), (4, 3, 3), (5, 4, 4), (7, 6, 5), (10, 9, 7)),
    ],
)
def test_a_quorum_of_the_registry(members: int, voters: int, wanted: int) -> None:
    assert registry_quorum(members, voters) == wanted
