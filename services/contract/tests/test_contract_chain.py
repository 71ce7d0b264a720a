"""The one truth: the same blocks give the same bytes, and a crash loses or doubles nothing."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.acts import anchor_record
from cipherward_chain.orders import ORDERS_KEY, OrdersEntry
from cipherward_chain.state_proof import verify_state_proof
from cipherward_chain.wire import NANOS
from cipherward_contract.errors import (
    AnotherBlock,
    BlockNotKept,
    BlockTooLarge,
    ChainNotInitialised,
    GenesisDiffers,
    GenesisMalformedError,
    HeightGap,
    NotExecuted,
    StateCorrupt,
    StateOfAnotherGenesis,
)
from cipherward_contract.store import BLOCKS_KEPT
from cipherward_contract.testing import (
    TICK,
    Story,
    contract_genesis,
    instantiate,
    open_story,
    transition,
)
from cipherward_contract.testing_anchors import record_anchor
from cipherward_contract.testing_registry import Newcomer, joined
from cipherward_contract.testing_studies import permit_terms

RECORD, CONSENT = b"r" * 16, b"c" * 16


async def play(story: Story) -> list[bytes]:
    """Play a history with registrations, refusals, orders and a timer; return its answers."""
    answers = [(await joined(story, Newcomer("hospital-e"), b"m" * 16)).answer]
    owner = await story.record(RECORD)
    clinician = await story.staff("hospital-b", "clinician", "clinician")
    terms = {
        "record": RECORD,
        "grantee_member": "hospital-b",
        "grantee_key": b"",
        "representative_key": b"",
        "purposes": ["TREAT"],
        "expires": story.now + 30,
        "visits_max": 2,
        "visit_seconds": 60,
    }
    opening = transition(CONSENT, "open", reader_key=bytes(1216), purpose="TREAT")
    wrong = transition(CONSENT, "open", reader_key=bytes(1216), purpose="HRESCH")
    for acts in (
        [(owner, instantiate("consent", CONSENT, terms)), (clinician, opening)],
        [(clinician, wrong), (clinician, opening), (clinician, opening)],
        [(story.member("hospital-c"), TICK)],
    ):
        raws = [story.transaction(signer, act) for signer, act in acts]
        answers.append((await story.block(*raws)).answer)
        answers.append((await story.block()).answer)
        story.now += 15
    return answers


async def test_two_stores_with_the_same_blocks_answer_the_same_bytes(tmp_path: Path) -> None:
    genesis, keys = contract_genesis()
    histories: list[list[bytes]] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        async with open_story(tmp_path / name, genesis, keys) as story:
            histories.append(await play(story))
    assert histories[0] == histories[1]
    last = pb.ExecuteBlockResponse.FromString(histories[0][-2])
    assert len(last.orders) == 2  # the consent expired by its timer


@pytest.mark.slow
def test_the_seed_of_hashes_changes_no_byte(tmp_path: Path) -> None:
    program = f"""
import asyncio, hashlib, importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("history", {__file__!r})
history = importlib.util.module_from_spec(spec)
sys.modules["history"] = history
spec.loader.exec_module(history)
async def main():
    genesis, keys = history.contract_genesis()
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir()
    async with history.open_story(folder, genesis, keys) as story:
        print(hashlib.sha256(b"".join(await history.play(story))).hexdigest())
asyncio.run(main())
"""
    digests: set[str] = set()
    for seed in ("0", "1", "77"):
        ran = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        digests.add(ran.stdout.strip())
    assert len(digests) == 1
    assert len(digests.pop()) == 64


async def test_a_block_executed_again_gives_the_same_bytes(story: Story) -> None:
    raw = story.transaction(story.member("hospital-a"), TICK)
    time_ns = story.now * NANOS
    first = await story.chain.execute(1, time_ns, [raw])
    assert await story.chain.execute(1, time_ns, [raw]) == first
    await story.chain.commit(1)
    assert await story.chain.execute(1, time_ns, [raw]) == first  # a retry after the commit
    await story.chain.commit(1)
    assert await story.chain.executed(1) == first


async def test_another_block_at_a_height_is_refused(story: Story) -> None:
    raw = story.transaction(story.member("hospital-a"), TICK)
    time_ns = story.now * NANOS
    first = await story.chain.execute(1, time_ns, [raw])
    for other_time, transactions in ((time_ns + 1, [raw]), (time_ns, []), (time_ns, [raw, raw])):
        with pytest.raises(AnotherBlock):
            await story.chain.execute(1, other_time, transactions)
    await story.chain.commit(1)
    with pytest.raises(AnotherBlock):
        await story.chain.execute(1, time_ns, [])
    assert await story.chain.executed(1) == first


async def test_heights_follow_each_other(story: Story) -> None:
    await story.block()
    for height in (0, 3, 9):
        with pytest.raises(HeightGap):
            await story.chain.execute(height, story.now * NANOS, [])
    for height in (0, 9):
        with pytest.raises(HeightGap):
            await story.chain.commit(height)
    with pytest.raises(NotExecuted):
        await story.chain.commit(2)
    await story.chain.execute(2, story.now * NANOS, [])
    with pytest.raises(HeightGap):
        await story.chain.commit(3)
    await story.chain.commit(2)


async def test_a_block_holds_at_most_two_mebibytes(story: Story) -> None:
    with pytest.raises(BlockTooLarge):
        await story.chain.execute(1, story.now * NANOS, [bytes(65_536)] * 33)


async def test_what_was_not_committed_is_executed_again_after_a_crash(tmp_path: Path) -> None:
    genesis, keys = contract_genesis()
    async with open_story(tmp_path, genesis, keys) as story:
        committed = (await story.block()).app_hash
        raw = story.transaction(story.member("hospital-a"), TICK)
        time_ns = story.now * NANOS
        lost = await story.chain.execute(2, time_ns, [raw])
    async with open_story(tmp_path, genesis, keys, begin=False) as story:
        head = await story.chain.committed()
        assert head is not None
        assert (head.head.height, head.head.app_hash) == (1, committed)
        with pytest.raises(NotExecuted):
            await story.chain.commit(2)
        assert await story.chain.execute(2, time_ns, [raw]) == lost
        await story.chain.commit(2)
    async with open_story(tmp_path, genesis, keys, begin=False) as story:
        assert await story.chain.execute(2, time_ns, [raw]) == lost  # the answer is kept on disk
        head = await story.chain.committed()
        assert head is not None
        assert head.head.app_hash == pb.ExecuteBlockResponse.FromString(lost).app_hash


async def test_a_restart_after_every_block_changes_no_byte(tmp_path: Path) -> None:
    genesis, keys = contract_genesis()
    (tmp_path / "through").mkdir()
    async with open_story(tmp_path / "through", genesis, keys) as story:
        raws = [
            story.transaction(
                story.member("hospital-a"),
                anchor_record(record_anchor(bytes([number]) * 16), bytes(32)),
            )
            for number in range(5)
        ]
        answers = [(await story.block(raw)).answer for raw in raws]
    (tmp_path / "restarted").mkdir()
    for raw, answer in zip(raws, answers, strict=True):
        async with open_story(tmp_path / "restarted", genesis, keys) as story:
            assert (await story.block(raw)).answer == answer


async def test_a_commit_that_the_disk_refuses_leaves_the_committed_state(
    tmp_path: Path, story: Story
) -> None:
    before = (await story.block()).app_hash
    time_ns, raw = story.now * NANOS, story.transaction(story.member("hospital-a"), TICK)
    lost = await story.chain.execute(2, time_ns, [raw])
    # Another process spoils the table: the commit's transaction fails as a whole.
    with sqlite3.connect(tmp_path / "state.db", isolation_level=None) as spoiler:
        spoiler.execute(
            "CREATE TRIGGER full BEFORE INSERT ON block BEGIN SELECT RAISE(FAIL, 'x'); END"
        )
        with pytest.raises(sqlite3.Error):
            await story.chain.commit(2)
        spoiler.execute("DROP TRIGGER full")
    spoiler.close()
    head = await story.chain.committed()
    assert head is not None
    assert (head.head.height, head.head.app_hash) == (1, before)
    assert await story.chain.execute(2, time_ns, [raw]) == lost
    await story.chain.commit(2)


async def test_a_state_that_was_changed_on_disk_does_not_start(tmp_path: Path) -> None:
    genesis, keys = contract_genesis()
    async with open_story(tmp_path, genesis, keys) as story:
        await story.record(RECORD)
    with sqlite3.connect(tmp_path / "state.db") as database:
        changed = database.execute(
            "UPDATE state SET value = ? WHERE key = ?", (bytes(40), b"record/" + RECORD)
        )
        assert changed.rowcount == 1
    database.close()
    with pytest.raises(StateCorrupt):
        async with open_story(tmp_path, genesis, keys):
            pass


async def test_a_damaged_answer_is_never_given(story: Story, tmp_path: Path) -> None:
    decided = await story.block(story.transaction(story.member("hospital-a"), TICK))
    damaged = bytes([decided.answer[0] ^ 1]) + decided.answer[1:]
    with sqlite3.connect(tmp_path / "state.db") as database:
        database.execute("UPDATE block SET answer = ?", (damaged,))
    database.close()
    with pytest.raises(BlockNotKept):
        await story.chain.executed(1)
    with pytest.raises(HeightGap):
        await story.chain.execute(1, 0, [])


async def test_a_chain_begins_with_one_genesis_only(story: Story, tmp_path: Path) -> None:
    document = story.keys.document
    first = await story.chain.init_chain(document)
    assert await story.chain.init_chain(document) == first
    await story.block(story.transaction(story.member("hospital-a"), TICK))
    assert await story.chain.init_chain(document) == first
    with pytest.raises(GenesisDiffers):
        await story.chain.init_chain(document + b" ")
    with pytest.raises(GenesisMalformedError):
        await story.chain.init_chain(b"{}")


async def test_a_folder_of_another_genesis_does_not_start(tmp_path: Path) -> None:
    genesis, keys = contract_genesis()
    async with open_story(tmp_path, genesis, keys):
        pass
    other, other_keys = contract_genesis(members=5)
    with pytest.raises(StateOfAnotherGenesis):
        async with open_story(tmp_path, other, other_keys):
            pass


async def test_nothing_works_before_the_chain_begins(tmp_path: Path) -> None:
    genesis, keys = contract_genesis()
    async with open_story(tmp_path, genesis, keys, begin=False) as story:
        assert await story.chain.committed() is None
        with pytest.raises(ChainNotInitialised):
            await story.chain.execute(1, story.now * NANOS, [])
        with pytest.raises(ChainNotInitialised):
            await story.chain.prove([b"orders"])
        with pytest.raises(NotExecuted):
            await story.chain.commit(1)


async def test_a_genesis_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    genesis, keys = contract_genesis()
    broken = keys.document.replace(b'"machine_version": 1', b'"machine_version": 7')
    broken = broken.replace(b'"app": "1"', b'"app": "7"')
    for document in (b"not json", broken):
        digest = hashlib.sha256(document).digest()
        other = replace(keys, document=document)
        with pytest.raises(GenesisMalformedError):
            async with open_story(tmp_path, replace(genesis, digest=digest), other):
                pass


async def test_orders_are_proven_by_the_state(story: Story) -> None:
    answer = (await story.block(story.transaction(story.member("hospital-a"), TICK))).answer
    message = pb.ExecuteBlockResponse.FromString(answer)
    value = verify_state_proof(message.orders_proof, message.app_hash, ORDERS_KEY)
    assert value == OrdersEntry.of(1, list(message.orders)).to_bytes()
    empty = pb.ExecuteBlockResponse.FromString((await story.block()).answer)
    assert not empty.HasField("orders_proof")
    assert empty.app_hash == message.app_hash


async def test_the_next_timer_is_told_and_gone_when_it_has_fired(story: Story) -> None:
    researcher = await story.staff("hospital-a", "researcher", "researcher")
    terms = permit_terms(story, user_member="hospital-a", vote_seconds=60)
    due = story.now + 60
    decided = await story.applied(researcher, instantiate("data-permit", b"p" * 16, terms))
    message = pb.ExecuteBlockResponse.FromString(decided.answer)
    assert message.next_timer.seconds == due
    head = await story.chain.committed()
    assert head is not None
    assert head.next_timer == due
    story.now = due
    fired = await story.applied(story.member("hospital-a"), TICK)
    assert not pb.ExecuteBlockResponse.FromString(fired.answer).HasField("next_timer")


async def test_the_last_blocks_are_kept(story: Story) -> None:
    answers = [(await story.block()).answer for _ in range(BLOCKS_KEPT + 2)]
    assert await story.chain.executed(len(answers)) == answers[-1]
    assert await story.chain.executed(len(answers) - 63) == answers[-64]
    for height in (0, 1, 2, len(answers) + 1):
        with pytest.raises(BlockNotKept):
            await story.chain.executed(height)
