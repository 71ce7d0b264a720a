"""A member that votes twice, votes at a wrong time, and comes back after it was removed."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from cipherward.comet.v1 import types_pb2 as comet
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward_chain.comet import address, header_time_ns, parse_commit, parse_header
from cipherward_chain.light import LightClient
from cipherward_chain.signatures import SigningKey, verify_signature
from cipherward_chain.testing import seed_of
from cipherward_chain.wire import NANOS, timestamp_ns
from cipherward_contract.testing import instantiate, shipped_documents, vote
from cipherward_kit.access import ALL_RULES
from cipherward_kit.channels import open_channel
from cipherward_kit.testing import eventually
from cipherward_ledger.comet.node_files import NodeKeys
from tests.byzantine.hostile_alliance import (
    HEARTBEAT_SECONDS,
    HONEST,
    LIAR,
    HostileAlliance,
    agree,
    commit,
    driven,
)
from tests.byzantine.liar_signer import LiarSigner, vote_bytes
from tests.servers.comet_alliance import CALL_SECONDS, HOST, MESSAGE_BYTES_MAX, Member, connected
from tests.servers.comet_stranger import stranger
from tests.servers.need import need

pytestmark = pytest.mark.soak

A, B, C = HONEST
SIGNER = "signer.sock"
HOUR_NS = 3_600 * NANOS
# Between two clocks of this machine, and from a vote to the look at the block after it.
APART_NS = 60 * NANOS
REMOVAL = b"r" * 16
CONSENSUS_SEED = seed_of(f"{LIAR}/consensus")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileAlliance]:
    need("cometbft")
    folder = tmp_path_factory.mktemp("hostile")
    alliance = HostileAlliance.make(
        folder, 4, heartbeat_seconds=HEARTBEAT_SECONDS, templates=shipped_documents()
    )
    assert isinstance(alliance, HostileAlliance)
    alliance.signer_socket = SIGNER
    yield alliance
    alliance.stop_all()


@pytest.fixture(scope="module")
def signer(hostile: HostileAlliance) -> Iterator[LiarSigner]:
    """The liar's votes; every member runs from here on."""
    path = hostile.data_dir(LIAR, "ledger") / "node" / SIGNER
    path.parent.mkdir(parents=True)
    made = LiarSigner(path, CONSENSUS_SEED)
    hostile.start_all()
    yield made
    made.close()


@pytest.fixture
async def members(signer: LiarSigner, hostile: HostileAlliance) -> AsyncIterator[dict[str, Member]]:
    async with connected(hostile) as found:
        for member in found.values():
            await member.reached(2)
        yield found


def liars_times(commits: list[comet.Commit]) -> list[int]:
    """Return the times, Unix nanoseconds, that the liar's votes in commits have."""
    liar = address(SigningKey(CONSENSUS_SEED).public_key)
    return [
        timestamp_ns(one.timestamp)
        for found in commits
        for one in found.signatures
        if one.validator_address == liar
    ]


@pytest.mark.parametrize("offset_ns", [HOUR_NS, -HOUR_NS], ids=["ahead", "behind"])
async def test_a_clock_that_is_wrong_moves_no_blocks_time(
    members: dict[str, Member], signer: LiarSigner, offset_ns: int
) -> None:
    """With one honest member away the liar's vote is in every commit: one of three times."""
    await asyncio.to_thread(members[C].alliance.kill, C, "ledger")
    signer.offset_ns = offset_ns
    try:
        first = last = (await commit(members[A])).height
        for _ in range(5):
            last = (await commit(members[A])).height
    finally:
        signer.offset_ns = 0
        members[C].alliance.start(C, "ledger")
    blocks = await members[A].blocks(first + 1, last - first)
    lied = liars_times([parse_commit(block.next_commit) for block in blocks])
    assert any(abs(when - offset_ns - time.time_ns()) < APART_NS for when in lied)
    for block in blocks:
        assert abs(header_time_ns(parse_header(block.header)) - time.time_ns()) < APART_NS
    await agree(list(members.values()))


async def test_a_twin_that_votes_twice_forks_nothing_and_is_convicted(
    members: dict[str, Member], hostile: HostileAlliance
) -> None:
    honest = [members[one] for one in HONEST]
    await asyncio.to_thread(hostile.kill, LIAR, "ledger")
    twin = hostile.twin(C)
    with ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, twin.running())
        await eventually(lambda: followed(hostile, twin.port, 2), seconds=60, what="the twin")
        hostile.start(LIAR, "ledger")  # dials the others: one is taken by its twin

        async def convicted() -> bool:
            found = [
                await hostile.counted(m, "misbehaviour", kind="DUPLICATE_VOTE") for m in HONEST
            ]
            return all(found)

        await driven(members[A], convicted)
    await agree(honest)
    for member in HONEST:
        files = list((hostile.data_dir(member, "ledger") / "node" / "evidence").glob("block-*"))
        assert files, member
        for path in files:
            check_evidence(path, hostile.genesis.chain_id)
    # One chain: what each member streams is certified, and all stream the same.
    last = min([await member.height() for member in honest]) - 1
    seen: set[tuple[bytes, ...]] = set()
    for member in honest:
        client = LightClient(hostile.genesis.trust_root())
        blocks = await member.blocks(1, last)
        seen.add(tuple(client.accept(block).header_hash for block in blocks))
    assert len(seen) == 1


async def followed(hostile: HostileAlliance, port: int, height: int) -> bool:
    """Return whether the twin's ledger has recorded a height."""
    channel = channel_to(hostile, port, LIAR, "ledger")
    try:
        request = ledger_pb.GetStatusRequest()
        status = await LedgerServiceStub(channel).GetStatus(request, timeout=CALL_SECONDS)
    except aio.AioRpcError:
        return False
    finally:
        await channel.close()
    return status.height >= height and not status.catching_up


def channel_to(
    hostile: HostileAlliance, port: int, member: str, service: str, caller: str = "storage"
) -> aio.Channel:
    """Return a channel to a service of a member, as one of the liar's."""
    return open_channel(
        f"{HOST}:{port}",
        identity=hostile.alliance.identity(LIAR, caller),
        registry=hostile.alliance.registry,
        peer_member=member,
        peer_service=service,
        message_bytes_max=MESSAGE_BYTES_MAX,
    )


def check_evidence(path: Path, chain_id: str) -> None:
    """Verify that a file convicts the liar: two of its signatures, for two blocks of one round."""
    listed: list[dict[str, Any]] = json.loads(path.read_bytes())["evidence"]
    assert listed
    key = SigningKey(CONSENSUS_SEED).public_key
    for one in listed:
        assert one["type"] == "tendermint/DuplicateVoteEvidence"
        votes = one["value"]["vote_a"], one["value"]["vote_b"]
        places = {(v["type"], v["height"], v["round"], v["validator_address"]) for v in votes}
        assert len(places) == 1
        assert votes[0]["block_id"]["hash"] != votes[1]["block_id"]["hash"]
        for cast in votes:
            when = Timestamp()
            when.FromJsonString(cast["timestamp"])
            block = comet.BlockId(hash=bytes.fromhex(cast["block_id"]["hash"]))
            parts = cast["block_id"]["parts"]
            block.part_set_header.total = int(parts["total"])
            block.part_set_header.hash = bytes.fromhex(parts["hash"])
            place = int(cast["type"]), int(cast["height"]), int(cast["round"])
            octets = vote_bytes(*place, block, when, chain_id)
            verify_signature(key, octets, base64.b64decode(cast["signature"]))


@pytest.mark.parametrize("caller", ["ledger", "contract", "identity", "storage", "compute"])
async def test_what_is_for_its_own_services_alone_no_contract_does_for_another_member(
    members: dict[str, Member], hostile: HostileAlliance, caller: str
) -> None:
    methods = [
        method
        for method, rule in ALL_RULES.items()
        if method.startswith("/cipherward.contract.v1.") and rule.callers.startswith("own ")
    ]
    assert len(methods) > 8
    height = await members[A].height()
    channel = channel_to(hostile, hostile.ports[A]["contract"], A, "contract", caller)
    for method in methods:
        call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(aio.AioRpcError) as refused:
            await call(b"", timeout=CALL_SECONDS)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED, method
    await channel.close()
    assert await members[A].height() >= height


async def test_a_removed_member_is_refused_by_node_and_by_service(
    members: dict[str, Member], hostile: HostileAlliance, tmp_path: Path
) -> None:
    """Last. Whatever it should have destroyed it has kept: node key, votes and certificates."""
    for service in ("ledger", "contract"):
        await asyncio.to_thread(hostile.kill, LIAR, service)
    stubs = {
        "contract": "/cipherward.contract.v1.ContractService/ReadState",
        "ledger": "/cipherward.ledger.v1.LedgerService/GetStatus",
    }
    channels = {name: channel_to(hostile, hostile.ports[A][name], A, name) for name in stubs}

    async def answered(service: str, channel: aio.Channel) -> grpc.StatusCode:
        """Return with what an honest service answers the liar."""
        call = channel.unary_unary(
            stubs[service], request_serializer=bytes, response_deserializer=bytes
        )
        try:
            await call(b"", timeout=CALL_SECONDS)
        except aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    for service, channel in channels.items():
        assert await answered(service, channel) is grpc.StatusCode.OK
    terms = {"member": LIAR, "vote_seconds": 3_600}
    await commit(members[A], instantiate("removal", REMOVAL, terms))
    for voter in HONEST:
        await commit(members[voter], vote(REMOVAL, "remove", True))
    await agree([members[one] for one in HONEST])
    for service, channel in channels.items():  # on its open connection, and on a new one
        again = channel_to(hostile, hostile.ports[A][service], A, service)

        async def refused(channel: aio.Channel = channel, service: str = service) -> bool:
            return await answered(service, channel) in REFUSED

        await eventually(refused, seconds=30, what=f"{service} to refuse")
        assert await answered(service, again) in REFUSED
        await again.close()
        await channel.close()
    keys = NodeKeys(CONSENSUS_SEED, seed_of(f"{LIAR}/node"))
    async with stranger(hostile, tmp_path, keys) as node:
        await eventually(lambda: node.refusals() >= len(HONEST), seconds=60)
        assert await node.height() == 0
    await agree([members[one] for one in HONEST])


REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE)
