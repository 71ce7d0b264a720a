"""Key ceremonies of four members over real stores: what comes out, and what a crash does."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cipherward_compute.ceremony.dealing import AnsweredBefore
from cipherward_compute.errors import StepFailed
from cipherward_compute.instructions import CeremonyStep
from cipherward_compute.key_effects import destroyed
from cipherward_compute.keyring import KeyMissing, Message
from cipherward_compute.vault import VaultCorrupt
from cipherward_threshold.keys import public_key_digest

if TYPE_CHECKING:
    from conftest import Run

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
PROFILE = "additive-1"
STEPS: tuple[CeremonyStep, ...] = ("commit", "reveal", "confirm")


async def test_four_members_make_one_key_and_each_a_share_of_it(run: Run) -> None:
    await run.before("confirm")
    (digest,) = set((await run.take("confirm")).values())
    keys = {member: await run.key_of(member) for member in MEMBERS}
    (key_id,) = {key.key_id for key, _ in keys.values()}
    assert {share.key_id for _, share in keys.values()} == {key_id}
    assert [share.point for _, share in keys.values()] == [1, 2, 3, 4]
    for member in MEMBERS:
        ceremony = await run.alliance.keyrings[member].ceremony(run.study)
        assert public_key_digest(ceremony.public_key) == digest
        assert ceremony.profile == PROFILE


async def test_own_secret_and_deals_are_gone_once_the_key_is_there(run: Run) -> None:
    await run.before("confirm")
    await run.take("confirm")
    for member in MEMBERS:
        keyring = run.alliance.keyrings[member]
        assert (await keyring.ceremony(run.study)).secret_salt == b""
        assert await keyring.deals(run.study) == {}
        assert await keyring.messages(run.study, "reveal") == {}
        assert set(await keyring.messages(run.study, "check")) == {member}


async def test_a_retired_key_leaves_nothing(run: Run) -> None:
    await run.before("confirm")
    await run.take("confirm")
    for member in MEMBERS:
        await run.alliance.databases[member].write(destroyed(run.study))
        with pytest.raises(KeyMissing):
            await run.alliance.keyrings[member].ceremony(run.study)
        assert await run.alliance.keyrings[member].messages(run.study, "check") == {}


async def test_two_ceremonies_side_by_side_have_nothing_in_common(run: Run, another: Run) -> None:
    first, second = await asyncio.gather(run.take(*STEPS), another.take(*STEPS))
    assert not set(first.values()) & set(second.values())
    assert not set(run.commitments.values()) & set(another.commitments.values())


async def test_a_new_ceremony_can_begin_after_one_that_failed(run: Run, another: Run) -> None:
    await run.before("confirm")
    run.rewrite("hospital-b", "check", b"garbage")
    assert await run.refusals("confirm")
    await another.take(*STEPS)


@pytest.mark.parametrize("step", STEPS)
async def test_a_member_that_dies_before_its_step_is_on_disk_takes_it_again(
    run: Run, step: CeremonyStep
) -> None:
    await run.before(step)
    lost = await run.alliance.steps["hospital-c"].carry_out(run.order(step))  # never written
    await run.alliance.restart("hospital-c")
    again = await run.take(step)
    if step == "commit":  # nothing of the first one has left the member: it may begin anew
        assert again["hospital-c"] != lost.digest
    else:
        assert again["hospital-c"] == lost.digest
    await run.take(*STEPS[STEPS.index(step) + 1 :])
    await run.key_of("hospital-c")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "at"), [("reveal", 1), ("reveal", 5), ("confirm", 1), ("confirm", 3)]
)
async def test_a_member_killed_while_it_waits_for_peers_goes_on_with_the_same_bytes(
    run: Run, step: CeremonyStep, at: int
) -> None:
    await run.before(step)
    peers = run.alliance.peers["hospital-a"]
    peers.dies_at = peers.asked + at
    with pytest.raises(RuntimeError, match="killed"):
        await run.alliance.steps["hospital-a"].carry_out(run.order(step))
    await run.alliance.restart("hospital-a")
    digests = await run.take(*STEPS[STEPS.index(step) :])
    assert len(set(digests.values())) == 1


async def test_every_member_restarting_between_all_steps_changes_nothing(run: Run) -> None:
    digests: dict[str, bytes] = {}
    for step in STEPS:
        digests = await run.take(step)
        for member in MEMBERS:
            await run.alliance.restart(member)
    assert len(set(digests.values())) == 1


async def test_a_backup_from_before_the_ceremony_makes_no_second_key(run: Run) -> None:
    await run.alliance.stop("hospital-a")
    backup = (run.alliance.folder / "hospital-a.db").read_bytes()
    await run.alliance.start("hospital-a")
    await run.take("commit")
    await run.alliance.stop("hospital-a")
    for end in ("", "-wal", "-shm"):
        (run.alliance.folder / f"hospital-a.db{end}").unlink(missing_ok=True)
    (run.alliance.folder / "hospital-a.db").write_bytes(backup)
    await run.alliance.start("hospital-a")
    with pytest.raises(KeyMissing):
        await run.at("hospital-a", "reveal")
    run.commitments["hospital-a"] = (await run.at("hospital-a", "commit")).digest
    await run.alliance.restart("hospital-a")
    elsewhere = replace(run, commitments={**run.commitments, "hospital-a": b"x" * 32})
    with pytest.raises(StepFailed, match="old backup"):
        await elsewhere.at("hospital-a", "reveal")


async def test_an_order_without_every_commitment_is_refused(run: Run) -> None:
    await run.before("reveal")
    del run.commitments["hospital-b"]
    with pytest.raises(StepFailed, match="commitment of every member"):
        await run.at("hospital-a", "reveal")


async def test_a_member_answers_one_challenge_and_no_other(run: Run) -> None:
    await run.before("confirm")
    # hospital-d begins anew, and its new commitment makes a new challenge: rho' s - rho s would
    # give secrets away. The chain takes one commitment of a member; here it takes two.
    await run.alliance.databases["hospital-d"].write(destroyed(run.study))
    run.commitments["hospital-d"] = (await run.at("hospital-d", "commit")).digest
    with pytest.raises(AnsweredBefore):
        await run.at("hospital-a", "reveal")


async def test_a_deal_is_kept_sealed_and_a_damaged_one_is_noticed(run: Run) -> None:
    await run.before("reveal")
    with sqlite3.connect(run.alliance.folder / "hospital-a.db") as connection:
        rows = connection.execute("SELECT octets FROM ceremony_messages WHERE kind = 'deal'")
        assert not any(row[0].startswith(b"CWT1") for row in rows)
        connection.execute("UPDATE ceremony_messages SET octets = x'00' WHERE kind = 'deal'")
    connection.close()
    with pytest.raises(VaultCorrupt):
        await run.alliance.keyrings["hospital-a"].deals(run.study)


async def test_what_a_member_has_said_once_it_says_again(run: Run) -> None:
    await run.before("reveal")
    keyring = run.alliance.keyrings["hospital-a"]
    first = await keyring.put_once(run.study, Message("opening", "hospital-a", b"one"))
    second = await keyring.put_once(run.study, Message("opening", "hospital-a", b"two"))
    assert (first, second) == (b"one", b"one")
