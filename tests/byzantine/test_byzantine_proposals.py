"""A member whose blocks, silence and gossip are wrong: three honest nodes and a hostile ledger."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward_chain.authorization import MemberSigner, PseudonymSigner, Signer
from cipherward_chain.receipts import verify_receipt
from cipherward_chain.results import TransactionResult
from cipherward_chain.testing import seed_of
from cipherward_chain.transactions import build_transaction
from cipherward_kit.testing import eventually
from cipherward_ledger.comet.node_rpc import open_node_rpc
from tests.byzantine.hostile_alliance import (
    HEARTBEAT_SECONDS,
    HONEST,
    LIAR,
    HostileAlliance,
    agree,
    commit,
    committed_since,
    driven,
    proven_since,
)
from tests.byzantine.hostile_ledger import FALSE_STATE, TAKE_ALL, WITHHOLD
from tests.servers.comet_alliance import EXPIRES_SECONDS, Member, connected
from tests.servers.need import need

pytestmark = pytest.mark.soak

A = HONEST[0]
TICK = tx_pb.Act(tick=tx_pb.Tick())
YEAR_SECONDS = 365 * 24 * 3_600
# A block through three of four on a machine that runs other tests, too: an honest one takes 0.1 s.
PATIENCE_SECONDS = 20.0
FLOOD_SECONDS = 15.0
FLOOD_BATCH = 100
GARBAGE_BYTES = 1_000
FLOOD_GROWTH_BYTES = 128 * 1024 * 1024  # of one process; 9 MiB were measured


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileAlliance]:
    need("cometbft")
    folder = tmp_path_factory.mktemp("hostile")
    alliance = HostileAlliance.make(folder, 4, heartbeat_seconds=HEARTBEAT_SECONDS)
    assert isinstance(alliance, HostileAlliance)
    alliance.start_all()
    yield alliance
    alliance.stop_all()


@pytest.fixture
async def members(hostile: HostileAlliance) -> AsyncIterator[dict[str, Member]]:
    async with connected(hostile) as found:
        for member in found.values():
            await member.reached(2)
        yield found


def by(signer: Signer, *, chain_id: str = "test-chain", expires_at: int = 0) -> bytes:
    return build_transaction(
        (TICK,),
        chain_id=chain_id,
        expires_at=expires_at or int(time.time()) + EXPIRES_SECONDS,
        signer=signer,
    )


def signed(name: str, seed: bytes, *, chain_id: str = "test-chain", expires_at: int = 0) -> bytes:
    return by(MemberSigner(name, seed), chain_id=chain_id, expires_at=expires_at)


def honest_form() -> bytes:
    return signed(LIAR, seed_of(LIAR))


def broken(content: bytes) -> bytes:
    """Return an act whose signature, which is last, has one bit wrong."""
    return content[:-1] + bytes([content[-1] ^ 1])


INVALID: dict[str, tuple[str, Callable[[], list[bytes]]]] = {
    "a signature that is wrong": ("AUTHORIZATION_REJECTED", lambda: [broken(honest_form())]),
    "an act under another member's key": (
        "AUTHORIZATION_REJECTED",
        lambda: [broken(signed(A, seed_of(A)))],
    ),
    "one bad act among good ones": (
        "AUTHORIZATION_REJECTED",
        lambda: [*(honest_form() for _ in range(20)), broken(honest_form())],
    ),
    "an act for another chain": (
        "WRONG_CHAIN",
        lambda: [signed(LIAR, seed_of(LIAR), chain_id="other-chain")],
    ),
    "an act that is too large": ("TRANSACTION_TOO_LARGE", lambda: [bytes(64 * 1024 + 1)]),
    "one act twice": ("ID_TWICE", lambda: [honest_form()] * 2),
    "garbage": ("TRANSACTION_MALFORMED", lambda: [secrets.token_bytes(GARBAGE_BYTES)]),
}


@pytest.mark.parametrize("lie", INVALID)
async def test_a_block_with_what_is_invalid_is_voted_down_and_the_next_proposer_goes_on(
    hostile: HostileAlliance, members: dict[str, Member], lie: str
) -> None:
    why, make = INVALID[lie]
    false = make()
    height = await members[A].height()
    before = {one: await hostile.counted(one, "proposals_refused", reason=why) for one in HONEST}

    async def all_refused() -> bool:
        now = [await hostile.counted(one, "proposals_refused", reason=why) for one in HONEST]
        return all(count > before[one] for one, count in zip(HONEST, now, strict=True))

    with hostile.proposing(*false):
        await driven(members[A], all_refused)
    await agree(list(members.values()))
    assert not set(false) & set(await committed_since(members[A], height))


async def test_what_is_replayed_stolen_or_out_of_its_time_is_refused_by_a_result(
    hostile: HostileAlliance, members: dict[str, Member]
) -> None:
    """Whatever time, history or registry decide is no vote's: such an act has no effect."""
    done = await commit(members[A])
    now = int(time.time())
    lies = {
        done.transaction.raw: "TRANSACTION_REPLAYED",
        signed(LIAR, seed_of(LIAR), expires_at=now - 60): "TRANSACTION_EXPIRED",
        signed(LIAR, seed_of(LIAR), expires_at=now + YEAR_SECONDS): "EXPIRY_TOO_FAR",
        signed(A, seed_of(LIAR)): "MEMBER_UNKNOWN",  # in another's name, by its own key
        by(PseudonymSigner(seed_of("nobody's"))): "KEY_NOT_REGISTERED",
    }
    height = await members[A].height()

    async def in_a_block() -> bool:
        return set(lies) <= set(await committed_since(members[A], height))

    with hostile.proposing(*lies):
        await driven(members[A], in_a_block)
    told = {
        content: TransactionResult.from_bytes(result).reason
        for block in await proven_since(members[A], height)
        for content, result in zip(block.transactions, block.results, strict=True)
    }
    assert {content: told[content] for content in lies} == lies
    # Who has a receipt of the act keeps it, and gets the same one again.
    receipt = await members[A].receipt(done.transaction.id)
    again = verify_receipt(receipt, hostile.genesis.trust_root())
    assert again.result.applied
    assert again.height == done.height
    await agree(list(members.values()))


async def paced(member: Member, count: int) -> list[float]:
    """Commit one act after another; return how long each took."""
    took: list[float] = []
    for _ in range(count):
        began = time.monotonic()
        await commit(member)
        took.append(time.monotonic() - began)
    return took


async def test_a_proposer_that_withholds_its_block_costs_a_round_and_no_more(
    hostile: HostileAlliance, members: dict[str, Member]
) -> None:
    with hostile.lying(WITHHOLD):
        took = await paced(members[A], 8)  # sixteen blocks: its turn comes up several times
    print(
        f"\nwithheld by the application: p50 {statistics.median(took):.2f} s, max {max(took):.2f}"
    )
    assert max(took) < PATIENCE_SECONDS
    await agree(list(members.values()))


async def test_a_node_that_freezes_costs_a_round_and_catches_up(
    hostile: HostileAlliance, members: dict[str, Member]
) -> None:
    pid = hostile.node_pid(LIAR)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        took = await paced(members[A], 8)
    finally:
        os.kill(pid, signal.SIGCONT)
    print(f"\nfrozen node: p50 {statistics.median(took):.2f} s, max {max(took):.2f} s")
    assert max(took) < PATIENCE_SECONDS
    await agree(list(members.values()))


def resident(pid: int | None) -> int:
    """Return the bytes of memory that a process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [one for one in status.splitlines() if one.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


async def test_a_flood_of_garbage_is_refused_in_bounded_memory_and_honest_acts_go_through(
    hostile: HostileAlliance, members: dict[str, Member]
) -> None:
    honest = members[A]
    pids = {"ledger": hostile.children[A, "ledger"].pid, "node": hostile.node_pid(A)}
    before = await paced(honest, 5)
    memory = {name: resident(pid) for name, pid in pids.items()}
    height = await honest.height()
    refused = await hostile.counted(A, "gossip_refused")
    sent = 0
    ends = time.monotonic() + FLOOD_SECONDS

    async def flood() -> None:
        nonlocal sent
        async with open_node_rpc(hostile.data_dir(LIAR, "ledger") / "node") as rpc:
            while time.monotonic() < ends:
                batch = [secrets.token_bytes(GARBAGE_BYTES) for _ in range(FLOOD_BATCH)]
                taken = await rpc.broadcast(batch)
                sent += taken.count("")

    with hostile.lying(TAKE_ALL):
        async with asyncio.TaskGroup() as group:
            flooding = group.create_task(flood())
            during: list[float] = []
            while not flooding.done():
                during += await paced(honest, 1)
        refusals = await hostile.counted(A, "gossip_refused") - refused
    grown = {name: resident(pid) - memory[name] for name, pid in pids.items()}
    print(
        f"\nflood: {sent} sent, {refusals:.0f} refused by {A} in {FLOOD_SECONDS:.0f} s; honest "
        f"p50 {statistics.median(before):.2f} s before, {statistics.median(during):.2f} s during, "
        f"max {max(during):.2f} s; "
        + ", ".join(f"{name} {bytes_ / 2**20:+.0f} MiB" for name, bytes_ in grown.items())
    )
    assert sent >= FLOOD_BATCH
    assert refusals >= FLOOD_BATCH
    assert max(during) < PATIENCE_SECONDS
    assert max(grown.values()) < FLOOD_GROWTH_BYTES
    garbage = [c for c in await committed_since(honest, height) if len(c) == GARBAGE_BYTES]
    assert garbage == []
    assert (await honest.status()).pending == 0


async def test_a_member_that_lies_about_its_state_stops_alone(
    hostile: HostileAlliance, members: dict[str, Member]
) -> None:
    """Last: afterwards its node can only be emptied and synced anew."""
    with hostile.lying(FALSE_STATE):
        for _ in range(3):
            await commit(members[A])
        await eventually(lambda: hostile.ended(LIAR, "ledger") is not None, seconds=60)
    said = (hostile.folder / f"{LIAR}.ledger.log").read_text().splitlines()
    print(f"\nits last words: {said[-1][:300]}")
    assert hostile.ended(LIAR, "ledger") != 0
    await agree([members[one] for one in HONEST])
