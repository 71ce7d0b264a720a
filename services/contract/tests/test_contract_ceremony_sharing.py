"""A shared key outlives who holds it: its sharing is renewed when members come and go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cipherward_chain.group_keys import GroupKeyEntry
from cipherward_contract.ceremonies.entries import past_sharing_key
from cipherward_contract.restoring import Restoring
from cipherward_contract.snapshots import Snapshots
from cipherward_contract.testing import (
    MEMBERS,
    Story,
    contract_genesis,
    instantiate,
    open_story,
    vote,
)
from cipherward_contract.testing_ceremonies import (
    SharedKey,
    begun,
    ceremony_message,
    ceremony_terms,
    entry_of,
    shared_key,
)
from cipherward_contract.testing_registry import Newcomer, joined, removed, suspended
from cipherward_member.shared_keys import threshold_key
from cipherward_threshold.group.tdh2 import Label, combine, encapsulate, make_share, verify_slot

ONE, TWO, THREE = bytes([1]) * 16, bytes([2]) * 16, bytes([3]) * 16
NEWCOMER = Newcomer("hospital-e")


def opens(made: SharedKey, first: GroupKeyEntry, by: Sequence[str]) -> bool:
    """Say whether the shares of these members open a slot that was made under the first sharing."""
    old, new = threshold_key("test-chain", first), threshold_key("test-chain", made.entry)
    label = Label("test-chain", bytes(16), MEMBERS[0], 1)
    raw, part = encapsulate(old, label)
    slot = verify_slot(new, label, raw)
    shares: dict[int, bytes] = {}
    for member in by:
        index = made.entry.index_of(member)
        assert index is not None
        shares[index] = make_share(new, index, made.shares[member], slot, b"order")
    return combine(new, slot, shares, b"order") == part


async def test_after_a_member_was_removed_the_others_share_the_same_key_anew(
    story: Story,
) -> None:
    first = await shared_key(story, ONE)
    await removed(story, MEMBERS[3], THREE)
    ceremony = await begun(story, TWO, members=MEMBERS[:3], key_epoch=1, old=first.shares)
    assert ceremony.order.dealers == MEMBERS[:3]
    await ceremony.run()
    second = SharedKey(await entry_of(story, "record", 1), ceremony.shares())
    assert second.entry.public_key == first.entry.public_key
    assert (second.entry.sharing, second.entry.threshold) == (2, 3)
    assert second.entry.guardians == MEMBERS[:3]
    assert opens(second, first.entry, MEMBERS[:3])
    past = await story.state(past_sharing_key("record", 1, 1))
    assert past == first.entry.to_bytes()


async def test_a_newcomer_gets_a_share_of_the_key_that_was_there_before(story: Story) -> None:
    first = await shared_key(story, ONE)
    await joined(story, NEWCOMER, THREE)
    everybody = (*MEMBERS, NEWCOMER.id)
    ceremony = await begun(story, TWO, members=everybody, key_epoch=1, old=first.shares)
    await ceremony.run()
    second = SharedKey(await entry_of(story, "record", 1), ceremony.shares())
    assert second.entry.guardians == everybody
    assert second.entry.threshold == 4
    assert opens(second, first.entry, (NEWCOMER.id, *MEMBERS[1:]))


async def test_until_enough_have_their_new_share_the_old_sharing_serves(story: Story) -> None:
    first = await shared_key(story, ONE)
    ceremony = await begun(story, TWO, key_epoch=1, window=4, old=first.shares)
    await ceremony.block()
    await ceremony.block()
    assert await entry_of(story, "record", 1) == first.entry
    await ceremony.run(MEMBERS[:2])  # the others do not go on
    assert await entry_of(story, "record", 1) == first.entry
    assert await story.state(past_sharing_key("record", 1, 2)) is None


async def refused(story: Story, instance: bytes, **changed: object) -> str:
    """Return why the votes for a ceremony do not begin it."""
    terms = {**ceremony_terms(), **changed}
    result = await story.act(
        story.member(MEMBERS[0]),
        instantiate("key-ceremony", instance, terms),  # type: ignore[arg-type]  # values of terms
    )
    if not result.applied:
        return result.reason
    for member in MEMBERS:
        result = await story.act(story.member(member), vote(instance, "begin", True))
        if not result.applied:
            return result.reason
    return ""


async def test_what_cannot_be_renewed_is_not_begun(story: Story) -> None:
    assert await refused(story, ONE, key_epoch=1) == "CEREMONY_REFUSED"  # there is no key yet
    assert await refused(story, ONE, key_epoch=1) == "INSTANCE_EXISTS"
    await shared_key(story, TWO)
    assert await refused(story, THREE, key_epoch=2) == "CEREMONY_REFUSED"


async def test_a_key_whose_holders_are_gone_cannot_be_renewed(story: Story) -> None:
    first = await shared_key(story, ONE)
    assert first.entry.threshold == 3
    await removed(story, MEMBERS[3], b"r" * 16)
    await suspended(story, MEMBERS[2], b"s" * 16, voters=MEMBERS[:2])
    terms = {"key_epoch": 1, "members": list(MEMBERS[:2])}
    assert await refused(story, THREE, **terms) == "CEREMONY_REFUSED"  # two dealers of three


async def test_a_suspended_member_is_not_given_a_share(story: Story) -> None:
    await suspended(story, MEMBERS[3], ONE)
    assert await refused(story, TWO) == "CEREMONY_REFUSED"
    assert await refused(story, THREE, members=list(MEMBERS[:3])) == "MEMBER_SUSPENDED"
    assert (await entry_or_none(story)) is None


async def entry_or_none(story: Story) -> bytes | None:
    return await story.state(past_sharing_key("record", 1, 1))


async def test_a_member_that_is_removed_in_the_middle_says_nothing_more(story: Story) -> None:
    ceremony = await begun(story, ONE)
    await ceremony.block()
    (kind, body) = ceremony.owed(MEMBERS[3])[0]
    await removed(story, MEMBERS[3], TWO)
    late = await story.act(story.member(MEMBERS[3]), ceremony_message(ONE, kind, body))
    assert late.reason == "MEMBER_UNKNOWN"
    await ceremony.run(MEMBERS[:3])
    assert (await entry_of(story, "record", 1)).guardians == MEMBERS[:3]


async def test_a_ceremony_goes_on_in_a_state_that_was_restored_from_a_snapshot(
    tmp_path: Path,
) -> None:
    genesis, keys = contract_genesis()
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    async with (
        open_story(tmp_path / "old", genesis, keys) as old,
        Snapshots(tmp_path / "old/snapshots", tmp_path / "old/state.db", 1) as snapshots,
        open_story(tmp_path / "new", genesis, keys, begin=False) as new,
    ):
        ceremony = await begun(old, ONE)
        await ceremony.block()
        await ceremony.block()
        last = await ceremony.block()
        await snapshots.committed(old.height)
        await snapshots.finished()
        snapshot = (await snapshots.list())[0]
        restoring = Restoring(new.chain, new.database, genesis.digest)
        await restoring.offer(snapshot, snapshot.hash, last.app_hash)
        for index in range(snapshot.chunks):
            chunk = await snapshots.load(snapshot.height, snapshot.format, index)
            await restoring.apply(index, chunk)
        before = len(old.blocks)
        await ceremony.run()
        for height, (time_ns, transactions, answer) in enumerate(
            old.blocks[before:], start=before + 1
        ):
            assert await new.chain.execute(height, time_ns, transactions) == answer
            await new.chain.commit(height)
        assert (await entry_of(new, "record", 1)).guardians == MEMBERS


async def test_a_member_alone_has_a_key_of_its_own(tmp_path: Path) -> None:
    genesis, keys = contract_genesis(members=1)
    async with open_story(tmp_path, genesis, keys) as story:
        ceremony = await begun(story, ONE, members=MEMBERS[:1])
        await ceremony.run()
        entry = await entry_of(story, "record", 1)
        assert (entry.threshold, entry.guardians) == (1, MEMBERS[:1])
