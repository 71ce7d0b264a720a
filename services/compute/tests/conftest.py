"""Four hospitals with real compute services over real sockets, and the genuine chain they follow.

The orders of a study are those of its contract, one after another; what a contract would decide
from the reports is written out in `StudyRun`.

A test that is about a later part of a study begins there: `@pytest.mark.begins("counted")` gives it
hospitals, a chain and a study as they stood at that moment of one study, which runs once in a
session. From there on everything is the test's own.
"""

from __future__ import annotations

import math
import secrets
import shutil
import uuid
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import grpc
import numpy as np
import pytest
import pytest_asyncio
from blockbuster import BlockBuster, blockbuster_ctx
from grpc import aio
from numpy.typing import NDArray

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward.compute.v1.compute_service_pb2_grpc import (
    ComputeServiceStub,
    add_ComputeServiceServicer_to_server,
)
from cipherward.identity.v1 import identity_service_pb2 as identity_pb
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_anoncred.credential import Credential
from cipherward_anoncred.issuance import HolderSecret, grant_first, request_first
from cipherward_anoncred.presentation import present, pseudonym_of
from cipherward_anoncred.schema import attribute, header_of, schema_of
from cipherward_anoncred.scheme import IssuerKey, generate_issuer_key
from cipherward_anoncred.verification import Claim, verify_batch
from cipherward_chain.authorization import MemberSigner, PseudonymSigner
from cipherward_chain.batches import unpacked
from cipherward_chain.canonical import Value, encode
from cipherward_chain.domains import (
    batch_digest,
    ceremony_seed,
    presentation_authorizer,
    verdict_digest,
)
from cipherward_chain.genesis import Issuer
from cipherward_chain.opt_outs import care_scope
from cipherward_chain.orders import Order
from cipherward_chain.reads import build_read
from cipherward_chain.results import TransactionResult
from cipherward_chain.testing import GENESIS_TIME_NS, TestChain, make_genesis, seed_of
from cipherward_chain.transactions import (
    build_transaction,
    check_authorization,
    parse_transaction,
)
from cipherward_chain.wire import NANOS, exact_bytes
from cipherward_compute.config import ComputeConfig
from cipherward_compute.service import DOMAIN, GET_RESULT, GET_STUDY, WATCH_STUDY
from cipherward_compute.wiring import Outside, open_compute
from cipherward_kit.channels import open_channel
from cipherward_kit.drain import Drain
from cipherward_kit.readiness import Readiness
from cipherward_kit.testing import (
    Served,
    TestAlliance,
    eventually,
    promises_last,
    serve_in_process,
)
from cipherward_member.block_source import BlockSource
from cipherward_member.peers import PeerUnknown
from cipherward_member.registry import REGISTRY_FILE, MemberRegistry
from cipherward_member.reports import OrderKey
from cipherward_studies.answer import Answer
from cipherward_studies.plan import Plan, Released
from cipherward_studies.spec import Draft, StudySpec
from cipherward_studies.verdict import left_out, parse_verdict
from cipherward_threshold.encryption import c1_digest
from cipherward_threshold.switching import RequesterKey, combine_switched

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
THRESHOLD = 3
MINIMUM = 20
PROFILE, CIRCUIT = "additive-1", "sum"
NAMES = ("age", "bmi", "bp", "progression")
# What the study asks for unless a test changes it; every hospital has 30 patients.
DOCUMENT: Mapping[str, Any] = {
    "data_set": "cohort-1",
    "variables": [{"name": name, "low": 0, "high": 400} for name in NAMES],
    "analyses": [
        {"kind": "moments", "variables": list(NAMES), "statistics": ["sum", "covariance"]},
        {
            "kind": "linear_regression",
            "outcome": "progression",
            "predictors": ["age", "bmi", "bp"],
        },
    ],
    "minimum": MINIMUM,
}
Rows = NDArray[np.float64]
REQUESTER_SEED = seed_of("researcher")
# Where a test may begin: the key is made; the counts are summed; they are opened and passed; the
# values are summed; the result is released.
MOMENTS = ("keyed", "counted", "passed", "valued", "released")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"begins(moment): at one of {', '.join(MOMENTS)}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    promises_last(items)


@pytest_asyncio.fixture(scope="session", loop_scope="session", autouse=True)
async def lasting_grpc() -> AsyncIterator[None]:
    """Keep grpc's own sockets for all tests: closing them between two would look like blocking."""
    aio.init_grpc_aio()  # on the session's loop: the main thread may have none of its own here
    yield
    aio.shutdown_grpc_aio()


@pytest.fixture(autouse=True)
def watched_loop(lasting_grpc: None) -> Iterator[BlockBuster]:
    """Nothing that this service calls may block the event loop."""
    with blockbuster_ctx("cipherward_compute") as watching:
        yield watching


def patients(count: int, seed: int) -> Rows:
    """Return rows of made-up patients with a known relation."""
    numbers = np.random.default_rng(seed)
    x = numbers.uniform(10, 90, (count, 3)).round(1)
    y = 40 + x @ np.array([0.5, 2.0, -0.3]) + numbers.normal(0, 9, count)
    return np.column_stack([x, y.round(0)])


@dataclass(frozen=True, slots=True)
class TestIssuer:
    """Who vouches for a hospital's patients."""

    __test__ = False
    name: str
    key: IssuerKey

    def credential(
        self,
        epoch: int = 1,
        schema: str = "patient",
        role: str = "patient",
        secret: HolderSecret | None = None,
    ) -> Credential:
        session, header = secrets.token_bytes(16), header_of(schema, self.name, epoch)
        request, pending = request_first(
            secret or HolderSecret.generate(), issuer=self.name, header=header, session=session
        )
        shown = [("role", role)] if schema == "patient" else [("member", self.name), ("role", role)]
        attributes = tuple(attribute(name, "text", value) for name, value in shown)
        grant = grant_first(
            self.key,
            request,
            issuer=self.name,
            header=header,
            session=session,
            attributes=attributes,
        )
        return pending.accept(grant.octets, self.key.public, attributes)


ISSUERS = [TestIssuer(member, generate_issuer_key(seed_of(f"{member}/bbs"))) for member in MEMBERS]


@dataclass(frozen=True, slots=True)
class Wallet:
    """Authorises by presenting a credential in a scope, as a patient's wallet does."""

    credential: Credential
    scope: str

    @property
    def pseudonym(self) -> bytes:
        return self.credential.pseudonym(self.scope.encode())

    @property
    def authorizer(self) -> bytes:
        return presentation_authorizer(self.pseudonym)

    def authorize(self, context: bytes) -> bytes:
        credential = self.credential
        proof = present(credential, disclosed=(), scope=self.scope.encode(), context=context)
        shown = chain_pb.Presentation(
            issuer_public_key=credential.public_key,
            header=credential.header,
            scope=self.scope,
            proof=proof,
            pseudonym=self.pseudonym,
        )
        return exact_bytes(chain_pb.Authorization(presentation=shown))


class MakeWallet(Protocol):
    """Makes a patient's wallet, known to `member`; `named` as `TestIssuer.credential`."""

    def __call__(self, member: str = ..., *, issuer: str = ..., **named: Any) -> Wallet: ...


@pytest.fixture(scope="session")
def a_wallet() -> MakeWallet:
    def make(member: str = "hospital-a", *, issuer: str = "hospital-a", **named: Any) -> Wallet:
        found = next(one for one in ISSUERS if one.name == issuer)
        return Wallet(found.credential(**named), care_scope(member))

    return make


class Clock:
    """The local clock of every hospital, in Unix seconds; it stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = GENESIS_TIME_NS / NANOS + 1

    def __call__(self) -> float:
        return self.seconds


class ReportLedger:
    """The ledger's other side: it checks what members submit and puts it into a block."""

    def __init__(self, chain: TestChain) -> None:
        self.chain = chain
        self.reports: dict[OrderKey, dict[str, chain_pb.Report]] = {}
        self.transitions: list[chain_pb.Transition] = []  # that the chain has applied
        self.refusal = ""  # what the chain answers in the block
        self.verdict = ""  # what the ledger answers at once
        self.away = False
        self.submitted = 0

    async def submit(
        self,
        request: ledger_pb.SubmitBatchRequest,
        /,
        *,
        timeout: float,  # noqa: ASYNC109 - grpc's
    ) -> ledger_pb.SubmitBatchResponse:
        self.submitted += 1
        if self.away:
            raise aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, aio.Metadata(), aio.Metadata())
        verdicts = [self._take(raw) for raw in request.transactions]
        return ledger_pb.SubmitBatchResponse(verdicts=verdicts)

    def _take(self, raw: bytes) -> ledger_pb.SubmitVerdict:
        parsed = parse_transaction(raw)
        check_authorization(parsed, self.chain.genesis.chain_id)
        if not self.verdict:
            member = parsed.authorization.member.member_id
            for act in parsed.body.acts:
                order = OrderKey(act.report.order.height, act.report.order.index)
                if act.WhichOneof("act") == "transition":
                    if not self.refusal:
                        self.transitions.append(act.transition)
                elif not self.refusal:
                    self.reports.setdefault(order, {})[member] = act.report
            self.chain.append([raw], results=[TransactionResult(reason=self.refusal)])
        return ledger_pb.SubmitVerdict(transaction_id=parsed.id, reason=self.verdict)


class VerifyingIdentity:
    """Every hospital's identity service: it verifies presentations with the credential library."""

    def __init__(self) -> None:
        self.away = False

    async def verify(
        self,
        request: identity_pb.VerifyPresentationsRequest,
        /,
        *,
        timeout: float,  # noqa: ASYNC109 - grpc's
    ) -> identity_pb.VerifyPresentationsResponse:
        if self.away:
            raise aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, aio.Metadata(), aio.Metadata())
        jobs = [(_claim(asked), asked.presentation.proof) for asked in request.presentations]
        verdicts = zip(request.presentations, verify_batch(jobs), strict=True)
        return identity_pb.VerifyPresentationsResponse(
            valid=[
                valid and pseudonym_of(asked.presentation.proof) == asked.presentation.pseudonym
                for asked, valid in verdicts
            ]
        )


def _claim(asked: identity_pb.PresentationToVerify) -> Claim:
    shown = asked.presentation
    return Claim(
        issuer_public_key=shown.issuer_public_key,
        header=shown.header,
        attribute_count=len(schema_of(shown.header).attributes),
        disclosed=tuple((one.index, one.value) for one in shown.disclosed),
        scope=shown.scope.encode(),
        context=asked.context,
    )


@dataclass(slots=True)
class Hospital:
    """A member's running compute service, which can be stopped and started again."""

    member: str
    config: ComputeConfig
    world: World
    served: Served | None = None
    port: int = 0  # free at the first start, the same ever after
    readiness: Readiness = field(default_factory=lambda: Readiness("store", "chain"))
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        self._stack = AsyncExitStack()
        self.readiness, drain = Readiness("store", "chain"), Drain()
        chain = self.world.chain
        source, submit = BlockSource(chain), self.world.ledger.submit
        registry = MemberRegistry(chain.genesis, self.config.data_dir / REGISTRY_FILE)
        verify = self.world.identity.verify
        others = self._open_peer, self._open_storage
        outside = Outside(registry, source, submit, verify, *others, self.world.clock)
        service = await self._stack.enter_async_context(
            open_compute(self.config, chain.genesis, outside, self.readiness, drain)
        )
        self.served = await self._stack.enter_async_context(
            serve_in_process(
                lambda server: add_ComputeServiceServicer_to_server(service, server),
                domain=DOMAIN,
                alliance=self.world.alliance,
                service="compute",
                member=self.member,
                readiness=self.readiness,
                drain=drain,
                listen=f"127.0.0.1:{self.port}",
            )
        )
        self.port = self.served.ports.listen

    async def stop(self) -> None:
        self.served = None
        await self._stack.aclose()

    def stub(self, member: str = "", service: str = "client") -> ComputeServiceStub:
        """Return the service as a service of a member (by default this one) calls it."""
        assert self.served is not None
        return ComputeServiceStub(self.served.channel_as(member or self.member, service))

    def holder(self) -> ComputeServiceStub:
        assert self.served is not None
        return ComputeServiceStub(self.served.holder_channel())

    async def contribute(
        self,
        rows: Rows,
        names: Sequence[str] = NAMES,
        references: Sequence[bytes] = (),
        data_set: str = "cohort-1",
        units: Mapping[str, str] | None = None,
    ) -> str:
        request_id = str(uuid.uuid4())
        header = pb.ContributeHeader(
            request_id=request_id,
            data_set=data_set,
            variables=[
                pb.DataSetVariable(name=name, unit=(units or {}).get(name, "")) for name in names
            ],
        )
        values = rows.astype("<f8").tobytes()
        part = pb.ContributePart(values=values, references=b"".join(references))
        end = pb.ContributeEnd(rows=len(rows))
        await self.stub().Contribute(
            iter(
                (
                    pb.ContributeRequest(header=header),
                    pb.ContributeRequest(part=part),
                    pb.ContributeRequest(end=end),
                )
            )
        )
        return request_id

    async def _open_peer(self, member: str) -> aio.Channel:
        return self._open(self.world.hospitals[member].port, member, "compute")

    async def _open_storage(self, member: str) -> aio.Channel:
        port = self.world.storage_ports.get(member)
        if port is None:
            raise PeerUnknown(f"{member} has no storage here")
        return self._open(port, member, "storage")

    def _open(self, port: int, member: str, service: str) -> aio.Channel:
        return open_channel(
            f"127.0.0.1:{port}",
            identity=self.world.alliance.identity(self.member, "compute"),
            registry=self.world.alliance.registry,
            peer_member=member,
            peer_service=service,
        )


@dataclass(slots=True)
class World:
    """The chain, its ledger, the hospitals and their clock."""

    alliance: TestAlliance
    chain: TestChain
    member_seeds: Mapping[str, bytes]
    clock: Clock
    ledger: ReportLedger
    identity: VerifyingIdentity
    hospitals: dict[str, Hospital] = field(default_factory=dict[str, Hospital])
    storage_ports: dict[str, int] = field(default_factory=dict[str, int])

    def append(self, *acts: chain_pb.Act, orders: Sequence[Order] = (), signer: Any = None) -> None:
        """Make a block with one transaction, by default one that does nothing."""
        chosen = acts or (chain_pb.Act(tick=chain_pb.Tick()),)
        self.chain.append(
            [
                build_transaction(
                    chosen,
                    chain_id=self.chain.genesis.chain_id,
                    expires_at=int(self.clock.seconds) + 60,
                    signer=signer or MemberSigner("hospital-a", self.member_seeds["hospital-a"]),
                )
            ],
            orders=orders,
        )

    def read(
        self, method: str, study: bytes, *, signer: Any = None, order: OrderKey | None = None
    ) -> chain_pb.AuthorizedRead:
        return build_read(
            method,
            study,
            chain_id=self.chain.genesis.chain_id,
            signer=signer or PseudonymSigner(REQUESTER_SEED),
            time_ns=int(self.clock.seconds * NANOS),
            order=None if order is None else (order.height, order.index),
        )

    def member_signer(self, member: str) -> MemberSigner:
        return MemberSigner(member, self.member_seeds[member])


@dataclass(frozen=True, slots=True)
class Part:
    """What a member gives the researcher."""

    sums: tuple[bytes, ...]
    shares: tuple[bytes, ...]
    contributors: tuple[str, ...]
    verdicts: Mapping[str, bytes]


@dataclass(slots=True)
class StudyRun:
    """One study, driven as its contract would drive it."""

    world: World
    spec: StudySpec
    requester: RequesterKey
    study: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    members: tuple[str, ...] = MEMBERS
    threshold: int = THRESHOLD
    key_digest: bytes = bytes(32)
    commitments: dict[str, bytes] = field(default_factory=dict[str, bytes])
    reveals: dict[str, bytes] = field(default_factory=dict[str, bytes])
    verdicts: dict[str, bytes] = field(default_factory=dict[str, bytes])
    release: OrderKey | None = None
    started: OrderKey | None = None  # the newest start order
    template: str = "study"
    at: str = ""  # the newest of MOMENTS that was reached when the test began
    sums: dict[str, bytes] = field(default_factory=dict[str, bytes])  # digests, by stage

    @property
    def plan(self) -> Plan:
        return Plan.of(self.spec)

    def copy(self, **changed: Any) -> StudyRun:
        """Return the study as it stands, which goes on by itself from here on."""
        own = {name: dict(getattr(self, name)) for name in ("commitments", "reveals", "verdicts")}
        return replace(self, **own, sums=dict(self.sums), **changed)

    def _began(self, moment: str) -> bool:
        """Say whether the test began at this moment or later."""
        return self.at in MOMENTS[MOMENTS.index(moment) :]

    async def put_spec(self) -> None:
        for hospital in self.world.hospitals.values():
            answer = await hospital.holder().PutStudySpec(
                pb.PutStudySpecRequest(spec=self.spec.octets)
            )
            assert answer.digest == self.spec.digest

    def instantiate(self, step_seconds: int = 600) -> None:
        terms = encode({"members": list(self.members), "step_seconds": step_seconds})
        act = chain_pb.Instantiate(
            template=self.template, version=1, instance_id=self.study, terms=terms
        )
        self.world.append(chain_pb.Act(instantiate=act), signer=PseudonymSigner(REQUESTER_SEED))

    def order(self, instruction: str, **arguments: Value) -> OrderKey:
        """Give an order to the study's members."""
        height = self.world.chain.next_height()
        named = {"study": self.study, "members": list(self.members), **arguments}
        order = Order(height, 0, self.study, self.template, instruction, named)
        self.world.append(orders=[order])
        return OrderKey(height, 0)

    async def reports(
        self, order: OrderKey, members: Sequence[str] = ()
    ) -> dict[str, chain_pb.Report]:
        """Wait for the reports of `members` (all) about an order."""
        wanted = set(members or self.members)
        found = self.world.ledger.reports
        await eventually(  # a call into a peer that is just going away lasts its whole deadline
            lambda: wanted <= set(found.get(order, {})), seconds=60, what=f"reports of {order}"
        )
        return dict(found[order])

    async def done(self, order: OrderKey, members: Sequence[str] = ()) -> dict[str, bytes]:
        """Wait for reports, all of them good; return their digests."""
        reports = await self.reports(order, members)
        assert {r.outcome for r in reports.values()} == {chain_pb.OUTCOME_DONE}, reports
        return {member: reports[member].digest for member in sorted(reports)}

    def ceremony_order(self, step: str, **other: Value) -> OrderKey:
        arguments: dict[str, Value] = {
            "step": step,
            "threshold": self.threshold,
            "profile": PROFILE,
            "seed": ceremony_seed(self.world.chain.genesis.chain_id, 1, self.study),
            "commitments": self.commitments,
            "reveals": self.reveals,
        }
        return self.order("run_key_ceremony", **{**arguments, **other})

    def retire(self, cause: str = "released") -> OrderKey:
        return self.order("retire_key", cause=cause)

    async def ceremony(self) -> None:
        self.commitments = await self.done(self.ceremony_order("commit"))
        self.reveals = await self.done(self.ceremony_order("reveal"))
        (self.key_digest,) = set((await self.done(self.ceremony_order("confirm"))).values())

    def start_order(
        self, stage: str, step: str, commitments: Mapping[str, bytes] | None = None, **other: Value
    ) -> OrderKey:
        arguments: dict[str, Value] = {
            "stage": stage,
            "step": step,
            "threshold": self.threshold,
            "minimum": self.spec.minimum,
            "spec_digest": self.spec.digest,
            "data_set": self.spec.data_set,
            "outputs": list(self.spec.outputs),
            "requester_key_digest": self.spec.requester_key_digest,
            "key_digest": self.key_digest,
            "commitments": dict(commitments or {}),
            "round": 0 if stage == "counts" else 1,
            "iterate": b"",
            "verdicts": {} if stage == "counts" else dict(self.verdicts),
            "source": b"",
            "digest": b"",
        }
        self.started = self.order("start_study", **{**arguments, **other})
        return self.started

    async def summed(self, stage: str, **other: Any) -> bytes:
        """Let all encrypt and add; return the digest of the sums."""
        commitments = await self.done(self.start_order(stage, "commit", **other))
        order = self.start_order(stage, "verify", commitments, **other)
        (digest,) = set((await self.done(order)).values())
        return digest

    async def refreshed(
        self, stage: str, digest: bytes, online: Sequence[str], **other: Any
    ) -> bytes:
        """Let the others begin a dead release anew, without whom is not `online`; return the
        digest of the refreshed sums."""
        refresh = self.start_order(stage, "refresh", digest=digest, **other)
        zeros = await self.done(refresh, online)
        add = self.start_order(stage, "add", zeros, digest=digest, **other)
        (again,) = set((await self.done(add, online)).values())
        assert again != digest
        return again

    def release_order(
        self, instruction: str, digest: bytes, online: Sequence[str], **other: Value
    ) -> OrderKey:
        arguments: dict[str, Value] = {
            "set": list(online),
            "digest": digest,
            "threshold": self.threshold,
            "key_digest": self.key_digest,
            "source": b"",
        }
        if instruction == "release_counts":
            arguments["minimum"] = self.spec.minimum
        else:
            arguments["requester_key_digest"] = self.spec.requester_key_digest
            arguments["round"] = 1
        return self.order(instruction, **{**arguments, **other})

    async def to_counts(self) -> bytes:
        """Run up to the counts' sum; return its digest."""
        if self._began("counted"):
            return self.sums["counts"]
        await self.put_spec()
        if not self._began("keyed"):
            self.instantiate()
            await self.ceremony()
        return await self.summed("counts")

    async def passed(self, counts: bytes, online: Sequence[str] = MEMBERS[:3]) -> None:
        """Open the counts; the first three verdicts are what the contract keeps."""
        passes = await self.done(self.release_order("release_counts", counts, online))
        self.verdicts = {member: passes[member] for member in list(passes)[: self.threshold]}

    async def to_passed(self, online: Sequence[str] = MEMBERS[:3]) -> None:
        """Run up to the verdicts about the counts."""
        counts = await self.to_counts()
        if not self._began("passed"):
            await self.passed(counts, online)

    async def to_values(self, online: Sequence[str] = MEMBERS[:3]) -> bytes:
        """Run up to the values' sum; return its digest."""
        await self.to_passed(online)
        return self.sums["values"] if self._began("valued") else await self.summed("values")

    async def to_result(self, online: Sequence[str] = MEMBERS[:3]) -> bytes:
        """Run up to the release; return the digest of the values' sum."""
        digest = await self.to_values(online)
        if not self._began("released"):
            self.release = self.release_order("release_result", digest, online)
            await self.done(self.release, online)
        return digest

    async def result_of(self, member: str) -> Part:
        """Return a member's part of the newest release, as the researcher gets it."""
        read = self.world.read(GET_RESULT, self.study, order=self.release)
        holder = self.world.hospitals[member].holder()
        found = [one async for one in holder.GetResult(pb.GetResultRequest(read=read))]
        sums, shares = unpacked(b"".join(one.chunk for one in found))
        verdicts = {one.member: one.verdict for one in found[0].verdicts}
        return Part(sums, shares, tuple(found[0].contributors), verdicts)

    async def parts(self, digest: bytes, online: Sequence[str] = MEMBERS[:3]) -> list[Part]:
        """Fetch every part of the set as the researcher, and check it."""
        parts = [await self.result_of(member) for member in online]
        (sums,) = {part.sums for part in parts}
        assert batch_digest([c1_digest(PROFILE, one) for one in sums]) == digest
        assert {part.contributors for part in parts} == {self.members}
        for member, verdict in parts[0].verdicts.items():
            assert verdict_digest(self.study, member, verdict) == self.verdicts[member]
        return parts

    async def totals(self, digest: bytes, online: Sequence[str] = MEMBERS[:3]) -> list[int]:
        """Fetch every part as the researcher, check it and decrypt."""
        parts = await self.parts(digest, online)
        widths = [len(batch) for batch in self.plan.batches([0] * self.plan.value_slots)]
        totals: list[int] = []
        for place, ciphertext in enumerate(parts[0].sums):
            shares = [part.shares[place] for part in parts]
            switched = combine_switched(PROFILE, ciphertext, shares, circuit=CIRCUIT)
            totals += self.requester.decrypt(switched, widths[place])
        return totals

    async def left_out(self, member: str = "hospital-a") -> tuple[int, ...]:
        """Return the cells that are left out, as the researcher learns it."""
        verdicts = (await self.result_of(member)).verdicts
        return left_out(parse_verdict(one, len(self.plan.cells)) for one in verdicts.values())

    def finish(self, totals: Sequence[int], left_out: Sequence[int] = (0,)) -> Answer:
        """Return the answer of a study with one round; a single incomplete row is not told of."""
        return self.plan.finish([Released(b"", tuple(totals))], left_out)

    async def seen_at(self, member: str) -> pb.Study:
        """Return the study as a member sees it, read by that member."""
        signer = self.world.member_signer(member)
        read = self.world.read(GET_STUDY, self.study, signer=signer)
        answer = await self.world.hospitals[member].holder().GetStudy(pb.GetStudyRequest(read=read))
        return answer.study

    def watch(self, member: str) -> Any:
        read = self.world.read(WATCH_STUDY, self.study)
        return self.world.hospitals[member].holder().WatchStudy(pb.WatchStudyRequest(read=read))


@pytest.fixture(scope="session")
def requester() -> RequesterKey:
    return RequesterKey.generate(PROFILE, b"r" * 32)


class MakeSpec(Protocol):
    """Makes the text of a study; `changed` are entries of its document."""

    def __call__(self, **changed: Any) -> StudySpec: ...


@pytest.fixture(scope="session")
def a_spec(requester: RequesterKey) -> MakeSpec:
    def make(**changed: Any) -> StudySpec:
        return Draft.from_document({**DOCUMENT, **changed}).spec(requester.public_key())

    return make


@pytest.fixture(scope="session")
def spec(a_spec: MakeSpec) -> StudySpec:
    return a_spec()


@pytest.fixture(scope="session")
def rows() -> dict[str, Rows]:
    """Each hospital's patients; one of hospital-b's has a missing value."""
    found = {member: patients(30, seed) for seed, member in enumerate(MEMBERS)}
    found["hospital-b"][4, 1] = math.nan
    return found


@asynccontextmanager
async def a_world(folder: Path) -> AsyncGenerator[World]:
    """Four hospitals, none of them running."""
    issuers = [Issuer(one.name, one.key.public, ("patient", "staff")) for one in ISSUERS]
    genesis, keys = make_genesis(4, issuers=issuers)
    chain = TestChain(genesis, keys)
    alliance = TestAlliance(folder, MEMBERS)
    world = World(
        alliance, chain, keys.member_seeds, Clock(), ReportLedger(chain), VerifyingIdentity()
    )
    (folder / "genesis.json").write_bytes(keys.document)
    for member in MEMBERS:
        settings = alliance.settings(member, "compute")
        place = settings["data_dir"].parent
        for name, key in (
            ("member", keys.member_seeds[member]),
            ("ceremony", seed_of(f"{member}/ceremony")),
            ("data", seed_of(f"{member}/data")),
        ):
            (place / f"{name}.key").write_bytes(key)
            (place / f"{name}.key").chmod(0o600)
            settings[f"{name}_key_file"] = place / f"{name}.key"
        config = ComputeConfig(endpoints_file=folder / "alliance.json", **settings)
        world.hospitals[member] = Hospital(member, config, world)
    chain.heartbeat()
    chain.heartbeat()
    try:
        yield world
    finally:
        for hospital in world.hospitals.values():
            await hospital.stop()


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything that was on the disks, on the chain and in the researcher's hands."""

    folder: Path  # a hospital's data in a folder of its name
    chain: TestChain
    reports: Mapping[OrderKey, Mapping[str, chain_pb.Report]]
    study: StudyRun

    def restore(self, world: World) -> None:
        """Give a world that does not run yet this past, and a block that is news to it."""
        world.chain = world.ledger.chain = self.chain.copy()
        world.chain.heartbeat()
        world.ledger.reports = {order: dict(found) for order, found in self.reports.items()}
        for member, hospital in world.hospitals.items():
            shutil.copytree(self.folder / member, hospital.config.data_dir, dirs_exist_ok=True)


class Keep(Protocol):
    """Keeps everything as it stands now, as a moment of the study."""

    async def __call__(self, study: StudyRun, moment: str) -> None: ...


Happening = Callable[[StudyRun, Keep], Awaitable[None]]


class History:
    """What happened once in a session, as it stood at each of its moments."""

    def __init__(
        self, folder: Path, spec: StudySpec, requester: RequesterKey, happening: Happening
    ) -> None:
        self._folder = folder
        self._spec = spec
        self._requester = requester
        self._happening = happening
        self._moments: dict[str, Moment] = {}

    async def at(self, name: str) -> Moment:
        """Return a moment; the first question lets all of it happen."""
        if not self._moments:
            alliance = self._folder / "alliance"
            alliance.mkdir()
            async with a_world(alliance) as world:
                for hospital in world.hospitals.values():
                    await hospital.start()
                await self._happening(StudyRun(world, self._spec, self._requester), self._keep)
        return self._moments[name]

    async def _keep(self, study: StudyRun, moment: str) -> None:
        world, folder = study.world, self._folder / moment
        study.at = moment
        for member, hospital in world.hospitals.items():
            await hospital.stop()
            shutil.copytree(hospital.config.data_dir, folder / member)
        reports = {order: dict(found) for order, found in world.ledger.reports.items()}
        self._moments[moment] = Moment(folder, world.chain.copy(), reports, study.copy())
        for hospital in world.hospitals.values():
            await hospital.start()


MakeHistory = Callable[[Happening], History]


@pytest.fixture(scope="session")
def a_history(
    tmp_path_factory: pytest.TempPathFactory, spec: StudySpec, requester: RequesterKey
) -> MakeHistory:
    def make(happening: Happening) -> History:
        return History(tmp_path_factory.mktemp("history"), spec, requester, happening)

    return make


@pytest.fixture(scope="session")
def history(a_history: MakeHistory, rows: Mapping[str, Rows]) -> History:
    """One study over everybody's patients."""

    async def happen(study: StudyRun, keep: Keep) -> None:
        for member, hospital in study.world.hospitals.items():
            await hospital.contribute(rows[member])
        await study.put_spec()
        study.instantiate()
        await study.ceremony()
        await keep(study, "keyed")
        study.sums["counts"] = await study.summed("counts")
        await keep(study, "counted")
        await study.passed(study.sums["counts"])
        await keep(study, "passed")
        study.sums["values"] = await study.summed("values")
        await keep(study, "valued")
        await study.to_result()
        await keep(study, "released")

    return a_history(happen)


@pytest.fixture
async def beginning(request: pytest.FixtureRequest, history: History) -> Moment | None:
    """Where the test begins, if not at the beginning."""
    marker = request.node.get_closest_marker("begins")
    return None if marker is None else await history.at(marker.args[0])


@pytest.fixture
async def world(tmp_path: Path, beginning: Moment | None) -> AsyncGenerator[World]:
    """Four running hospitals, without patients unless the test begins later."""
    async with a_world(tmp_path) as made:
        if beginning is not None:
            beginning.restore(made)
        for hospital in made.hospitals.values():
            await hospital.start()
        if beginning is not None:  # nothing is older than what they were told last
            for hospital in made.hospitals.values():
                await eventually(lambda one=hospital: one.readiness.ready)
        yield made


@pytest.fixture
async def lone(tmp_path: Path) -> AsyncGenerator[World]:
    """Four hospitals of which only hospital-a runs."""
    async with a_world(tmp_path) as made:
        await made.hospitals["hospital-a"].start()
        yield made


@pytest.fixture
async def study(
    world: World,
    beginning: Moment | None,
    rows: Mapping[str, Rows],
    spec: StudySpec,
    requester: RequesterKey,
) -> StudyRun:
    """A study over the four hospitals' patients; nothing of it has happened unless it is marked."""
    if beginning is not None:
        return beginning.study.copy(world=world)
    for member, hospital in world.hospitals.items():
        await hospital.contribute(rows[member])
    return StudyRun(world, spec, requester)


@pytest.fixture
def another(study: StudyRun) -> StudyRun:
    """Another study over the same patients, of which nothing has happened."""
    return StudyRun(study.world, study.spec, study.requester)
