"""Where histories begin: a chain with people and records, the same for both executors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from cipherward_chain.acts import SUITE_CUSTODIAN_ONLY
from cipherward_chain.canonical import NotCanonical, decode, encode
from cipherward_chain.genesis import Genesis, Issuer, Parameters, TemplateDocument
from cipherward_chain.testing import TestKeys, make_genesis
from cipherward_contract.testing import issuer_key
from tests.reference import cast, words
from tests.reference.interpreter import Decided, Reference, Result, genesis_pairs
from tests.reference.properties import Watch
from tests.reference.service import Block, Mishap, Service
from tests.reference.templates import genesis_documents, known_templates
from tests.reference.world import NANOS

SLOT = hashlib.sha256(b"slot").digest()
LIFE_SECONDS = 300  # of a transaction, unless a history says so
BOTH, ALL = ("consent/1", "emergency-access/1"), ("consent/1", "consent/2", "emergency-access/1")
# Each record's custodian, templates, key epoch, and whether it has an owner from the beginning.
ANCHORED = (
    ("hospital-a", ALL, 0, True),
    ("hospital-c", BOTH, cast.KEY_EPOCH, True),
    ("hospital-d", ALL, cast.KEY_EPOCH, False),
    ("hospital-b", (), cast.KEY_EPOCH, True),
)
UPGRADE = b"upgrade of them!"


@dataclass(slots=True)
class Stage:
    """Both executors, what was seen of them, and where they are. `now` is the next block's time."""

    service: Service
    reference: Reference
    watch: Watch
    height: int
    time_ns: int
    nonce: int = 0
    results: tuple[Result, ...] = ()  # of the last block

    @property
    def now(self) -> int:
        """The next block's time in whole seconds."""
        return self.time_ns // NANOS


@dataclass(frozen=True, slots=True)
class Base:
    """The files of a beginning, and the same in memory."""

    files: Path
    genesis: Genesis
    stage: Stage

    def begin(self, folder: Path) -> Stage:
        """Return a stage of one's own in a folder; its service is still to be resumed."""
        stage = self.stage
        watch = Watch(owners=dict(stage.watch.owners), people=dict(stage.watch.people))
        service = Service(folder, self.genesis)
        return replace(stage, service=service, reference=stage.reference.copy(), watch=watch)


async def play(stage: Stage, sent: list[cast.Sent], mishap: Mishap = Mishap.NONE) -> None:
    """Let both executors make the next block; they must agree, and nothing may be broken."""
    stage.height += 1
    said = [one.said for one in sent]
    block = Block(stage.height, stage.time_ns, [one.raw for one in sent])
    theirs = await stage.service.block(block, mishap)
    ours = stage.reference.block(stage.height, stage.time_ns, said)
    if theirs != ours:
        raise AssertionError(await difference(stage, theirs, ours, said))
    stage.results = theirs.results
    stage.watch.see(stage.now, said, theirs)
    stage.time_ns += NANOS


async def difference(stage: Stage, theirs: Decided, ours: Decided, said: list[words.Said]) -> str:
    """Tell in what the two differ."""
    found = [f"block {stage.height} at {stage.time_ns}", *(str(one) for one in said)]
    sides = ("service", theirs), ("reference", ours)
    found += [f"{name}: {side.results} next timer {side.next_timer}" for name, side in sides]
    if theirs.orders != ours.orders:
        found += [f"{name}: {[decode(raw) for raw in side.orders]}" for name, side in sides]
    pairs = await stage.service.pairs()
    for key in sorted(pairs.keys() | stage.reference.pairs.keys()):
        left, right = pairs.get(key), stage.reference.pairs.get(key)
        if left != right:
            found.append(f"{key!r}\n  service:   {told(left)}\n  reference: {told(right)}")
    return "\n".join(found)


def told(value: bytes | None) -> str:
    """Return a value of the state for people to read."""
    try:
        return repr(None if value is None else decode(value))
    except NotCanonical:
        return repr(value)


def transaction(
    stage: Stage, speaker: cast.Speaker, *acts: words.Act, seed: bytes = b""
) -> cast.Sent:
    """Return a transaction for the next block."""
    stage.nonce += 1
    return cast.send(
        speaker,
        [(act, cast.act_of(speaker, act, seed)) for act in acts],
        expires_at=stage.now + LIFE_SECONDS,
        nonce=stage.nonce,
    )


async def make_base(folder: Path, version: int) -> Base:
    """Begin a chain of four hospitals at a machine version, with its people and records."""
    genesis, keys = _genesis()
    service = Service(folder, genesis)
    beside = _record_key()
    templates = known_templates()
    pairs = {**genesis_pairs(genesis, genesis_documents()), **beside}
    root = await service.begin(keys.document, beside)
    stage = Stage(service, Reference(pairs, templates), Watch(), 0, genesis.time_ns + NANOS)
    await _begin(stage, root)
    if version > 1:
        await _upgrade(stage)
    await service.close()
    return Base(service.home, genesis, stage)


def _genesis() -> tuple[Genesis, TestKeys]:
    documents = [TemplateDocument(n, v, raw) for (n, v), raw in genesis_documents().items()]
    issuers = [Issuer(name, issuer_key(name), ("patient", "staff")) for name in cast.MEMBERS]
    parameters = Parameters(minimum_suite=SUITE_CUSTODIAN_ONLY)
    return make_genesis(
        len(cast.MEMBERS),
        templates=sorted(documents, key=lambda one: (one.name, one.version)),
        issuers=issuers,
        parameters=parameters,
        chain_id=cast.CHAIN,
        engine="cometbft",
    )


def _record_key() -> dict[bytes, bytes]:
    """Return a record key that the members have; hospital-d has no share of it."""
    holders = [
        {"member": one, "point": bytes(48), "ready": one != "hospital-d"} for one in cast.MEMBERS
    ]
    entry = {
        "purpose": "record",
        "key_epoch": cast.KEY_EPOCH,
        "sharing": 1,
        "threshold": 3,
        "public_key": bytes(48),
        "holders": holders,
        "ceremony": bytes(16),
        "height": 1,
    }
    key = b"groupkey/record"
    newest = encode({"key_epoch": cast.KEY_EPOCH})
    return {key: newest, key + b"/" + cast.KEY_EPOCH.to_bytes(8, "big"): encode(entry)}


async def _begin(stage: Stage, root: bytes) -> None:
    """Register everybody, and anchor the first records."""
    assert stage.reference.block(0, 0, []).app_hash == root
    registering = [
        transaction(
            stage,
            cast.showing(one.name, 1),
            words.Register(cast.key_of(one.name)),
            seed=one.seed(1),
        )
        for one in cast.PEOPLE
        if one.role or one.schema == "patient"
    ]
    await play(stage, registering)
    for number, (custodian, names, key_epoch, owned) in enumerate(ANCHORED):
        name = f"owner-{number}"
        octets = cast.anchor(number, custodian=custodian, templates=names, key_epoch=key_epoch)
        act = words.Anchor(octets, SLOT, cast.key_of(name) if owned else b"")
        seed = cast.PERSON[name].seed(1)
        await play(stage, [transaction(stage, cast.member("hospital-a"), act, seed=seed)])
    assert len(stage.watch.people) == len(registering)
    assert len(stage.reference.world.under(b"record/")) == len(ANCHORED)


async def _upgrade(stage: Stage) -> None:
    """Let the members vote the second version of the machine, and come to its height."""
    height = stage.height + 20
    terms = {"version": 2, "height": height, "vote_seconds": 3_600}
    start = words.Instantiate("machine-upgrade", 1, UPGRADE, terms)
    await play(stage, [transaction(stage, cast.member("hospital-a"), start)])
    for name in cast.MEMBERS[:3]:
        act = words.Vote(UPGRADE, "upgrade", approve=True)
        await play(stage, [transaction(stage, cast.member(name), act)])
    while stage.height < height:
        await play(stage, [])
    assert stage.reference.world.forgets_orders
