"""Where a service begins: at its place, at the genesis, or at what its ledger still keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.comet import Validator, ValidatorSet
from cipherward_chain.light_skipping import TRUSTING_SECONDS
from cipherward_chain.root_file import RootFile
from cipherward_chain.testing import make_genesis, seed_of
from cipherward_chain.testing_quorum import QuorumChain, seeds_by_key
from cipherward_chain.trust import TrustPoint
from cipherward_chain.wire import NANOS
from cipherward_kit.testing import eventually
from cipherward_member.beginning import begin, notice_gap, read_trust_root
from cipherward_member.errors import CheckpointUnusable, TooFarBehind, TrustUnusable
from cipherward_member.following import ChainProgress

DEADLINE_SECONDS = 20
SERVICE = "cipherward.ledger.v1.LedgerService"


class PruningLedger:
    """Says where a chain stands and answers its light blocks; it has dropped the early ones."""

    def __init__(self, chain: QuorumChain, first_height: int) -> None:
        self.chain = chain
        self.first_height = first_height
        self.oldest_answered = first_height
        self.served_from = 0  # what other members' ledgers keep; 0: as much as this one
        self.catches_up = 0  # for so many questions it has no blocks at all
        self.asked = 0  # where it stands
        self.genesis_digest = chain.genesis.digest
        self.drops_at_once = 0  # so many light blocks are dropped just when they are asked for

    def serve_on(self, server: aio.Server) -> None:
        handlers = {
            "GetStatus": grpc.unary_unary_rpc_method_handler(
                self._get_status,
                request_deserializer=pb.GetStatusRequest.FromString,
                response_serializer=pb.GetStatusResponse.SerializeToString,
            ),
            "GetLightBlock": grpc.unary_unary_rpc_method_handler(
                self._get_light_block,
                request_deserializer=pb.GetLightBlockRequest.FromString,
                response_serializer=pb.GetLightBlockResponse.SerializeToString,
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def _get_status(
        self, _request: pb.GetStatusRequest, _context: aio.ServicerContext[Any, Any]
    ) -> pb.GetStatusResponse:
        self.asked += 1
        if self.asked <= self.catches_up:
            return pb.GetStatusResponse(catching_up=True, genesis_digest=self.genesis_digest)
        return pb.GetStatusResponse(
            chain_id=self.chain.genesis.chain_id,
            height=self.chain.height,
            first_height=self.first_height,
            served_from_height=self.served_from,
            genesis_digest=self.genesis_digest,
        )

    async def _get_light_block(
        self, request: pb.GetLightBlockRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.GetLightBlockResponse:
        if self.drops_at_once:
            self.drops_at_once -= 1
            self.first_height = self.oldest_answered = request.height + 1
        if request.height < self.oldest_answered:
            await context.abort(grpc.StatusCode.NOT_FOUND, "dropped")
        return pb.GetLightBlockResponse(light_block=self.chain.light_blocks[request.height - 1])


@asynccontextmanager
async def channel_to(ledger: PruningLedger) -> AsyncGenerator[aio.Channel]:
    server = aio.server()
    ledger.serve_on(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            yield channel
    finally:
        await server.stop(None)


@pytest.fixture
def chain() -> QuorumChain:
    genesis, keys = make_genesis(engine="cometbft")
    made = QuorumChain(genesis, seeds_by_key(keys.validator_seeds))
    made.grow(30)
    return made


def newest_ns(chain: QuorumChain) -> int:
    return chain.genesis.time_ns + NANOS


def stored_at(chain: QuorumChain, height: int) -> bytes:
    client = chain.light_client()
    for block in chain.proven[:height]:
        client.accept(block)
    assert client.checkpoint is not None
    return client.checkpoint.to_bytes()


@pytest.mark.parametrize("first_height", [0, 1])
async def test_a_new_service_begins_at_the_genesis_if_its_first_block_is_kept(
    chain: QuorumChain, first_height: int
) -> None:
    async with channel_to(PruningLedger(chain, first_height)) as channel:
        assert (await begin(chain.genesis, b"", channel)).height == 0


async def test_a_new_service_begins_at_the_oldest_block_that_is_kept(chain: QuorumChain) -> None:
    async with channel_to(PruningLedger(chain, 12)) as channel:
        client = await begin(chain.genesis, b"", channel, clock=lambda: newest_ns(chain))
    assert client.height == 11
    for block in chain.proven[11:]:
        client.accept(block)


@pytest.mark.slow
async def test_a_block_that_is_dropped_meanwhile_is_not_waited_for(chain: QuorumChain) -> None:
    ledger = PruningLedger(chain, 12)
    ledger.drops_at_once = 1
    async with channel_to(ledger) as channel:
        client = await begin(chain.genesis, b"", channel, clock=lambda: newest_ns(chain))
    assert client.height == 12


async def test_a_stored_place_is_gone_on_from_while_its_next_block_is_kept(
    chain: QuorumChain,
) -> None:
    stored = stored_at(chain, 11)
    async with channel_to(PruningLedger(chain, 12)) as channel:
        assert (await begin(chain.genesis, stored, channel)).height == 11


async def test_a_service_that_missed_blocks_does_not_start(chain: QuorumChain) -> None:
    stored = stored_at(chain, 11)
    async with channel_to(PruningLedger(chain, 13)) as channel:
        with pytest.raises(TooFarBehind, match="is 11, and the ledger keeps none before 13"):
            await begin(chain.genesis, stored, channel)


async def test_blocks_that_other_members_ledgers_keep_are_not_missed(chain: QuorumChain) -> None:
    stored = stored_at(chain, 11)
    ledger = PruningLedger(chain, 20)
    async with channel_to(ledger) as channel:
        ledger.served_from = 12
        assert (await begin(chain.genesis, stored, channel)).height == 11
        ledger.served_from = 13
        with pytest.raises(TooFarBehind, match="is 11, and the ledger keeps none before 13"):
            await begin(chain.genesis, stored, channel)


@pytest.mark.slow
async def test_a_new_service_waits_until_its_ledger_knows_where_its_blocks_begin(
    chain: QuorumChain,
) -> None:
    ledger = PruningLedger(chain, 12)
    ledger.catches_up = 2
    async with channel_to(ledger) as channel:
        client = await begin(chain.genesis, b"", channel, clock=lambda: newest_ns(chain))
    assert client.height == 11
    assert ledger.asked == 3


async def test_with_a_stored_place_a_ledger_that_is_away_is_not_waited_for(
    chain: QuorumChain,
) -> None:
    stored = stored_at(chain, 11)
    async with asyncio.timeout(DEADLINE_SECONDS), aio.insecure_channel("127.0.0.1:1") as channel:
        assert (await begin(chain.genesis, stored, channel)).height == 11


async def test_a_stored_place_of_another_chain_is_refused(chain: QuorumChain) -> None:
    stored = stored_at(chain, 2)
    other = make_genesis(members=5)[0]
    async with channel_to(PruningLedger(chain, 1)) as channel:
        with pytest.raises(CheckpointUnusable):
            await begin(other, stored, channel)


async def test_a_genesis_beyond_the_trusting_period_needs_a_later_root(
    chain: QuorumChain, tmp_path: Path
) -> None:
    chain.decide(after_ns=TRUSTING_SECONDS * NANOS)
    chain.grow(5)
    trusted = TrustPoint.of(await chain.light_block(31))
    plain = RootFile.of_genesis(chain.genesis)
    file = tmp_path / "root.json"
    file.write_bytes(RootFile(plain.root, plain.time_ns, trusted).to_bytes())
    root = read_trust_root(file, chain.genesis)

    def now() -> int:
        return trusted.time_ns + NANOS

    async with channel_to(PruningLedger(chain, 33)) as channel:
        with pytest.raises(TrustUnusable, match="TRUST_EXPIRED"):
            await begin(chain.genesis, b"", channel, clock=now)
        client = await begin(chain.genesis, b"", channel, root=root, clock=now)
    assert client.height == 32


@pytest.mark.parametrize("first_height", [20, 31])
async def test_a_root_later_than_what_is_kept_is_where_a_new_service_begins(
    chain: QuorumChain, first_height: int
) -> None:
    chain.grow(5)
    plain = RootFile.of_genesis(chain.genesis)
    trusted = TrustPoint.of(await chain.light_block(31))
    root = RootFile(plain.root, plain.time_ns, trusted)
    async with channel_to(PruningLedger(chain, first_height)) as channel:
        client = await begin(chain.genesis, b"", channel, root=root, clock=lambda: newest_ns(chain))
    assert client.height == 30
    client.accept(chain.proven[30])


async def test_a_ledger_on_another_branch_than_the_root_is_refused(chain: QuorumChain) -> None:
    plain = RootFile.of_genesis(chain.genesis)
    genuine = TrustPoint.of(await chain.light_block(30))
    other = TrustPoint(30, bytes(32), genuine.time_ns, genuine.validators)
    root = RootFile(plain.root, plain.time_ns, other)
    async with channel_to(PruningLedger(chain, 30)) as channel:
        with pytest.raises(TrustUnusable, match="another header"):
            await begin(chain.genesis, b"", channel, root=root)


async def test_a_ledger_whose_headers_strangers_signed_is_refused(chain: QuorumChain) -> None:
    seeds = {f"stranger-{n}": seed_of(f"stranger-{n}") for n in range(4)}
    keys = seeds_by_key(seeds)
    theirs = ValidatorSet.of([Validator(key, 10) for key in keys])
    strangers = QuorumChain(replace(chain.genesis, validators=theirs), keys)
    strangers.grow(30)
    ledger = PruningLedger(strangers, 12)
    ledger.oldest_answered = 1
    async with channel_to(ledger) as channel:
        with pytest.raises(TrustUnusable, match="VALIDATORS_DIFFER"):
            await begin(chain.genesis, b"", channel, clock=lambda: newest_ns(strangers))


@pytest.mark.parametrize("stored", [False, True], ids=["new service", "at its place"])
async def test_a_ledger_of_another_genesis_under_this_chain_id_is_named(
    chain: QuorumChain, stored: bool
) -> None:
    ledger = PruningLedger(chain, 1)
    ledger.genesis_digest = bytes(32)
    client = chain.light_client()
    checkpoint = client.accept(chain.proven[0]).checkpoint.to_bytes() if stored else b""
    async with channel_to(ledger) as channel:
        with pytest.raises(TrustUnusable, match="another chain that is called"):
            await begin(chain.genesis, checkpoint, channel)


async def test_a_ledger_of_an_earlier_release_does_not_say_its_genesis(chain: QuorumChain) -> None:
    ledger = PruningLedger(chain, 1)
    ledger.genesis_digest = b""
    async with channel_to(ledger) as channel:
        assert (await begin(chain.genesis, b"", channel)).height == 0


@pytest.mark.slow
async def test_a_ledger_that_answers_no_light_block_is_given_up(chain: QuorumChain) -> None:
    ledger = PruningLedger(chain, 12)
    ledger.drops_at_once = 1_000
    async with channel_to(ledger) as channel:
        with pytest.raises(TrustUnusable, match="does not answer"):
            await begin(chain.genesis, b"", channel, clock=lambda: newest_ns(chain))


def test_a_file_that_is_no_root_of_this_chain_is_refused(
    chain: QuorumChain, tmp_path: Path
) -> None:
    file = tmp_path / "root.json"
    with pytest.raises(TrustUnusable, match="cannot be read"):
        read_trust_root(file, chain.genesis)
    file.write_bytes(b"{}")
    with pytest.raises(TrustUnusable, match="refused"):
        read_trust_root(file, chain.genesis)
    file.write_bytes(RootFile.of_genesis(make_genesis(members=5)[0]).to_bytes())
    with pytest.raises(TrustUnusable, match="another genesis"):
        read_trust_root(file, chain.genesis)


async def test_a_gap_is_noticed_while_no_block_comes(chain: QuorumChain) -> None:
    ledger, progress = PruningLedger(chain, 12), ChainProgress(fresh_seconds=30)
    async with channel_to(ledger) as channel:
        looking = asyncio.ensure_future(notice_gap(progress, channel, look_seconds=0.001))
        client = chain.light_client()
        for block in chain.proven[:11]:
            client.accept(block)
        progress.goes_on_from(client.checkpoint)
        await eventually(lambda: ledger.asked >= 3, what="a look")
        assert not looking.done()
        ledger.first_height = 13
        with pytest.raises(TooFarBehind, match="none before 13"):
            await looking
