"""Genuine chains in memory, for the tests of every part: real keys, real blocks, real proofs."""

from __future__ import annotations

import asyncio
import copy
import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.acts import SUITE_CUSTODIAN_ONLY
from cipherward_chain.comet import Validator, address, results_hash
from cipherward_chain.genesis import Genesis, Issuer, Member, Parameters, TemplateDocument
from cipherward_chain.genesis_document import alliance_state, genesis_document
from cipherward_chain.light import LightClient
from cipherward_chain.orders import ORDERS_KEY, Order, OrdersEntry
from cipherward_chain.receipts import build_receipt
from cipherward_chain.results import TransactionResult
from cipherward_chain.sealing import SealingKey
from cipherward_chain.signatures import SigningKey
from cipherward_chain.solo import Executed, SoloBlock, SoloProposer
from cipherward_chain.testing_state import MemoryState
from cipherward_chain.wire import NANOS

GENESIS_TIME_NS = 1_790_000_000 * NANOS  # 2026-09-21, so that tests do not depend on the day
BLOCK_NS = NANOS // 100  # between two blocks whose time a test does not set


def seed_of(name: str) -> bytes:
    """Return the 32-byte seed that a test's keys are made from: the same name, the same key."""
    return hashlib.sha256(b"test key " + name.encode()).digest()


def ca_certificate(member: str, *, key_name: str = "") -> str:
    """Return a self-signed CA certificate (PEM) that bears the member's name.

    Args:
        key_name: what its key is made from; by default the member's name.
    """
    key = Ed25519PrivateKey.from_private_bytes(seed_of(f"{key_name or member}/ca"))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, member)])
    start = datetime.fromtimestamp(GENESIS_TIME_NS // NANOS, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=3_650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, None)
    )
    return certificate.public_bytes(Encoding.PEM).decode()


@dataclass(frozen=True, slots=True)
class TestKeys:
    """The private keys of a test alliance: Ed25519 seeds, and custodian keys, by member id.

    `validator_seed` is hospital-a's consensus key, `node_seeds` are the nodes' keys among each
    other (CometBFT only).
    """

    __test__ = False  # not a test class

    validator_seed: bytes
    member_seeds: Mapping[str, bytes]
    custodian_keys: Mapping[str, SealingKey]
    document: bytes = field(repr=False)  # the genesis document that they belong to
    validator_seeds: Mapping[str, bytes] = field(default_factory=dict[str, bytes], repr=False)
    node_seeds: Mapping[str, bytes] = field(default_factory=dict[str, bytes], repr=False)


def make_genesis(
    members: int = 4,
    *,
    templates: Sequence[TemplateDocument] = (),
    issuers: Sequence[Issuer] = (),
    parameters: Parameters | None = None,
    chain_id: str = "test-chain",
    ca_certificates: Mapping[str, str] | None = None,
    time_ns: int = GENESIS_TIME_NS,
    engine: str = "solo",
) -> tuple[Genesis, TestKeys]:
    """Return a genesis of `members` hospitals (hospital-a and so on), and its private keys.

    Args:
        ca_certificates: PEM by member id, where a test opens real connections.
        time_ns: the genesis time; a test against a running clock gives a recent one.
        engine: solo: hospital-a is the one validator; cometbft: every member is one.
    """
    ids = [f"hospital-{chr(ord('a') + index)}" for index in range(members)]
    seeds = {member: seed_of(member) for member in ids}
    custodians = {
        member: SealingKey(b"".join(seed_of(f"{member}/custodian/{i}") for i in range(3)))
        for member in ids
    }
    validators = {member: seed_of(f"{member}/consensus") for member in ids}
    nodes = {member: seed_of(f"{member}/node") for member in ids}
    if engine == "solo":
        validators, nodes = {ids[0]: seed_of("validator")}, {}
    given = ca_certificates or {}
    registry = [
        Member(
            id=member,
            name=member.replace("-", " ").title(),
            index=index,
            public_key=SigningKey(seeds[member]).public_key,
            custodian_public_key=custodians[member].public_key,
            ca_certificate=given[member] if member in given else ca_certificate(member),
            consensus_public_key=_public(validators.get(member)),
            node_id=address(_public(nodes[member])) if member in nodes else b"",
        )
        for index, member in enumerate(ids)
    ]
    # Tests of other things anchor records of suite 1, which take no shared key.
    chosen = parameters or Parameters(minimum_suite=SUITE_CUSTODIAN_ONLY)
    document = genesis_document(
        chain_id,
        time_ns,
        [(member, Validator(_public(seed), 10)) for member, seed in validators.items()],
        alliance_state(engine, registry, issuers, templates, chosen),
        chosen,
    )
    keys = TestKeys(validators[ids[0]], seeds, custodians, document, validators, nodes)
    return Genesis.parse(document), keys


def _public(seed: bytes | None) -> bytes:
    return b"" if seed is None else SigningKey(seed).public_key


@dataclass(frozen=True, slots=True)
class _Pending:
    """The newest block, which no header certifies yet, with what executing it answered."""

    block: SoloBlock
    transactions: tuple[bytes, ...]
    results: tuple[bytes, ...]
    orders: tuple[bytes, ...]
    proof: pb.StateProof | None
    executed: Executed


class TestChain:
    """A solo chain in memory: each `append` makes a block and the empty block that proves it."""

    __test__ = False  # not a test class

    def __init__(self, genesis: Genesis, keys: TestKeys) -> None:
        self.genesis = genesis
        self.state = MemoryState()
        self.state.write({b"parameters": genesis.digest})
        self.blocks: list[pb.ProvenBlock] = []  # proven, from height 1
        self._proposer = SoloProposer(genesis, keys.validator_seed)
        self._initial = Executed(self.state.root())  # as InitChain would answer
        self._newest: _Pending | None = None
        self._time_ns = genesis.time_ns
        self._grown = asyncio.Event()

    @property
    def height(self) -> int:
        """The newest block, which is not proven yet; 0 before the first."""
        return 0 if self._newest is None else self._newest.block.height

    def next_height(self) -> int:
        """Return the height that the next `append` makes: orders in it carry this height."""
        return self.height + 1

    def order(self, index: int, instruction: str, **arguments: bytes | str | int) -> Order:
        """Return an order numbered for the next block, of a contract made up for the test."""
        return Order(self.next_height(), index, bytes(16), "test", instruction, arguments)

    def append(
        self,
        transactions: Sequence[bytes],
        *,
        results: Sequence[TransactionResult] | None = None,
        orders: Sequence[Order] = (),
        writes: Mapping[bytes, bytes] | None = None,
        time_ns: int | None = None,
    ) -> pb.ProvenBlock:
        """Make a block of `transactions` (at least one) and its proof block; return it proven.

        Args:
            results: one a transaction; all applied unless given.
            orders: numbered from 0, with `next_height()` as their height.
            writes: state values of the block, besides the ids and the orders' entry.
            time_ns: the block's time; 10 ms after the last unless given.
        """
        applied = [TransactionResult() for _ in transactions] if results is None else results
        raw_orders = tuple(order.to_bytes() for order in orders)
        entry = OrdersEntry.of(self.next_height(), raw_orders)
        ids = {b"tx/" + hashlib.sha256(transaction).digest(): b"" for transaction in transactions}
        self.state.write({**ids, ORDERS_KEY: entry.to_bytes(), **(writes or {})})
        raw_results = tuple(result.to_bytes() for result in applied)
        self._decide(tuple(transactions), raw_results, raw_orders, time_ns)
        self._decide((), (), (), None)
        return self.blocks[-1]

    def heartbeat(self, time_ns: int | None = None) -> None:
        """Make an empty block, which proves the one before it."""
        self._decide((), (), (), time_ns)

    def _decide(
        self,
        transactions: tuple[bytes, ...],
        results: tuple[bytes, ...],
        orders: tuple[bytes, ...],
        time_ns: int | None,
    ) -> None:
        self._time_ns = self._time_ns + BLOCK_NS if time_ns is None else time_ns
        before = self._newest
        block = self._proposer.next_block(
            before.block if before else None,
            before.executed if before else self._initial,
            transactions,
            self._time_ns,
        )
        if before is not None:
            self.blocks.append(_proven(before, block))
        proof = self.state.prove(ORDERS_KEY) if transactions else None
        after = Executed(self.state.root(), results_hash(results))
        self._newest = _Pending(block, transactions, results, orders, proof, after)
        self._grown.set()

    def copy(self) -> TestChain:
        """Return a chain with the same history, which grows by itself from here on."""
        other = copy.copy(self)
        other.state = copy.deepcopy(self.state)
        other.blocks = list(self.blocks)
        other._grown = asyncio.Event()
        return other

    def receipt(self, height: int, index: int) -> bytes:
        """Return the receipt of a transaction of a proven block."""
        return build_receipt(self.blocks[height - 1], index, self.genesis.validators)

    def light_client(self) -> LightClient:
        """Return a light client at the chain's trust root."""
        return LightClient(self.genesis.trust_root())

    async def blocks_from(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
        """Yield proven blocks from `height` on, as they are made: the chain is its own feed."""
        while True:
            if height <= len(self.blocks):
                yield self.blocks[height - 1]
                height += 1
                continue
            self._grown.clear()
            await self._grown.wait()


def _proven(pending: _Pending, after: SoloBlock) -> pb.ProvenBlock:
    return pb.ProvenBlock(
        header=pending.block.header,
        transactions=pending.transactions,
        results=pending.results,
        orders=pending.orders,
        orders_proof=pending.proof,
        next_header=after.header,
        next_commit=after.commit,
    )
