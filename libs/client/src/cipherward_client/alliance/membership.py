"""A member joins or leaves an alliance that runs on this machine, where all keys lie.

In a real alliance each step is done by whoever it belongs to: the newcomer makes its keys, members
propose and vote, and the newcomer takes its seat when its node has the chain.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.admission import Admission, Admitted
from cipherward_chain.checkpoint import TrustRoot
from cipherward_chain.endpoints import Endpoints
from cipherward_chain.genesis import Genesis
from cipherward_chain.light_block import LightBlock
from cipherward_client.alliance.create import establish
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.parts import SOLO
from cipherward_client.alliance.running import RunningAlliance
from cipherward_client.sdk.connection import admission_file, read_admission
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.sdk.ledger import ProvenAct, Submitter
from cipherward_client.sdk.membership import (
    ADMITTED,
    MEMBERSHIP,
    REMOVAL,
    admission_of,
    join,
    propose_member,
    propose_removal,
    read_change,
    vote_on_change,
)
from cipherward_client.sdk.registration import Registration
from cipherward_kit.datafolder import write_atomically

# A newcomer's node restores a snapshot or replays the chain; then it signs the second block after
# the one that gave it its seat, and blocks are at most a heartbeat apart.
SYNCED_SECONDS, SEATED_SECONDS = 300.0, 120.0
# A removed member's ledger stops when the block that removed it is proven: one block later.
LEFT_SECONDS = 30.0
BLOCKS_TO_SEAT = 2  # CometBFT: a change of the validators takes effect so many blocks later
TICK = chain_pb.Act(tick=chain_pb.Tick())
POLL_SECONDS = 0.2
CALL_SECONDS = 10.0

Told = Callable[[str], None]


class MemberNotReady(Exception):
    """A newcomer's node has not got the chain, or does not vote, in the time that it should."""

    reason = "MEMBER_NOT_READY"


class NotDecided(Exception):
    """All members have voted, and the change is not decided."""

    reason = "CHANGE_NOT_DECIDED"


async def add_member(
    running: RunningAlliance, member: str, name: str, told: Told = lambda _: None
) -> None:
    """Let a new member in, run its processes, and return when its node votes in consensus.

    A member that was admitted before goes on where it stopped.

    Args:
        member: its id, which no member of the chain ever had.
        told: gets a sentence for each step.

    Raises:
        ActRefused, ClientError: it was not admitted.
        MemberNotReady: its node did not get the chain, or no vote of it came.
    """
    folder = running.folder
    if not admission_file(folder.endpoints_file, member).exists():
        await admit(folder, member, name, told)
    await running.start_member(member)
    told(f"{member}'s processes are ready")
    await take_seat(folder, member, told)


async def remove_member(running: RunningAlliance, member: str, told: Told = lambda _: None) -> None:
    """Remove a member whose processes run here, by the votes of the others; end its processes.

    Its ledger learns of it from the chain, destroys its consensus key and ends by itself.

    Raises:
        ActRefused, ClientError: it was not removed.
    """
    running.let_go(member)
    await expel(running.folder, member, told)
    if running.parts.engine != SOLO:
        status = await running.supervisor.left_alone(f"{member}/ledger", LEFT_SECONDS)
        told(
            f"{member}'s ledger has ended by itself"
            if status is not None
            else f"{member}'s ledger did not learn of it in {LEFT_SECONDS:.0f} s and is stopped"
        )
    await running.end_member(member)


async def expel(folder: AllianceFolder, member: str, told: Told) -> None:
    """Propose that a member is removed, and vote as every other one.

    Raises:
        ActRefused, ClientError: it was not removed.
    """
    async with _hospitals(folder, _others(folder, member)) as others:
        proposed = await propose_removal(others[0], member)
        decided = await _decide(others, REMOVAL, proposed.change_id)
    told(f"{member} is removed from the registry in block {decided.height}")


def prepare(folder: AllianceFolder, member: str, name: str) -> Registration:
    """Make the keys and certificates of a newcomer; return what the alliance is told of it.

    Its node has a key where the alliance's members run nodes.
    """
    networked = Genesis.parse(folder.genesis_file.read_bytes()).engine != SOLO
    return establish(folder, member, name, consensus=networked, node=networked)


async def admit(folder: AllianceFolder, member: str, name: str, told: Told) -> None:
    """Make a newcomer's keys, propose it and vote as every member; keep the proof.

    Raises:
        ActRefused, ClientError: it was not admitted.
    """
    registration = await asyncio.to_thread(prepare, folder, member, name)
    told(f"{member} has made its keys")
    async with _hospitals(folder, _others(folder, member)) as others:
        proposed = await propose_member(others[0], registration)
        decided = await _decide(others, MEMBERSHIP, proposed.change_id)
        await keep_admission(folder, others[0], member, decided)
    told(f"the members admit {member} in block {decided.height}")


async def keep_admission(
    folder: AllianceFolder, hospital: Hospital, member: str, decided: ProvenAct
) -> None:
    """Write the proof that a vote admitted a member to where services and the SDK look for it.

    Raises:
        ClientError: it proves no such thing.
    """
    admission = await admission_of(hospital, decided)
    await store_admission(folder, hospital.alliance.trust_root, member, admission)


async def store_admission(
    folder: AllianceFolder, trust_root: TrustRoot, member: str, admission: Admission
) -> Admitted:
    """Write the proof of a member's admission, and return whom it admits.

    Raises:
        ClientError: it proves no such thing.
    """
    with explaining():
        admitted = await asyncio.to_thread(admission.verify, trust_root, member)
    file = admission_file(folder.endpoints_file, member)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    await asyncio.to_thread(write_atomically, file, admission.to_bytes(), 0o644)  # no secret
    return admitted


async def take_seat(folder: AllianceFolder, member: str, told: Told) -> None:
    """Join as an admitted member whose processes run, once its node has the chain.

    Raises:
        ActRefused, ClientError: the seat is refused.
        MemberNotReady: see `add_member`.
    """
    other, *_ = _others(folder, member)
    genesis = Genesis.parse(await asyncio.to_thread(folder.genesis_file.read_bytes))
    admission = await asyncio.to_thread(read_admission, folder.endpoints_file, member)
    admitted = admission.verify(genesis.trust_root(), member)
    async with (
        open_hospital(folder, member) as newcomer,
        open_hospital(folder, member, other) as elsewhere,  # itself, at another member's ledger
    ):
        started = time.monotonic()
        await _until(
            lambda: _has_chain(newcomer, elsewhere), SYNCED_SECONDS, f"{member} has no chain"
        )
        told(f"{member} has the chain after {time.monotonic() - started:.1f} s")
        if (await read_change(elsewhere, admitted.change_id)).state == ADMITTED:
            await join(newcomer, admitted.change_id)
            told(f"{member} has joined")
            for _ in range(BLOCKS_TO_SEAT):  # an idle chain makes one a heartbeat only
                await Submitter(elsewhere.alliance).submit([TICK], newcomer.signer)
        key = admitted.member.consensus_public_key
        if key:  # under solo it is a member and runs no node
            await _until(lambda: _signs(elsewhere, key), SEATED_SECONDS, f"{member} does not vote")
            told(f"{member} votes in consensus")


def _others(folder: AllianceFolder, member: str) -> list[str]:
    endpoints = Endpoints.parse(folder.endpoints_file.read_bytes())
    return [other for other in endpoints.by_member if other != member]


@asynccontextmanager
async def _hospitals(
    folder: AllianceFolder, members: Sequence[str]
) -> AsyncGenerator[list[Hospital]]:
    """Open the own systems of members, in their order."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_hospital(folder, member)) for member in members]


async def _decide(voters: Sequence[Hospital], kind: str, change_id: bytes) -> ProvenAct:
    """Vote yes as each until it is decided; return the deciding vote."""
    for voter in voters:
        vote = await vote_on_change(voter, kind, change_id)
        if vote.decided:
            return vote.act
    raise NotDecided(f"{len(voters)} members voted")


async def _until(holds: Callable[[], Awaitable[bool]], seconds: float, complaint: str) -> None:
    ends = time.monotonic() + seconds
    while not await holds():
        if time.monotonic() > ends:
            raise MemberNotReady(f"{complaint} after {seconds:.0f} s")
        await asyncio.sleep(POLL_SECONDS)


async def _has_chain(newcomer: Hospital, other: Hospital) -> bool:
    """Say whether the newcomer's ledger is where another member's was a moment before."""
    head = await other.alliance.ledger.GetStatus(pb.GetStatusRequest(), timeout=CALL_SECONDS)
    own = await newcomer.alliance.ledger.GetStatus(pb.GetStatusRequest(), timeout=CALL_SECONDS)
    return not own.catching_up and own.height >= head.height


async def _signs(other: Hospital, consensus_public_key: bytes) -> bool:
    """Say whether a node has signed the newest block."""
    answer = await other.alliance.ledger.GetLightBlock(
        pb.GetLightBlockRequest(), timeout=CALL_SECONDS
    )
    block = LightBlock.parse(answer.light_block, other.alliance.chain_id)
    block.verify()
    return any(one.public_key == consensus_public_key for one in block.signers)
