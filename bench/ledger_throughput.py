"""The solo ledger with contract executing: consents and openings, committed and fsynced.

Nine transactions of ten are an owner's consent: an instance of the shipped template with its timer.
The tenth is a clinician's opening of a record under such a consent, decided by Cedar, which orders
the release of a key. Together they have about 500 bytes on average. All are signed by the Ed25519
keys behind registered pseudonyms. A few writers hand over batches and go on when theirs are proven,
so that the load follows the ledger. A transaction is proven when a light client in the writers'
process has verified the block that holds it.

Only ledger, contract and the identity service that registers the owners run.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from bench.results import Row, Spread, Target
from bench.stage import Stage, some_services
from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.acts import (
    DIGEST_BYTES,
    ID_BYTES,
    SUITE_CUSTODIAN_ONLY,
    anchor_record,
    countersign,
)
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.canonical import encode
from cipherward_chain.feed import GrpcBlockFeed
from cipherward_chain.light import LightClient
from cipherward_chain.results import TransactionResult
from cipherward_chain.sealing import SealingKey
from cipherward_chain.transactions import build_transaction
from cipherward_chain.wire import exact_bytes
from cipherward_client.sdk.consents import TEMPLATE, VERSION, ConsentTerms
from cipherward_client.sdk.credentials import register_duty, register_pseudonym
from cipherward_client.sdk.ledger import Submitter
from cipherward_client.wallet.scopes import STAFF, record_scope

NAMES = THROUGHPUT, LATENCY = "ledger-throughput", "ledger-latency"
MEMBER = "hospital-a"
SERVICES = ((MEMBER, "contract"), (MEMBER, "ledger"), (MEMBER, "identity"))
OWNERS = 20  # keys that sign; each owns one record
TRANSACTIONS = 6_000  # a run; about four seconds
RUNS = 5
OPENING_EVERY = 10
BATCH, WRITERS = 50, 8  # 400 on their way at once
EXPIRES_SECONDS = 500
RUN_SECONDS = 120.0
TARGETS = Target(1_500, at_least=True), Target(0.3, at_least=False)


class RefusedUnderLoad(Exception):
    """A transaction of the load was not admitted, or not applied."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A record's owner: the record's id, the owner's registered key, and a consent to MEMBER."""

    record_id: bytes
    signer: PseudonymSigner
    grant_id: bytes


@dataclass(frozen=True, slots=True)
class Signers:
    """Whose keys sign the load; `reader_key` is where the clinician wants keys sealed to."""

    chain_id: str
    owners: Sequence[Owner]
    clinician: PseudonymSigner
    reader_key: bytes


@dataclass(slots=True)
class Proofs:
    """When each transaction was seen proven, by its bytes."""

    at: dict[bytes, float] = field(default_factory=dict[bytes, float])
    waiting: dict[bytes, asyncio.Future[None]] = field(
        default_factory=dict[bytes, asyncio.Future[None]]
    )

    async def follow(self, stage: Stage) -> None:
        """Verify block after block, for ever."""
        alliance = stage.hospitals[MEMBER].alliance  # blocks are for members' systems
        client = LightClient(alliance.trust_root)
        feed = GrpcBlockFeed(alliance.channel(MEMBER, "ledger"), idle_seconds=60.0)
        async with aclosing(feed.blocks_from(1)) as blocks:
            async for block in blocks:
                verified = client.accept(block)
                now = time.perf_counter()
                for raw, result in zip(verified.transactions, verified.results, strict=True):
                    waiting = self.waiting.pop(raw, None)
                    if waiting is None:
                        continue
                    if TransactionResult.from_bytes(result).applied:
                        self.at[raw] = now
                        waiting.set_result(None)
                    else:
                        waiting.set_exception(RefusedUnderLoad("a consent was not applied"))

    async def wait(self, transactions: Sequence[bytes]) -> None:
        """Return once all of them are proven."""
        await asyncio.gather(*(self.waiting[raw] for raw in transactions if raw in self.waiting))

    def expect(self, transactions: Sequence[bytes]) -> None:
        """Look out for them from now on."""
        loop = asyncio.get_running_loop()
        self.waiting.update((raw, loop.create_future()) for raw in transactions)


def measure() -> list[Row]:
    """Return both rows."""
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    rates, medians, latencies = list[float](), list[float](), list[float]()
    async with some_services(SERVICES) as stage:
        signers = await _signers(stage)
        proofs, size = Proofs(), 0.0
        async with asyncio.TaskGroup() as group:
            following = group.create_task(proofs.follow(stage))
            for run in range(RUNS + 1):
                load = await asyncio.to_thread(_load, signers)
                seconds, waits = await _run(stage, load, proofs)
                if run:  # the first one warms up
                    rates.append(TRANSACTIONS / seconds)
                    medians.append(statistics.median(waits))
                    latencies.extend(waits)
                size = statistics.mean(map(len, load))
            following.cancel()
    cuts = statistics.quantiles(latencies, n=10)
    spread = Spread(cuts[0], cuts[-1], f"p10..p90 of {len(latencies)} transactions")
    kind = f"runs, {size:.0f} bytes a transaction"
    return [
        Row(THROUGHPUT, statistics.median(rates), "tx/s", Spread.extremes(rates, kind), TARGETS[0]),
        Row(LATENCY, statistics.median(medians), "s", spread, TARGETS[1]),
    ]


async def _signers(stage: Stage) -> Signers:
    clinician = await stage.person(MEMBER, STAFF, "clinician")
    duty = await register_duty(stage.alliance, clinician, MEMBER)
    return Signers(
        stage.alliance.chain_id,
        [await _owner(stage) for _ in range(OWNERS)],
        clinician.signer(duty),
        SealingKey.generate().public_key,
    )


async def _owner(stage: Stage) -> Owner:
    """Return the owner of a fresh record, with key, anchor and consent; nothing is stored."""
    wallet, hospital = await stage.person(MEMBER), stage.hospitals[MEMBER]
    anchor = _anchor()
    scope = record_scope(anchor.record_id)
    await register_pseudonym(stage.alliance, wallet, scope)
    chain_id, seed = stage.alliance.chain_id, wallet.pseudonym_seed(scope)
    signature = countersign(chain_id, exact_bytes(anchor), seed)
    act = anchor_record(
        anchor, secrets.token_bytes(DIGEST_BYTES), wallet.public_key(scope), signature
    )
    await Submitter(hospital.alliance).submit([act], hospital.signer)
    owner = Owner(anchor.record_id, wallet.signer(scope), secrets.token_bytes(ID_BYTES))
    given = _consent(owner, owner.grant_id, int(time.time()) + 86_400, b"")
    await Submitter(stage.alliance).submit([given], owner.signer)
    return owner


def _anchor() -> chain_pb.RecordAnchor:
    """Return the anchor of a record that nobody has: there is no storage here to keep one."""
    digests = [secrets.token_bytes(DIGEST_BYTES) for _ in range(3)]
    return chain_pb.RecordAnchor(
        record_id=secrets.token_bytes(ID_BYTES),
        ciphertext_digest=digests[0],
        ciphertext_bytes=1_000,
        suite=SUITE_CUSTODIAN_ONLY,
        custodian_part_commitment=digests[1],
        record_key_commitment=digests[2],
        author=MEMBER,
        custodian=MEMBER,
        release_templates=["consent/1"],
    )


def _load(signers: Signers) -> list[bytes]:
    """Return the signed transactions of a run."""
    expires = int(time.time()) + EXPIRES_SECONDS
    found: list[bytes] = []
    for number in range(TRANSACTIONS):
        owner = signers.owners[number // OPENING_EVERY % len(signers.owners)]
        if number % OPENING_EVERY:
            grant_id, key = secrets.token_bytes(ID_BYTES), secrets.token_bytes(32)
            act, signer = _consent(owner, grant_id, expires + 3_600, key), owner.signer
        else:
            act, signer = _opening(owner, signers.reader_key), signers.clinician
        found.append(
            build_transaction([act], chain_id=signers.chain_id, expires_at=expires, signer=signer)
        )
    return found


def _consent(owner: Owner, grant_id: bytes, expires: int, grantee_key: bytes) -> chain_pb.Act:
    terms = ConsentTerms(
        owner.record_id, MEMBER, expires, grantee_key=grantee_key, visits_max=1_000
    )
    return chain_pb.Act(
        instantiate=chain_pb.Instantiate(
            template=TEMPLATE, version=VERSION, instance_id=grant_id, terms=terms.to_bytes()
        )
    )


def _opening(owner: Owner, reader_key: bytes) -> chain_pb.Act:
    arguments = encode({"reader_key": reader_key, "purpose": "TREAT"})
    return chain_pb.Act(
        transition=chain_pb.Transition(
            instance_id=owner.grant_id, transition="open", arguments=arguments
        )
    )


async def _run(stage: Stage, load: Sequence[bytes], proofs: Proofs) -> tuple[float, list[float]]:
    """Return the seconds from the first submission to the last proof, and each one's own."""
    ledger, sent = stage.hospitals[MEMBER].alliance.ledger, dict[bytes, float]()
    batches = [load[at : at + BATCH] for at in range(0, len(load), BATCH)]
    batches.reverse()  # the writers take from the end

    async def write() -> None:
        while batches:
            batch = batches.pop()
            proofs.expect(batch)
            sent.update(dict.fromkeys(batch, time.perf_counter()))
            request = pb.SubmitBatchRequest(transactions=batch)
            answer = await ledger.SubmitBatch(request, timeout=RUN_SECONDS)
            refused = {verdict.reason for verdict in answer.verdicts} - {""}
            if refused:
                raise RefusedUnderLoad(", ".join(sorted(refused)))
            await proofs.wait(batch)

    async with asyncio.timeout(RUN_SECONDS), asyncio.TaskGroup() as writers:
        for _ in range(WRITERS):
            writers.create_task(write())
    waits = [proofs.at[raw] - sent[raw] for raw in load]
    return max(proofs.at[raw] for raw in load) - min(sent.values()), waits
