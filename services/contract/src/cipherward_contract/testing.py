"""What tests of this service and of its neighbours share: a chain's state driven block by block.

Signatures are real. Presentations are bytes in the right form with no proof inside: this service
verifies none, it reads what the ledger let through.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward_chain.acts import (
    SUITE_CUSTODIAN_ONLY,
    anchor_record,
    countersign,
    register_pseudonym,
)
from cipherward_chain.authorization import (
    PSEUDONYM_BYTES,
    MemberSigner,
    PseudonymSigner,
    Signer,
)
from cipherward_chain.canonical import Value, encode
from cipherward_chain.credentials import Header, attribute_octets
from cipherward_chain.domains import presentation_authorizer
from cipherward_chain.genesis import Genesis, Issuer, Parameters, TemplateDocument
from cipherward_chain.orders import Order
from cipherward_chain.results import TransactionResult
from cipherward_chain.signatures import SigningKey
from cipherward_chain.state_proof import verify_state_proof
from cipherward_chain.testing import TestKeys, make_genesis, seed_of
from cipherward_chain.transactions import build_transaction
from cipherward_chain.wire import NANOS, exact_bytes
from cipherward_contract.chain import Chain
from cipherward_contract.machine_versions import NEWEST_VERSION
from cipherward_contract.store import SCHEMA
from cipherward_contract.templates.shipped import load_shipped
from cipherward_contract.testing_anchors import record_anchor
from cipherward_kit.database import Database

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
EXPIRES_SECONDS = 300


def issuer_key(member: str) -> bytes:
    """Return the issuer key (96 bytes) of a member in these tests."""
    return (seed_of(f"{member}/issuer") * 3)[:96]


def shipped_documents() -> list[TemplateDocument]:
    """Return the shipped templates as a genesis holds them."""
    return [
        TemplateDocument(name, template.version, document)
        for name, (template, document) in load_shipped().items()
    ]


def contract_genesis(
    *,
    members: int = 4,
    templates: Sequence[TemplateDocument] = (),
    engine: str = "solo",
    minimum_suite: int = SUITE_CUSTODIAN_ONLY,
    **parameters: int,
) -> tuple[Genesis, TestKeys]:
    """Return a genesis with the shipped templates, those given, and an issuer a member.

    Args:
        parameters: of the chain, that are other than the defaults.
    """
    found = Parameters(minimum_suite=minimum_suite, **parameters)
    return _genesis(members, tuple(templates), engine, found)


@lru_cache(maxsize=8)  # its keys and certificates take 50 ms, and most tests have the same
def _genesis(
    members: int, templates: tuple[TemplateDocument, ...], engine: str, parameters: Parameters
) -> tuple[Genesis, TestKeys]:
    names = [f"hospital-{chr(ord('a') + index)}" for index in range(members)]
    issuers = [Issuer(name, issuer_key(name), ("patient", "staff")) for name in names]
    documents = [*shipped_documents(), *templates]
    return make_genesis(
        members, templates=documents, issuers=issuers, engine=engine, parameters=parameters
    )


@dataclass(frozen=True, slots=True)
class Presented:
    """Authorises with a presentation of `schema` by `issuer`; nothing proves it."""

    scope: str
    issuer: str
    schema: str = "patient"
    epoch: int = 1
    role: str = ""
    name: str = "somebody"

    @property
    def pseudonym(self) -> bytes:
        """The holder's name inside the scope: the same name and scope, the same pseudonym."""
        return (seed_of(f"{self.name}/{self.scope}") * 2)[:PSEUDONYM_BYTES]

    @property
    def authorizer(self) -> bytes:
        """How a body names the pseudonym."""
        return presentation_authorizer(self.pseudonym)

    def authorize(self, context: bytes) -> bytes:
        """Return a serialised Authorization; the context is bound by no proof here."""
        shown = [("member", self.issuer), ("role", self.role)] if self.role else []
        presentation = pb.Presentation(
            issuer_public_key=issuer_key(self.issuer),
            header=Header(self.schema, self.issuer, self.epoch).to_bytes(),
            disclosed=[
                pb.DisclosedAttribute(index=i, value=attribute_octets(name, "text", value))
                for i, (name, value) in enumerate(shown)
            ],
            scope=self.scope,
            proof=hashlib.sha256(context).digest(),
            pseudonym=self.pseudonym,
        )
        return exact_bytes(pb.Authorization(presentation=presentation))


def instantiate(
    template: str, instance: bytes, terms: Mapping[str, Value], version: int = 1
) -> pb.Act:
    """Return the act that starts a contract."""
    wanted = pb.Instantiate(
        template=template, version=version, instance_id=instance, terms=encode(terms)
    )
    return pb.Act(instantiate=wanted)


def transition(instance: bytes, name: str, **arguments: Value) -> pb.Act:
    """Return the act that moves a contract."""
    wanted = pb.Transition(instance_id=instance, transition=name, arguments=encode(arguments))
    return pb.Act(transition=wanted)


def vote(instance: bytes, name: str, approve: bool) -> pb.Act:
    """Return a member's vote."""
    return pb.Act(vote=pb.Vote(instance_id=instance, transition=name, approve=approve))


def report(order: tuple[int, int], done: bool = True, digest: bytes = b"") -> pb.Act:
    """Return a member's report of an order (height, index)."""
    outcome = pb.OUTCOME_DONE if done else pb.OUTCOME_FAILED
    reference = pb.OrderRef(height=order[0], index=order[1])
    return pb.Act(report=pb.Report(order=reference, outcome=outcome, digest=digest))


TICK = pb.Act(tick=pb.Tick())


@dataclass(frozen=True, slots=True)
class Decided:
    """What a committed block came to."""

    height: int
    results: tuple[TransactionResult, ...]
    orders: tuple[Order, ...]
    app_hash: bytes
    answer: bytes


class Story:
    """A chain's state, driven block by block; `now` is the next block's time in Unix seconds."""

    def __init__(self, chain: Chain, database: Database, genesis: Genesis, keys: TestKeys) -> None:
        self.chain = chain
        self.database = database  # the chain's own
        self.genesis = genesis
        self.keys = keys
        self.now = genesis.time_ns // NANOS + 1
        self.height = 0
        self.blocks: list[tuple[int, tuple[bytes, ...], bytes]] = []  # time, transactions, answer
        self._serial = 0

    def transaction(self, signer: Signer, *acts: pb.Act, expires_at: int | None = None) -> bytes:
        """Return a serialised transaction; every one has a nonce of its own."""
        self._serial += 1
        return build_transaction(
            acts,
            chain_id=self.genesis.chain_id,
            expires_at=self.now + EXPIRES_SECONDS if expires_at is None else expires_at,
            signer=signer,
            nonce=self._serial.to_bytes(16, "big"),
        )

    def member(self, member: str) -> MemberSigner:
        """Return the signer of a member."""
        return MemberSigner(member, self.keys.member_seeds[member])

    async def block(self, *transactions: bytes) -> Decided:
        """Execute and commit the next block, one second after the last."""
        self.height += 1
        answer = await self.chain.execute(self.height, self.now * NANOS, transactions)
        await self.chain.commit(self.height)
        self.blocks.append((self.now * NANOS, transactions, answer))
        self.now += 1
        message = contract_pb.ExecuteBlockResponse.FromString(answer)
        return Decided(
            self.height,
            tuple(TransactionResult.from_bytes(raw) for raw in message.results),
            tuple(Order.from_bytes(raw) for raw in message.orders),
            message.app_hash,
            answer,
        )

    async def act(self, signer: Signer, *acts: pb.Act) -> TransactionResult:
        """Commit a block of one transaction and return its result."""
        return (await self.block(self.transaction(signer, *acts))).results[0]

    async def applied(self, signer: Signer, *acts: pb.Act) -> Decided:
        """Commit a block of one transaction, which must be applied."""
        decided = await self.block(self.transaction(signer, *acts))
        assert decided.results[0].applied, decided.results[0]
        return decided

    async def state(self, key: bytes) -> bytes | None:
        """Return what the committed state holds under `key`, by a proof that was verified."""
        answer = await self.chain.prove([key])
        return verify_state_proof(answer.proofs[0], answer.app_hash, key)

    async def register(self, presented: Presented, name: str) -> PseudonymSigner:
        """Register the key of `name` behind a pseudonym, and return its signer."""
        seed = seed_of(name)
        act = register_pseudonym(self.genesis.chain_id, presented.scope, seed)
        await self.applied(presented, act)
        return PseudonymSigner(seed)

    async def staff(self, member: str, role: str, name: str) -> PseudonymSigner:
        """Register a member of staff in the current epoch, and return the signer."""
        epoch = self.genesis.epoch_at(self.now)
        scope = f"duty:{member}:{epoch}"
        return await self.register(Presented(scope, member, "staff", epoch, role, name), name)

    async def record(
        self,
        record: bytes,
        *,
        author: str = "hospital-a",
        owned: bool = True,
        templates: Sequence[str] = ("consent/1",),
    ) -> PseudonymSigner:
        """Anchor a record, and return the signer of its owner's key."""
        scope = f"record:{record.hex()}"
        name = f"owner/{record.hex()}"
        epoch = self.genesis.epoch_at(self.now)
        owner = await self.register(Presented(scope, author, epoch=epoch, name=name), name)
        anchor = record_anchor(record, author=author, templates=templates)
        chain_id, seed = self.genesis.chain_id, seed_of(name)
        slot = hashlib.sha256(b"slot").digest()
        act = anchor_record(anchor, slot)
        if owned:
            signature = countersign(chain_id, exact_bytes(anchor), seed)
            act = anchor_record(anchor, slot, SigningKey(seed).public_key, signature)
        await self.applied(self.member(author), act)
        return owner


@asynccontextmanager
async def open_story(
    folder: Path,
    genesis: Genesis,
    keys: TestKeys,
    *,
    begin: bool = True,
    version_max: int = NEWEST_VERSION,
) -> AsyncGenerator[Story]:
    """Open the state in `folder` (made if missing), begun from the genesis unless told not to."""
    async with Database(folder / "state.db", SCHEMA) as database:
        chain = Chain(database, genesis.digest, version_max=version_max)
        await chain.load()
        if begin:
            await chain.init_chain(keys.document)
        story = Story(chain, database, genesis, keys)
        committed = await chain.committed()
        if committed is not None:
            story.height = committed.head.height
            story.now = committed.head.time_ns // NANOS + 1
        yield story
