"""The members make a shared key on the chain: contract decides what counts, and when it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.group_key_orders import SharingOrder
from cipherward_chain.group_keys import group_key_key, newest_epoch, newest_group_key_key
from cipherward_contract.ceremonies.entries import ceremony_key, log_key, past_sharing_key
from cipherward_contract.entries import INSTANCE, Instance
from cipherward_contract.testing import (
    MEMBERS,
    Story,
    contract_genesis,
    instantiate,
    open_story,
    vote,
)
from cipherward_contract.testing_ceremonies import (
    begun,
    ceremony_message,
    ceremony_terms,
    entry_of,
    shared_key,
)
from cipherward_member.shared_keys import threshold_key
from cipherward_threshold.group.ceremony.transcript import Completed, Failed
from cipherward_threshold.group.errors import KeyShareRejected, WrongPurpose
from cipherward_threshold.group.opening import make_opening_share
from cipherward_threshold.group.tdh2 import Label, combine, encapsulate, make_share, verify_slot

ONE, TWO, THREE = bytes([1]) * 16, bytes([2]) * 16, bytes([3]) * 16


async def state_of(story: Story, instance: bytes) -> str:
    raw = await story.state(INSTANCE + instance)
    assert raw is not None
    return Instance.from_bytes(instance, raw).position.state


async def deadline(story: Story) -> int:
    committed = await story.chain.committed()
    assert committed is not None
    return committed.next_deadline


async def test_four_members_make_a_record_key_that_three_of_them_open_with(story: Story) -> None:
    ceremony = await begun(story, ONE)
    assert await state_of(story, ONE) == "running"
    decided = await ceremony.run()
    outcome = ceremony.transcript.outcome
    assert isinstance(outcome, Completed)
    entry = await entry_of(story, "record", 1)
    assert (entry.public_key, entry.points) == (outcome.key.public_key, outcome.key.points)
    assert (entry.threshold, entry.guardians, entry.height) == (3, MEMBERS, decided.height)
    assert newest_epoch(await story.state(newest_group_key_key("record"))) == 1
    (order,) = decided.orders
    used = SharingOrder.of(order)
    assert (used.guardians, used.public_key) == (MEMBERS, entry.public_key)
    assert await state_of(story, ONE) == "done"
    label = Label(story.genesis.chain_id, bytes(16), MEMBERS[0], 1)
    raw, part = encapsulate(outcome.key, label)
    slot, shares = verify_slot(outcome.key, label, raw), ceremony.shares()
    given = {
        index: make_share(outcome.key, index, shares[MEMBERS[index - 1]], slot, b"order")
        for index in (1, 2, 4)
    }
    assert combine(outcome.key, slot, given, b"order") == part


async def test_a_ceremony_in_which_everybody_speaks_takes_a_block_a_window(story: Story) -> None:
    ceremony = await begun(story, ONE, window=1_000)
    began = story.height
    await ceremony.run()
    assert story.height - began == 5  # enrol, deal, complain, extract, ready: nobody was asked
    assert await deadline(story) == 0


async def test_nothing_of_a_ceremony_is_left_in_the_state_when_it_is_over(story: Story) -> None:
    ceremony = await begun(story, ONE)
    await ceremony.block()
    assert await story.state(ceremony_key(ONE)) is not None
    assert await story.state(log_key(ONE, 0)) is not None
    await ceremony.run()
    assert await story.state(ceremony_key(ONE)) is None
    assert [await story.state(log_key(ONE, number)) for number in range(20)] == [None] * 20
    assert await story.state(past_sharing_key("record", 1, 1)) is not None


async def test_sealed_parts_are_in_the_blocks_and_not_in_the_state(story: Story) -> None:
    ceremony = await begun(story, ONE)
    await ceremony.block()
    await ceremony.block()
    value = await story.state(log_key(ONE, len(MEMBERS)))  # the first deal, after the enrolments
    assert value is not None
    assert len(value) < 400  # three points; a part sealed to a member is 1,200 bytes


async def test_a_window_is_closed_by_the_height_after_its_deadline(story: Story) -> None:
    ceremony = await begun(story, ONE, window=3)
    last = ceremony.order.start + 3
    (enrolment,) = ceremony.owed(MEMBERS[3])
    await ceremony.block(MEMBERS[:3])
    assert await deadline(story) == last
    while story.height < last:
        await story.block()  # an empty block closes nothing
    assert await deadline(story) == last
    late = story.transaction(story.member(MEMBERS[3]), ceremony_message(ONE, *enrolment))
    decided = await story.block(late)
    assert pb.ExecuteBlockResponse.FromString(decided.answer).next_deadline == last + 3
    (result,) = decided.results
    assert result.reason == "CEREMONY_REFUSED"  # the window closes before the block's messages
    assert await deadline(story) == last + 3
    ceremony.transcript.advance(story.height)
    assert ceremony.transcript.phase == "deal"


async def test_a_member_that_stays_away_has_no_share_and_the_others_make_the_key(
    story: Story,
) -> None:
    ceremony = await begun(story, ONE)
    await ceremony.run(MEMBERS[:3])
    entry = await entry_of(story, "record", 1)
    assert entry.guardians == MEMBERS[:3]
    assert [holder.ready for holder in entry.holders] == [True, True, True, False]
    assert sorted(ceremony.shares()) == list(MEMBERS[:3])


async def test_a_slow_dealer_is_left_out_and_still_gets_its_share(story: Story) -> None:
    def slow(phase: str, member: str, owed: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        return [] if (phase, member) == ("deal", MEMBERS[3]) else owed

    ceremony = await begun(story, ONE, meddle=slow)
    await ceremony.run()
    entry = await entry_of(story, "record", 1)
    assert entry.guardians == MEMBERS
    assert len(ceremony.transcript.facts.qualified) == 3


async def test_a_bad_deal_is_complained_about_and_its_answer_reveals_the_part(
    story: Story,
) -> None:
    swapped: list[bytes] = []

    def bad(phase: str, member: str, owed: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        if (phase, member) != ("deal", MEMBERS[0]) or not owed:
            return owed
        kind, body = owed[0]
        swapped.append(body[:-1] + bytes([body[-1] ^ 1]))  # the last member's sealed part
        return [(kind, swapped[0])]

    ceremony = await begun(story, ONE, meddle=bad)
    await ceremony.run()
    assert swapped
    assert ceremony.transcript.facts.complaints[4] == (1,)
    assert 4 in ceremony.transcript.facts.answers[1]
    assert (await entry_of(story, "record", 1)).guardians == MEMBERS


async def test_a_dealer_that_answers_nothing_is_out_and_the_key_is_made_without_it(
    story: Story,
) -> None:
    def bad(phase: str, member: str, owed: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        if member != MEMBERS[0] or phase not in ("deal", "answer") or not owed:
            return owed
        kind, body = owed[0]
        return [(kind, body[:-1] + bytes([body[-1] ^ 1]))] if phase == "deal" else []

    ceremony = await begun(story, ONE, meddle=bad)
    await ceremony.run()
    assert 1 not in ceremony.transcript.facts.qualified
    assert (await entry_of(story, "record", 1)).guardians == MEMBERS


async def test_a_ceremony_with_too_few_members_fails_and_brings_nothing_into_force(
    story: Story,
) -> None:
    ceremony = await begun(story, ONE)
    decided = await ceremony.run(MEMBERS[:2])
    assert ceremony.transcript.outcome == Failed("TOO_FEW_ENROLLED")
    assert not decided.orders
    assert await state_of(story, ONE) == "failed"
    assert await story.state(group_key_key("record", 1)) is None
    assert await story.state(ceremony_key(ONE)) is None
    assert await deadline(story) == 0
    assert (await shared_key(story, TWO)).entry.key_epoch == 1  # another one may be begun


@pytest.mark.parametrize("kind", ["enrol", "deal", "extract"])
async def test_a_message_said_twice_early_or_falsely_leaves_no_trace(
    story: Story, kind: str
) -> None:
    ceremony = await begun(story, ONE)
    while ceremony.transcript.phase != kind:
        await ceremony.block()
    (owed,), (others,) = ceremony.owed(MEMBERS[0]), ceremony.owed(MEMBERS[1])
    before = await story.state(ceremony_key(ONE))
    acts = [
        ceremony_message(ONE, "ready", bytes(64)),
        ceremony_message(ONE, kind, b"?" * 7),
        ceremony_message(TWO, *owed),
    ]
    if kind == "extract":  # what another has proven of itself
        acts.append(ceremony_message(ONE, *others))
    for act in acts:
        result = await story.act(story.member(MEMBERS[0]), act)
        assert result.reason == "CEREMONY_REFUSED"
    assert await story.state(ceremony_key(ONE)) == before
    assert (await story.act(story.member(MEMBERS[0]), ceremony_message(ONE, *owed))).applied


async def test_a_second_message_of_the_same_member_is_refused(story: Story) -> None:
    ceremony = await begun(story, ONE)
    message = ceremony_message(ONE, *ceremony.owed(MEMBERS[0])[0])
    assert (await story.act(story.member(MEMBERS[0]), message)).applied
    again = await story.act(story.member(MEMBERS[0]), message)
    assert again.reason == "CEREMONY_REFUSED"


async def test_a_message_in_the_block_that_orders_the_ceremony_is_too_early(story: Story) -> None:
    terms = ceremony_terms()
    await story.applied(story.member(MEMBERS[0]), instantiate("key-ceremony", ONE, terms))
    for member in MEMBERS[:2]:
        await story.applied(story.member(member), vote(ONE, "begin", True))
    decided = await story.block(
        story.transaction(story.member(MEMBERS[2]), vote(ONE, "begin", True)),
        story.transaction(story.member(MEMBERS[2]), ceremony_message(ONE, "enrol", bytes(1_216))),
    )
    assert [result.reason for result in decided.results] == ["", "CEREMONY_REFUSED"]


async def test_a_message_is_undone_with_its_transaction(story: Story) -> None:
    ceremony = await begun(story, ONE)
    message = ceremony_message(ONE, *ceremony.owed(MEMBERS[0])[0])
    before = await story.state(ceremony_key(ONE))
    result = await story.act(story.member(MEMBERS[0]), message, vote(TWO, "begin", True))
    assert result.reason == "INSTANCE_UNKNOWN"
    assert await story.state(ceremony_key(ONE)) == before
    assert (await story.act(story.member(MEMBERS[0]), message)).applied


async def test_strangers_and_pseudonyms_say_nothing_in_a_ceremony(story: Story) -> None:
    ceremony = await begun(story, ONE, members=MEMBERS[:3])
    message = ceremony_message(ONE, *ceremony.owed(MEMBERS[0])[0])
    assert (await story.act(story.member(MEMBERS[3]), message)).reason == "CEREMONY_REFUSED"
    clinician = await story.staff("hospital-a", "clinician", "somebody")
    assert (await story.act(clinician, message)).reason == "CEREMONY_REFUSED"


async def test_two_ceremonies_of_one_purpose_do_not_run_at_once(story: Story) -> None:
    await begun(story, ONE)
    terms = ceremony_terms()
    await story.applied(story.member(MEMBERS[0]), instantiate("key-ceremony", TWO, terms))
    for member in MEMBERS[:2]:
        await story.applied(story.member(member), vote(TWO, "begin", True))
    refused = await story.act(story.member(MEMBERS[2]), vote(TWO, "begin", True))
    assert refused.reason == "CEREMONY_REFUSED"
    assert await state_of(story, TWO) == "proposed"


async def test_a_message_of_one_ceremony_is_refused_in_another(story: Story) -> None:
    record = await begun(story, ONE, "record", window=1_000)
    opening = await begun(story, TWO, "opening", window=1_000)
    for ceremony in (record, opening):
        await ceremony.block()
        await ceremony.block()
    # complaints name nobody, and say the same everywhere; what is proven says where it belongs
    for ceremony in (record, opening):
        await ceremony.block()
    (kind, body) = record.owed(MEMBERS[0])[0]
    assert kind == "extract"
    crossed = await story.act(story.member(MEMBERS[0]), ceremony_message(TWO, kind, body))
    assert crossed.reason == "CEREMONY_REFUSED"
    for ceremony in (record, opening):
        await ceremony.run()
    keys = [await entry_of(story, purpose, 1) for purpose in ("record", "opening")]
    assert keys[0].public_key != keys[1].public_key


async def test_a_contract_that_runs_no_such_ceremony_hears_nothing(story: Story) -> None:
    ceremony = await begun(story, ONE)
    message = ceremony.owed(MEMBERS[0])[0]
    terms = {"member": MEMBERS[3], "vote_seconds": 3_600}
    await story.applied(story.member(MEMBERS[0]), instantiate("removal", TWO, terms))
    for other in (TWO, THREE):
        act = ceremony_message(other, *message)
        assert (await story.act(story.member(MEMBERS[0]), act)).reason == "CEREMONY_REFUSED"


async def test_a_key_of_one_purpose_serves_no_other(story: Story) -> None:
    record = await shared_key(story, ONE, "record")
    opening = await shared_key(story, TWO, "opening")
    keys = [threshold_key(story.genesis.chain_id, made.entry) for made in (record, opening)]
    label, member = Label(story.genesis.chain_id, bytes(16), MEMBERS[0], 1), MEMBERS[0]
    raw, _ = encapsulate(keys[0], label)
    slot = verify_slot(keys[0], label, raw)
    with pytest.raises(WrongPurpose):
        verify_slot(keys[1], label, raw)
    with pytest.raises(WrongPurpose):
        make_opening_share(keys[0], 1, record.shares[member], raw[:48], b"warrant")
    with pytest.raises(KeyShareRejected):
        make_share(keys[0], 1, opening.shares[member], slot, b"order")
    with pytest.raises(KeyShareRejected):
        make_opening_share(keys[1], 1, record.shares[member], raw[:48], b"warrant")


async def test_a_ceremony_goes_on_after_a_restart_and_the_app_hash_is_the_same(
    tmp_path: Path,
) -> None:
    genesis, keys = contract_genesis()
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    async with open_story(folders[0], genesis, keys) as story:
        ceremony = await begun(story, ONE)
        await ceremony.block()
        await ceremony.block(MEMBERS[:2])
    async with open_story(folders[0], genesis, keys, begin=False) as again:
        blocks = story.blocks
        again.blocks = blocks
        ceremony.story = again
        await ceremony.run()
        assert (await entry_of(again, "record", 1)).guardians == MEMBERS
    async with open_story(folders[1], genesis, keys) as replayed:
        for height, (time_ns, transactions, answer) in enumerate(blocks, start=1):
            assert await replayed.chain.execute(height, time_ns, transactions) == answer
            await replayed.chain.commit(height)


async def test_a_block_executed_again_before_its_commit_answers_the_same(story: Story) -> None:
    ceremony = await begun(story, ONE)
    await ceremony.block()
    owed = [(member, ceremony.owed(member)[0]) for member in MEMBERS]
    transactions = [
        story.transaction(story.member(member), ceremony_message(ONE, *message))
        for member, message in owed
    ]
    height, time_ns = story.height + 1, story.now * 10**9
    answer = await story.chain.execute(height, time_ns, transactions)
    await story.chain.load()  # as after a write that failed: what was executed is gone
    assert await story.chain.execute(height, time_ns, transactions) == answer
    results = pb.ExecuteBlockResponse.FromString(answer).results
    assert len(results) == len(MEMBERS)


async def test_the_newest_key_is_another_epoch_and_the_old_one_stays(story: Story) -> None:
    first = await shared_key(story, ONE)
    second = await shared_key(story, TWO)
    assert (first.entry.key_epoch, second.entry.key_epoch) == (1, 2)
    assert first.entry.public_key != second.entry.public_key
    assert await entry_of(story, "record", 1) == first.entry
    assert newest_epoch(await story.state(newest_group_key_key("record"))) == 2
