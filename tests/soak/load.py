"""Load for an alliance that is being killed, and the memory of all that it acknowledged."""

from __future__ import annotations

import asyncio
import hashlib
import random
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field

from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.acts import ID_BYTES
from cipherward_chain.feed import GrpcBlockFeed
from cipherward_chain.light import LightClient, VerifiedBlock
from cipherward_chain.results import TransactionResult
from cipherward_chain.transactions import parse_transaction
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.consents import TEMPLATE, VERSION, ConsentTerms, grant_consent
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.sdk.ledger import Submitter
from cipherward_client.sdk.records import WalletOwner, get_record, put_record
from cipherward_client.wallet.scopes import record_scope
from cipherward_client.wallet.wallet import Wallet

BATCH, WRITERS = 20, 2
CALL_SECONDS = 10.0
# Between one writer's batches, and its records: enough to be caught in the middle of, and little
# enough that everything can be asked for again at the end.
PAUSE_SECONDS, RECORD_PAUSE_SECONDS = 0.15, 0.5
RECORD_BYTES_MAX = 400_000
IDLE_SECONDS = 30.0
OWN_SECONDS = 3_600


@dataclass(slots=True)
class Chain:
    """The chain as one client followed it, over all kills: a fork would be refused."""

    client: LightClient
    blocks: list[VerifiedBlock] = field(default_factory=list[VerifiedBlock])
    applied: dict[bytes, bool] = field(default_factory=dict[bytes, bool])  # by transaction id
    twice: list[bytes] = field(default_factory=list[bytes])

    async def follow(self, alliance: Alliance) -> None:
        """Verify block after block, for ever."""
        channel = alliance.channel(alliance.endpoints.ledger_member, "ledger")
        async with aclosing(GrpcBlockFeed(channel, IDLE_SECONDS).blocks_from(1)) as blocks:
            async for block in blocks:
                self.take(self.client.accept(block))

    def take(self, block: VerifiedBlock) -> None:
        """Remember a block."""
        self.blocks.append(block)
        for raw, result in zip(block.transactions, block.results, strict=True):
            name = parse_transaction(raw).id
            if name in self.applied:
                self.twice.append(name)
            self.applied[name] = TransactionResult.from_bytes(result).applied


@dataclass(frozen=True, slots=True)
class Kept:
    """A record whose storing was acknowledged."""

    owner: Wallet
    record_id: bytes
    digest: bytes


@dataclass(slots=True)
class Load:
    """Writers of transactions and of records; `stop` ends them."""

    alliance: Alliance
    hospitals: list[Hospital]
    chain: Chain
    acknowledged: set[bytes] = field(default_factory=set[bytes])
    records: list[Kept] = field(default_factory=list[Kept])
    interrupted: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def patient(self, hospital: Hospital) -> Wallet:
        """Return the wallet of a patient of the hospital."""
        wallet = Wallet.create(self.alliance.chain_id)
        code = await admit_holder(hospital)
        await obtain_credential(self.alliance, wallet, hospital.member, code)
        return wallet

    async def write_consents(self, owner: Wallet, record_id: bytes) -> None:
        """Submit batches of consents; one without an answer may or may not be admitted."""
        while not self.stop.is_set():
            batch = await asyncio.to_thread(self._consents, owner, record_id)
            request = pb.SubmitBatchRequest(transactions=batch)
            try:
                answer = await self.alliance.ledger.SubmitBatch(request, timeout=CALL_SECONDS)
                self.acknowledged.update(v.transaction_id for v in answer.verdicts if not v.reason)
            except aio.AioRpcError:
                self.interrupted += 1
            await asyncio.sleep(PAUSE_SECONDS)

    def _consents(self, owner: Wallet, record_id: bytes) -> list[bytes]:
        signer = owner.signer(record_scope(record_id))
        expires = int(time.time()) + OWN_SECONDS
        terms = ConsentTerms(record_id, "hospital-b", expires).to_bytes()
        return [
            Submitter(self.alliance).build(
                [
                    chain_pb.Act(
                        instantiate=chain_pb.Instantiate(
                            template=TEMPLATE,
                            version=VERSION,
                            instance_id=secrets.token_bytes(ID_BYTES),
                            terms=terms,
                        )
                    )
                ],
                signer,
            )
            for _ in range(BATCH)
        ]

    async def write_records(self, hospital: Hospital, seed: int) -> None:
        """Store records of many sizes, one after another."""
        choose = random.Random(seed)  # noqa: S311 - sizes, so that a failure repeats
        owner: Wallet | None = None
        while not self.stop.is_set():
            content = secrets.token_bytes(choose.randrange(1, RECORD_BYTES_MAX))
            try:
                owner = owner or await self.patient(hospital)
                stored = await put_record(hospital, content, WalletOwner(self.alliance, owner))
            except ClientError:
                self.interrupted += 1
                continue
            self.records.append(Kept(owner, stored.record_id, hashlib.sha256(content).digest()))
            await asyncio.sleep(RECORD_PAUSE_SECONDS)

    async def reopened(self, kept: Kept) -> bool:
        """Return whether the owner gets a record's own bytes."""
        key = kept.owner.public_key(record_scope(kept.record_id))
        expires = int(time.time()) + OWN_SECONDS
        terms = ConsentTerms(kept.record_id, "", expires, grantee_key=key, purposes=("PATRQT",))
        grant = await grant_consent(self.alliance, kept.owner, terms)
        opened = await get_record(self.alliance, kept.owner, kept.record_id, grant.grant_id)
        return hashlib.sha256(opened.content).digest() == kept.digest


@asynccontextmanager
async def under_load(folder: AllianceFolder, seed: int) -> AsyncGenerator[Load]:
    """Keep writers at work, and the chain followed, until `stop` is set.

    Inside, writers that meet a dead process try again; anything else that goes wrong ends the test.
    """
    async with AsyncExitStack() as stack:
        opened = Alliance.open(folder.endpoints_file, folder.genesis_file)
        alliance = await stack.enter_async_context(opened)
        hospitals = [
            await stack.enter_async_context(open_hospital(folder, member))
            for member in alliance.genesis.members
        ]
        load = Load(alliance, hospitals, Chain(LightClient(alliance.trust_root)))
        owner = await load.patient(hospitals[0])
        first = await put_record(hospitals[0], b"the first", WalletOwner(alliance, owner))
        async with asyncio.TaskGroup() as group:
            following = group.create_task(load.chain.follow(hospitals[0].alliance))
            async with asyncio.TaskGroup() as writers:
                for _ in range(WRITERS):
                    writers.create_task(load.write_consents(owner, first.record_id))
                for number, hospital in enumerate(hospitals):
                    writers.create_task(load.write_records(hospital, seed + number))
                try:
                    yield load
                finally:
                    load.stop.set()
            following.cancel()
