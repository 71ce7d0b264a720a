"""State entries are believed only under a header that the validators of its height have signed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc.aio import Metadata

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.comet import ValidatorSet, parse_header
from cipherward_chain.endpoints import Endpoint, Endpoints
from cipherward_chain.light_block import LightBlock
from cipherward_chain.orders import ORDERS_KEY, OrdersEntry
from cipherward_chain.testing import BLOCK_NS, make_genesis
from cipherward_chain.testing_quorum import QuorumChain, seeds_by_key
from cipherward_chain.wire import NANOS
from cipherward_client.sdk import ledger_calls
from cipherward_client.sdk.certified import Certifier, StateUnproven
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.proven_state import StateTooOld, prove
from cipherward_kit.errors import DETAILS_KEY, ServiceError


@pytest.fixture
def chain() -> QuorumChain:
    """Four members' chain whose block 4 changes the state; then the set loses one."""
    genesis, keys = make_genesis(engine="cometbft")
    made = QuorumChain(genesis, seeds_by_key(keys.validator_seeds))
    made.grow(3)
    made.decide([b"a transaction"])
    return made


class BlockUnknown(ServiceError):
    """As a ledger says it."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "BLOCK_UNKNOWN"


class Ledger:
    """A ledger that answers from a chain in memory, as far as light clients ask."""

    def __init__(self, chain: QuorumChain) -> None:
        self.chain = chain
        self.change: Callable[[Any], None] = lambda answer: None
        self.refuse: Callable[[], None] = lambda: None  # it has been asked for a block to come

    async def GetLightBlock(
        self,
        request: pb.GetLightBlockRequest,
        timeout: float,  # noqa: ASYNC109 (grpc's own name)
    ) -> pb.GetLightBlockResponse:
        if request.height > len(self.chain.light_blocks):
            self.refuse()
            trailers = Metadata((DETAILS_KEY, BlockUnknown("none").details("test.cipherward")))
            raise aio.AioRpcError(grpc.StatusCode.NOT_FOUND, Metadata(), trailers)
        found = self.chain.light_blocks[request.height - 1 if request.height else -1]
        answer = pb.GetLightBlockResponse(light_block=found)
        self.change(answer)
        return answer

    async def GetValidatorChanges(
        self,
        request: pb.GetValidatorChangesRequest,
        timeout: float,  # noqa: ASYNC109 (grpc's own name)
    ) -> pb.GetValidatorChangesResponse:
        return pb.GetValidatorChangesResponse(changes=self.chain.changes)


class Connection(Alliance):
    """A connection to that ledger, at a time of its own."""

    answering: Ledger
    seconds: float

    def ledger_of(self, member: str) -> Any:
        return self.answering

    def now(self) -> float:
        return self.seconds


@pytest.fixture
async def connection(chain: QuorumChain) -> AsyncGenerator[Connection]:
    endpoint = Endpoint("127.0.0.1:1", "", "127.0.0.1:2", "127.0.0.1:3")
    endpoints = Endpoints("test-chain", "hospital-a", {"hospital-a": {"ledger": endpoint}})
    async with AsyncExitStack() as stack:
        made = Connection(chain.genesis, endpoints, None, "hospital-a", stack)
        made.answering = Ledger(chain)
        made.seconds = (chain.genesis.time_ns + 10 * BLOCK_NS) / NANOS
        yield made


def state_of(chain: QuorumChain, height: int) -> contract_pb.ProvenState:
    """Return the entry of a block's orders, as a contract service of that height proves it."""
    after = chain.light_blocks[height].header
    return contract_pb.ProvenState(
        height=height,
        app_hash=parse_header(after).app_hash,
        proofs=[chain.blocks[height - 1].orders_proof],
    )


async def test_an_entry_is_proven_by_the_header_after_its_state(
    chain: QuorumChain, connection: Connection
) -> None:
    chain.grow(1)
    state = state_of(chain, 4)
    found = await prove(connection, state, [ORDERS_KEY])
    assert found.values[ORDERS_KEY] == OrdersEntry.of(4, ()).to_bytes()
    assert found.height == 5
    chain.decide([b"another"])
    chain.grow(2)
    later = await prove(connection, state, [ORDERS_KEY])  # two headers later, of another state
    assert later.height == 5


async def test_a_header_that_is_yet_to_be_made_is_waited_for_longer_than_one_that_a_node_lacks(
    chain: QuorumChain, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_calls, "BEHIND_SECONDS", 0.0)
    chain.grow(1)
    state, asked = state_of(chain, 4), 0
    chain.light_blocks, later = chain.light_blocks[:4], chain.light_blocks

    def made_at_the_third_question() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            chain.light_blocks = later

    connection.answering.refuse = made_at_the_third_question
    assert (await prove(connection, state, [ORDERS_KEY])).height == 5
    assert asked == 3


async def test_an_idle_chain_proves_its_state_by_its_newest_header(
    chain: QuorumChain, connection: Connection
) -> None:
    chain.grow(3)
    state = state_of(chain, 4)
    state.height = 7  # three empty blocks later; the header after it is not made yet
    assert (await prove(connection, state, [ORDERS_KEY])).height == 7


async def test_another_value_key_or_state_is_not_proven(
    chain: QuorumChain, connection: Connection
) -> None:
    chain.grow(1)

    def value(state: contract_pb.ProvenState) -> None:
        state.proofs[0].value = b"another"

    def root(state: contract_pb.ProvenState) -> None:
        state.app_hash = bytes(32)

    def missing(state: contract_pb.ProvenState) -> None:
        del state.proofs[:]

    def height(state: contract_pb.ProvenState) -> None:
        state.height, state.app_hash = 2, bytes(32)

    for change in (value, root, missing, height):
        state = state_of(chain, 4)
        change(state)
        with pytest.raises(StateUnproven):
            await prove(connection, state, [ORDERS_KEY])


async def test_a_ledger_that_shows_another_header_is_found_out(
    chain: QuorumChain, connection: Connection
) -> None:
    chain.grow(1)
    state = state_of(chain, 4)
    lonely = chain.fork()

    def unsigned(answer: pb.GetLightBlockResponse) -> None:
        answer.light_block.commit = chain.light_blocks[2].commit

    def garbage(answer: pb.GetLightBlockResponse) -> None:
        answer.light_block.header += b"\0"

    def other_set(answer: pb.GetLightBlockResponse) -> None:
        answer.light_block.validators = only(lonely, "hospital-a").to_bytes()

    for change in (unsigned, garbage, other_set):
        connection.answering.change = change
        with pytest.raises(StateUnproven):
            await prove(connection, state, [ORDERS_KEY])


async def test_a_chain_that_stands_still_proves_nothing_of_now(
    chain: QuorumChain, connection: Connection
) -> None:
    chain.grow(1)
    state = state_of(chain, 4)
    connection.seconds += 60
    with pytest.raises(StateTooOld):
        await prove(connection, state, [ORDERS_KEY])


async def test_an_old_state_is_told_from_one_of_now(
    chain: QuorumChain, connection: Connection
) -> None:
    chain.grow(1)
    state = state_of(chain, 4)
    chain.decide([b"another"], after_ns=60 * NANOS)
    chain.grow(1)
    connection.seconds += 60
    with pytest.raises(StateTooOld):
        await prove(connection, state, [ORDERS_KEY])


def only(chain: QuorumChain, *members: str) -> ValidatorSet:
    keys = {chain.genesis.members[member].consensus_public_key for member in members}
    return ValidatorSet.of([v for v in chain.genesis.validators.validators if v.public_key in keys])


async def test_validators_are_followed_from_the_genesis(
    chain: QuorumChain, connection: Connection
) -> None:
    chain.decide(change=only(chain, "hospital-a", "hospital-b", "hospital-c"))
    chain.grow(2)
    chain.decide([b"signed by three"])
    chain.grow(1)
    state = state_of(chain, 8)
    assert (await prove(connection, state, [ORDERS_KEY])).height == 9
    assert connection.certifier.knows(LightBlock.parse(chain.light_blocks[3], "test-chain"))


def test_a_change_that_its_set_has_not_signed_is_not_followed(chain: QuorumChain) -> None:
    chain.decide(change=only(chain, "hospital-a"))
    chain.grow(3)
    (change,) = chain.changes
    certifier = Certifier(chain.genesis.trust_root())
    certifier.learn([change])
    newest = LightBlock.parse(chain.light_blocks[-1], "test-chain")
    certifier.check(newest)
    forged = chain_pb.ValidatorChange()
    forged.CopyFrom(change)
    forged.validators = only(chain, "hospital-b").to_bytes()
    unsigned = chain_pb.ValidatorChange()
    unsigned.CopyFrom(change)
    unsigned.commit = chain.light_blocks[0].commit
    for changes in ([forged], [unsigned], [change, change]):
        fresh = Certifier(chain.genesis.trust_root())
        with pytest.raises(StateUnproven):
            fresh.learn(changes)
        with pytest.raises(StateUnproven):
            fresh.check(newest)
