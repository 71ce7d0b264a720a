"""A data key of four hospitals, their storages, and patients who go to several of them.

The key is made by the library at once: its ceremony has tests of its own. Storage services are
stood in for by ones that keep columns in memory, over real sockets.

`@pytest.mark.begins(moment)` lets a test begin where one data key stood, which is made once in a
session:
enrolled: its patients have enrolled, and the members have the key.
fixed: they have encrypted their columns.
verified: each has verified the others' columns.
ready: the check of the flags was opened.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import grpc
import numpy as np
import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward.storage.v1 import storage_service_pb2 as storage_pb
from cipherward.storage.v1 import storage_service_pb2_grpc as storage_grpc
from cipherward_anoncred.issuance import HolderSecret
from cipherward_chain.acts import register_pseudonym
from cipherward_chain.canonical import Value, decode_map, encode
from cipherward_chain.domains import read_context
from cipherward_chain.opt_outs import care_scope
from cipherward_chain.reads import build_read
from cipherward_chain.testing import seed_of
from cipherward_chain.wire import NANOS
from cipherward_compute.column_keys import PROFILE, study_scope
from cipherward_compute.columns import Manifest
from cipherward_compute.keyring import KEY_SHARE
from cipherward_compute.service import ENROL
from cipherward_compute.vault import Vault
from cipherward_kit.errors import ServiceError, reason_of
from cipherward_kit.testing import eventually, serve_in_process
from cipherward_member.reports import OrderKey
from cipherward_studies.columns import ColumnText
from cipherward_threshold.decryption import combine, partial_decryption
from cipherward_threshold.encryption import sum_contributions
from cipherward_threshold.evaluation.relinearisation import (
    combine_relin_key,
    relin_first,
    relin_second,
)
from cipherward_threshold.keys import combine_public_key, member_secret, public_key_digest
from cipherward_threshold.shamir import aggregate_shares

# From the folder above, which has a conftest of this name too.
History: TypeAlias = Any
Hospital: TypeAlias = Any
Keep: TypeAlias = Any
MakeHistory: TypeAlias = Any
MakeWallet: TypeAlias = Any
Moment: TypeAlias = Any
StudyRun: TypeAlias = Any
Wallet: TypeAlias = Any
World: TypeAlias = Any

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
POINTS = (1, 2, 3, 4)
THRESHOLD = 3
COMMON = 12  # patients of hospital-a and hospital-b, in the key that is ready
BEAT_SECONDS = 2.0  # a busy machine takes longer for a step than a silent chain is believed
TEXT = ColumnText.from_document(
    {
        "data_set": "cohort-1",
        "variables": [
            {"name": "age", "low": 0, "high": 120},
            {"name": "bmi", "low": 10, "high": 80, "fraction_bits": 8},
        ],
    }
)


@dataclass(frozen=True)
class MadeKey:
    """A data key, tested or not."""

    public_key: bytes
    relin_key: bytes
    shares: Mapping[int, bytes]


@pytest.fixture(scope="session")
def made_key() -> MadeKey:
    return a_key(MEMBERS, THRESHOLD)


@pytest.fixture(scope="session")
def key_of_three() -> MadeKey:
    """A key that the last member has no share of."""
    return a_key(MEMBERS[:3], 2)


def a_key(names: Sequence[str], threshold: int) -> MadeKey:
    members = [member_secret(PROFILE, seed_of(m), b"a data key") for m in names]
    points = POINTS[: len(names)]
    deals = [one.deal(points, threshold) for one in members]
    shares = {p: aggregate_shares(PROFILE, [deal[p] for deal in deals]) for p in points}
    public = combine_public_key(PROFILE, b"a data key", [s.public_key_share() for s in members])
    firsts = [relin_first(one) for one in members]
    seconds = [relin_second(one, public, firsts) for one in members]
    return MadeKey(public, combine_relin_key(PROFILE, public, firsts, seconds), shares)


class NoColumn(ServiceError):
    """As storage says it."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "COLUMN_UNKNOWN"


class MemoryStorage(storage_grpc.StorageServiceServicer):
    """The part of a member's storage service that keeps columns."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.puts = self.gets = 0
        self.lies: dict[bytes, bytes] = {}  # what is sent instead

    def copy(self) -> MemoryStorage:
        """Return a storage that keeps the same columns, and goes on by itself from here on."""
        other = MemoryStorage()  # pyright: ignore[reportAbstractUsage] - nobody asks for more
        other.kept = dict(self.kept)
        return other

    async def PutColumn(self, request_iterator: AsyncIterator[Any], context: Any) -> Any:
        header = (await anext(request_iterator)).header
        octets = b"".join([message.part async for message in request_iterator])
        assert hashlib.sha256(octets).digest() == header.digest
        assert len(octets) == header.bytes
        self.puts += 1
        self.kept[header.digest] = octets
        return storage_pb.PutColumnResponse()

    async def GetColumn(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.gets += 1
        octets = self.lies.get(request.digest, self.kept.get(request.digest))
        if octets is None:
            raise NoColumn("there is no such column here")
        for at in range(0, max(1, len(octets)), 1 << 20):
            yield storage_pb.GetColumnResponse(chunk=octets[at : at + (1 << 20)])


@dataclass(frozen=True)
class Patient:
    """A patient's wallets by scope, and rows by hospital."""

    wallets: Mapping[str, Wallet]
    seed: bytes
    rows: Mapping[str, tuple[float, float]]

    def reference(self, member: str) -> bytes:
        return hashlib.sha256(self.seed + member.encode()).digest()[:16]


@dataclass
class DataKeyRun:
    """A data key, driven as its contract would drive it."""

    study: StudyRun
    storages: dict[str, MemoryStorage]
    made: MadeKey
    make_wallet: MakeWallet
    patients: list[Patient] = field(default_factory=list[Patient])
    commitments: dict[str, bytes] = field(default_factory=dict[str, bytes])
    digest: bytes = b""

    @property
    def id(self) -> bytes:
        return self.study.study

    @property
    def world(self) -> World:
        return self.study.world

    @property
    def spec_digest(self) -> bytes:
        """What the terms name, unless a test proposes another text."""
        return TEXT.digest

    def propose(self, text: ColumnText = TEXT) -> None:
        terms: dict[str, Value] = {
            "members": list(self.study.members),
            "step_seconds": 600,
            "data_set": text.data_set,
            "minimum": 10,
            "spec_digest": text.digest,
        }
        act = chain_pb.Instantiate(
            template="data-key", version=1, instance_id=self.id, terms=encode(terms)
        )
        self.world.append(chain_pb.Act(instantiate=act))

    async def put_text(self, text: ColumnText = TEXT) -> None:
        """Hand the text to every member of the key, once it knows of the proposal."""

        async def taken(hospital: Hospital) -> bool:
            try:
                await hospital.holder().PutColumnText(pb.PutColumnTextRequest(text=text.octets))
            except aio.AioRpcError as error:
                if reason_of(error) != "COLUMN_TEXT_UNKNOWN":
                    raise
                return False
            return True

        for member in self.study.members:
            await eventually(lambda one=self.world.hospitals[member]: taken(one))

    def give_key(self) -> None:
        """Let every member have the key, as after its ceremony."""
        for member in self.study.members:
            hospital, point = self.world.hospitals[member], MEMBERS.index(member) + 1
            vault = Vault(seed_of(f"{member}/data"))
            sealed = vault.seal(self.made.shares[point], KEY_SHARE, self.id)
            connection = sqlite3.connect(hospital.config.data_dir / "compute.db")
            with connection:
                connection.execute(
                    "INSERT INTO ceremonies VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        self.id,
                        PROFILE,
                        b"",
                        secrets.token_bytes(32),
                        self.made.public_key,
                        sealed,
                        self.made.relin_key,
                    ),
                )
            connection.close()

    def replace_key_share(self, member: str, key_share: bytes) -> None:
        """Let a member have another share of the key than the ceremony gave it."""
        hospital = self.world.hospitals[member]
        sealed = Vault(seed_of(f"{member}/data")).seal(key_share, KEY_SHARE, self.id)
        connection = sqlite3.connect(hospital.config.data_dir / "compute.db")
        with connection:
            connection.execute(
                "UPDATE ceremonies SET key_share = ? WHERE study = ?", (sealed, self.id)
            )
        connection.close()

    def a_patient(self, **rows: tuple[float, float]) -> Patient:
        """Return a patient with rows at hospitals a to d: (age, bmi) of each."""
        at = {f"hospital-{letter}": row for letter, row in rows.items()}
        secret = HolderSecret.generate()
        scopes = [study_scope(self.id), *(care_scope(member) for member in MEMBERS)]
        base = self.make_wallet(secret=secret)
        wallets = {scope: replace(base, scope=scope) for scope in scopes}
        patient = Patient(wallets, secrets.token_bytes(32), at)
        self.patients.append(patient)
        return patient

    def register(self, *patients: Patient) -> None:
        chain_id, scope = self.world.chain.genesis.chain_id, study_scope(self.id)
        for patient in patients:
            act = register_pseudonym(chain_id, scope, patient.seed)
            self.world.append(act, signer=patient.wallets[scope])

    async def contribute(self) -> None:
        """Give every hospital the rows of its patients, and of strangers."""
        for place, (member, hospital) in enumerate(self.world.hospitals.items()):
            strangers = np.random.default_rng(place).uniform(20, 70, (20, 2))
            named = [secrets.token_bytes(16) for _ in strangers]
            known = [one for one in self.patients if member in one.rows]
            rows = (
                np.concatenate([strangers, [one.rows[member] for one in known]])
                if known
                else (strangers)
            )
            references = [*named, *(one.reference(member) for one in known)]
            await hospital.contribute(rows, ("age", "bmi"), references)

    def request(self, patient: Patient, member: str, choice: bytes = b"in") -> pb.EnrolRequest:
        """Return what a patient shows to a hospital: two presentations of one body."""
        wallets = patient.wallets
        care = build_read(
            ENROL,
            self.id + choice,
            chain_id=self.world.chain.genesis.chain_id,
            signer=wallets[care_scope(member)],
            time_ns=int(self.world.clock.seconds * NANOS),
        )
        return pb.EnrolRequest(care=care, study=again(care, wallets[study_scope(self.id)]))

    async def enrol(
        self, patient: Patient, members: Sequence[str] = (), choice: bytes = b"in"
    ) -> list[pb.EnrolResponse]:
        """Link a patient's rows at the hospitals, and enrol there (by default at all of its)."""
        answers: list[pb.EnrolResponse] = []
        for member in members or patient.rows:
            hospital = self.world.hospitals[member]
            await hospital.stub().LinkReferences(
                pb.LinkReferencesRequest(
                    pseudonym=patient.wallets[care_scope(member)].pseudonym,
                    references=[patient.reference(member)],
                )
            )
            answers.append(await hospital.holder().Enrol(self.request(patient, member, choice)))
        return answers

    def fix_order(self, step: str, seed: bytes = b"") -> OrderKey:
        return self.study.order(
            "fix_columns",
            step=step,
            threshold=self.study.threshold,
            key_digest=public_key_digest(self.made.public_key),
            commitments=dict(self.commitments),
            seed=seed,
        )

    async def fix(self) -> None:
        """Let enrolment end and all encrypt."""
        self.commitments = await self.study.done(self.fix_order("commit"))

    async def verify(self, seed: bytes = b"\7" * 32) -> None:
        """Let all verify, and agree on the checks."""
        (self.digest,) = set((await self.study.done(self.fix_order("verify", seed))).values())

    async def enrol_all(self) -> None:
        """Let the patients register and enrol wherever they have rows."""
        self.register(*self.patients)
        await self.contribute()
        for patient in self.patients:
            await self.enrol(patient)

    def open_order(self, online: Sequence[str] = MEMBERS[:3]) -> OrderKey:
        return self.study.order(
            "release_counts",
            set=list(online),
            digest=self.digest,
            threshold=self.study.threshold,
            minimum=10,
            key_digest=public_key_digest(self.made.public_key),
            source=b"",
        )

    def manifest(self, member: str, of: str = "") -> bytes:
        """Return the list of a member's columns as it stands at another (or at itself)."""
        database = self.world.hospitals[of or member].config.data_dir / "compute.db"
        connection = sqlite3.connect(database)
        row = connection.execute(
            "SELECT manifest FROM column_manifests WHERE study = ? AND member = ?",
            (self.id, member),
        ).fetchone()
        connection.close()
        return b"" if row is None else row[0]

    def listed(self, member: str) -> Manifest:
        """Return the list of a member's own columns."""
        row = decode_map(self.manifest(member))
        assert isinstance(row["columns"], list)
        digests = tuple(one for one in row["columns"] if isinstance(one, bytes))
        return Manifest(self.id, member, b"", b"", digests, ())

    def rewrite(self, member: str, manifest: Manifest) -> None:
        """Let a member list, and commit to, other columns than it made."""
        database = self.world.hospitals[member].config.data_dir / "compute.db"
        connection = sqlite3.connect(database)
        with connection:
            connection.execute(
                "UPDATE column_manifests SET manifest = ? WHERE member = ?",
                (manifest.to_bytes(), member),
            )
        connection.close()
        self.commitments[member] = manifest.commitment

    def opened(self, ciphertext: bytes, slots: int) -> list[int]:
        """Decrypt a column, as nobody outside a test can."""
        doubled, online = sum_contributions(PROFILE, [ciphertext]), POINTS[:3]
        shares = [
            partial_decryption(
                PROFILE,
                self.made.shares[point],
                doubled,
                point=point,
                online=online,
                seed=b"s" * 32,
                context=b"test",
                circuit="column-sum",
            )
            for point in online
        ]
        return combine(PROFILE, doubled, shares, slots, circuit="column-sum")


def again(read: chain_pb.AuthorizedRead, wallet: Wallet) -> chain_pb.AuthorizedRead:
    """Return the same body, authorised by another wallet."""
    return chain_pb.AuthorizedRead(
        body=read.body, authorization=wallet.authorize(read_context(read.body))
    )


@asynccontextmanager
async def a_key_run(
    study: StudyRun, made: MadeKey, make_wallet: MakeWallet
) -> AsyncGenerator[DataKeyRun]:
    """A data key that nobody has proposed yet; inside, the hospitals have storages."""
    study, world = replace(study, template="data-key"), study.world
    async with AsyncExitStack() as stack:
        storages = {
            member: MemoryStorage()  # pyright: ignore[reportAbstractUsage] - nobody asks for more
            for member in MEMBERS
        }
        for member, storage in storages.items():
            served = await stack.enter_async_context(
                serve_in_process(
                    lambda server, one=storage: storage_grpc.add_StorageServiceServicer_to_server(
                        one, server
                    ),
                    domain="storage.cipherward",
                    alliance=world.alliance,
                    service="storage",
                    member=member,
                )
            )
            world.storage_ports[member] = served.ports.listen
        yield DataKeyRun(study, storages, made, make_wallet)


@asynccontextmanager
async def beating(world: World) -> AsyncGenerator[None]:
    """Let the chain make blocks although nothing happens, as a real one does."""

    async def beat() -> None:
        while True:
            world.chain.heartbeat()
            await asyncio.sleep(BEAT_SECONDS)

    task = asyncio.create_task(beat())
    yield
    task.cancel()
    await asyncio.wait((task,))


class KeyHistory:
    """One data key as it stood at each of the moments."""

    def __init__(self, a_history: MakeHistory, made: MadeKey, make_wallet: MakeWallet) -> None:
        self._made = made
        self._make_wallet = make_wallet
        self._history: History = a_history(self._happen)
        self._runs: dict[str, DataKeyRun] = {}

    async def at(self, name: str) -> Moment:
        """Return how things stood; the first question lets them happen."""
        return await self._history.at(name)

    def restore(self, name: str, run: DataKeyRun) -> None:
        """Tell a data key whose world was restored what the tests know of its past."""
        past = self._runs[name]
        for member, storage in run.storages.items():
            storage.kept = dict(past.storages[member].kept)
        run.patients, run.commitments = list(past.patients), dict(past.commitments)
        run.digest = past.digest

    async def _keep(self, run: DataKeyRun, name: str, keep: Keep) -> None:
        storages = {member: storage.copy() for member, storage in run.storages.items()}
        self._runs[name] = replace(run, storages=storages, commitments=dict(run.commitments))
        await keep(run.study, name)

    async def _happen(self, study: StudyRun, keep: Keep) -> None:
        async with a_key_run(study, self._made, self._make_wallet) as run, beating(study.world):
            run.propose()
            await run.put_text()
            for rows in patients_rows():
                run.a_patient(**rows)
            await run.enrol_all()
            run.give_key()
            await self._keep(run, "enrolled", keep)
            await run.fix()
            await self._keep(run, "fixed", keep)
            await run.verify()
            await self._keep(run, "verified", keep)
            await run.study.done(run.open_order())
            await self._keep(run, "ready", keep)


def patients_rows() -> list[dict[str, tuple[float, float]]]:
    """Return the patients' rows: COMMON of hospital-a and b first, the first of them of c too.

    Then one of c alone, one of a alone, one whose age at a is not plausible, and one of b alone.
    """
    numbers = np.random.default_rng(6)
    ages = numbers.integers(20, 90, COMMON - 2)
    at_b = numbers.integers(18 * 256, 40 * 256, COMMON - 2) / 256
    return [
        {"a": (50.0, 24.0), "b": (50.0, 31.5), "c": (50.0, 22.25)},
        {"a": (77.0, 30.0), "b": (77.0, 18.5)},
        *(
            {"a": (float(age), 25.0), "b": (float(age), float(bmi))}
            for age, bmi in zip(ages, at_b, strict=True)
        ),
        {"c": (70.0, 22.25)},
        {"a": (33.0, 20.0)},
        {"a": (200.0, 20.0), "b": (44.0, 33.0)},
        {"b": (66.0, 31.5)},
    ]


@pytest.fixture(scope="session")
def key_history(a_history: MakeHistory, made_key: MadeKey, a_wallet: MakeWallet) -> KeyHistory:
    return KeyHistory(a_history, made_key, a_wallet)


def begins(request: pytest.FixtureRequest) -> str:
    """Return the moment at which a test begins, or ""."""
    marker = request.node.get_closest_marker("begins")
    return "" if marker is None else marker.args[0]


@pytest.fixture
async def beginning(request: pytest.FixtureRequest, key_history: KeyHistory) -> Moment | None:
    """Where the test begins, if not at the beginning."""
    moment = begins(request)
    return await key_history.at(moment) if moment else None


@pytest.fixture
async def run(
    study: StudyRun,
    made_key: MadeKey,
    a_wallet: MakeWallet,
    request: pytest.FixtureRequest,
    key_history: KeyHistory,
) -> AsyncGenerator[DataKeyRun]:
    """A data key that nobody has proposed yet, unless the test begins later."""
    async with a_key_run(study, made_key, a_wallet) as made:
        if moment := begins(request):
            key_history.restore(moment, made)
        yield made


@pytest.fixture
async def living(run: DataKeyRun) -> AsyncIterator[DataKeyRun]:
    """A data key on a chain that makes blocks although nothing happens."""
    async with beating(run.world):
        yield run
