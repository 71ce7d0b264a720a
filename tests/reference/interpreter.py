"""The reference: the whole machine of contracts as one would tell it, block after block.

It shares no code with the contract service. Of the product it uses the canonical form of values,
the serialised form of a record's anchor, the genesis as a value, and the shipped templates' YAML,
whose policies it does not read (see permits). It keeps a dict and hashes all of it every time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from cipherward_chain.canonical import encode
from cipherward_chain.genesis import Genesis
from tests.reference.acting import perform
from tests.reference.actors import actor_of
from tests.reference.machine import fire_timers
from tests.reference.templates import Document
from tests.reference.tree import app_hash, merkle_root
from tests.reference.words import Said
from tests.reference.world import NANOS, Refusal, World


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a transaction: the reason of its refusal, or "" and its orders' place."""

    reason: str = ""
    first_order: int = 0
    order_count: int = 0


@dataclass(frozen=True, slots=True)
class Decided:
    """What a block came to."""

    results: tuple[Result, ...]
    orders: tuple[bytes, ...]
    app_hash: bytes
    next_timer: int | None


class Reference:
    """A chain's state, and how blocks change it."""

    def __init__(
        self, pairs: Mapping[bytes, bytes], templates: Mapping[tuple[str, int], Document]
    ) -> None:
        self._world = World(dict(pairs), templates)

    @property
    def pairs(self) -> Mapping[bytes, bytes]:
        """The state."""
        return self._world.pairs

    @property
    def world(self) -> World:
        """The state, to look things up in; nobody else changes it."""
        return self._world

    def copy(self) -> Reference:
        """Return another chain with the same state."""
        return Reference(self._world.pairs, self._world.templates)

    def block(self, height: int, time_ns: int, transactions: Sequence[Said]) -> Decided:
        """Execute the next block."""
        world = self._world
        world.height, world.time_ns, world.proposals = height, time_ns, 0
        world.orders = []
        results: list[Result] = []
        if transactions:
            _forget_transactions(world)
            fire_timers(world)
            results = [_apply(world, transaction) for transaction in transactions]
            entry = {"height": height, "count": len(world.orders)}
            world.put(b"orders", {**entry, "root": merkle_root(world.orders)})
        timers = world.under(b"timer/")
        due = int.from_bytes(timers[0][len(b"timer/") :][:8], "big") if timers else None
        return Decided(tuple(results), tuple(world.orders), app_hash(world.pairs), due)


def _forget_transactions(world: World) -> None:
    for key in world.under(b"tx/"):
        if world.get(key)["expires"] < world.now:
            world.drop(key)


def _apply(world: World, said: Said) -> Result:
    """Do all of a transaction, or nothing but remember it."""
    try:
        _check_new(world, said)
    except Refusal as refusal:
        return Result(str(refusal))
    world.put(b"tx/" + said.id, {"expires": said.expires_at})
    pairs, orders = dict(world.pairs), list(world.orders)
    try:
        actor = actor_of(world, said.by)
        for act in said.acts:
            actor = perform(world, actor, act)
    except Refusal as refusal:
        world.pairs, world.orders = pairs, orders
        return Result(str(refusal))
    return Result("", len(orders), len(world.orders) - len(orders))


def _check_new(world: World, said: Said) -> None:
    rules = world.get(b"parameters")
    if said.fault:
        raise Refusal(said.fault)
    if said.chain_id != rules["chain_id"]:
        raise Refusal("WRONG_CHAIN")
    if world.time_ns > said.expires_at * NANOS:
        raise Refusal("TRANSACTION_EXPIRED")
    if said.expires_at > world.now + rules["expiry_seconds_max"]:
        raise Refusal("EXPIRY_TOO_FAR")
    if b"tx/" + said.id in world.pairs:
        raise Refusal("TRANSACTION_REPLAYED")


def genesis_pairs(
    genesis: Genesis, documents: Mapping[tuple[str, int], bytes]
) -> dict[bytes, bytes]:
    """Return the state of height 0."""
    pairs = {f"template/{n}/{v}".encode(): document for (n, v), document in documents.items()}
    powers = {one.public_key: one.power for one in genesis.validators.validators}
    for member in genesis.members.values():
        issuers = [one.public_key for one in genesis.issuers if one.member == member.id]
        entry = {
            "name": member.name,
            "index": member.index,
            "public_key": member.public_key,
            "custodian_public_key": member.custodian_public_key,
            "ca_certificate": member.ca_certificate,
            "consensus_public_key": member.consensus_public_key,
            "node_id": member.node_id,
            "issuers": issuers,
            "power": powers.get(member.consensus_public_key, 0),
            "suspended": False,
        }
        pairs[b"member/" + member.id.encode()] = encode(entry)
    for issuer in genesis.issuers:
        entry = {"member": issuer.member, "schemas": list(issuer.schemas)}
        pairs[b"issuer/" + issuer.public_key] = encode(entry)
    pairs[b"registry"] = encode({"next_index": len(genesis.members)})
    rules: Document = {
        **asdict(genesis.parameters),
        "chain_id": genesis.chain_id,
        "genesis_ns": genesis.time_ns,
        "engine": genesis.engine,
        "machine_version": genesis.machine_version,
        "upgrade": [],
    }
    pairs[b"parameters"] = encode(rules)
    return pairs
