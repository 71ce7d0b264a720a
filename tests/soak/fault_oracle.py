"""What an alliance acknowledged while parts of it failed, and whether all of it is true.

Acts are handed to every member's own ledger all the time, and records put now and then. Whatever a
ledger acknowledged must be in the chain once, as each member's own ledger proves it.
"""

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
from cipherward_chain.light import LightClient
from cipherward_chain.receipts import verify_receipt
from cipherward_chain.wire import exact_bytes
from cipherward_client.alliance.shared_keys import ensure_shared_keys
from cipherward_client.sdk.consents import TEMPLATE, VERSION, ConsentTerms, grant_consent
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.sdk.ledger import Submitter
from cipherward_client.sdk.records import WalletOwner, get_record, put_record
from cipherward_client.wallet.scopes import record_scope
from cipherward_client.wallet.wallet import Wallet
from tests.soak.dev_alliance import until
from tests.soak.fault_scene import FRESH_SECONDS, RECOVERY_SECONDS, Scene
from tests.soak.fault_state import one_state
from tests.soak.fault_view import View

ACTS = 3  # one submission's, at one ledger
PAUSE_SECONDS = 0.6  # between a ledger's submissions: some twenty acts a second in all
RECORD_PAUSE_SECONDS = 3.0
RECORD_BYTES_MAX = 100_000
RECORD_SECONDS = 30.0  # of one record; where a part of its way is down it is given up
CALL_SECONDS = 10.0
POLL_SECONDS = 0.1
RECEIPTS_AT_ONCE = 16
OWN_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Kept:
    """A record whose storing was acknowledged, and by whose hospital."""

    member: str
    owner: Wallet
    record_id: bytes
    digest: bytes


@dataclass(slots=True)
class Oracle:
    """Load on an alliance, and the memory of all that was acknowledged.

    acknowledged: whose ledger admitted an act, by its id. records: those that were stored.
    arrivals: when (monotonic seconds) each new height was first proven by anybody.
    """

    scene: Scene
    hospitals: dict[str, Hospital]
    views: dict[str, View]
    owner: Wallet
    record_id: bytes
    acknowledged: dict[bytes, str] = field(default_factory=dict[bytes, str])
    checked: set[bytes] = field(default_factory=set[bytes])
    records: list[Kept] = field(default_factory=list[Kept])
    arrivals: list[float] = field(default_factory=list[float])
    interrupted: int = 0
    paused: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def height(self) -> int:
        """The newest height that any member's ledger has proven."""
        return len(self.arrivals)

    async def follow(self, member: str) -> None:
        """Verify what a member's ledger proves, for ever."""
        hospital, view = self.hospitals[member], self.views[member]
        channel = hospital.alliance.channel(member, "ledger")
        async with aclosing(GrpcBlockFeed(channel, 2 * FRESH_SECONDS).blocks_from(1)) as blocks:
            async for raw in blocks:
                block = view.client.accept(raw)
                view.take(block)
                if block.height > self.height:
                    self.arrivals.append(time.monotonic())

    def consents(self, count: int) -> list[bytes]:
        """Return so many signed acts, each another contract. Some milliseconds."""
        alliance = self.hospitals[self.scene.members[0]].alliance
        signer = self.owner.signer(record_scope(self.record_id))
        expires = int(time.time()) + OWN_SECONDS
        terms = ConsentTerms(self.record_id, self.scene.members[1], expires).to_bytes()

        def consent() -> chain_pb.Act:
            return chain_pb.Act(
                instantiate=chain_pb.Instantiate(
                    template=TEMPLATE,
                    version=VERSION,
                    instance_id=secrets.token_bytes(ID_BYTES),
                    terms=terms,
                )
            )

        return [Submitter(alliance).build([consent()], signer) for _ in range(count)]

    async def submit(self, member: str, count: int) -> list[bytes]:
        """Hand acts to a member's own ledger; return the ids of those that it acknowledged.

        Raises:
            AioRpcError: it gave no answer: they may or may not be in the chain.
        """
        batch = await asyncio.to_thread(self.consents, count)
        ledger = self.hospitals[member].alliance.ledger_of(member)
        request = pb.SubmitBatchRequest(transactions=batch)
        answer = await ledger.SubmitBatch(request, timeout=CALL_SECONDS)
        admitted = [one.transaction_id for one in answer.verdicts if not one.reason]
        self.acknowledged.update(dict.fromkeys(admitted, member))
        return admitted

    async def write(self, member: str) -> None:
        """Hand acts to a member's ledger until `stop`."""
        while not self.stop.is_set():
            if not self.paused.is_set():
                try:
                    await self.submit(member, ACTS)
                except aio.AioRpcError:
                    self.interrupted += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def write_records(self, seed: int) -> None:
        """Put records at one hospital after another until `stop`."""
        choose = random.Random(seed)  # noqa: S311 - sizes, so that a failure repeats
        number = 0
        while not self.stop.is_set():
            if not self.paused.is_set():
                member = self.scene.members[number % len(self.scene.members)]
                number += 1
                try:
                    async with asyncio.timeout(RECORD_SECONDS):
                        await self.put(member, choose.randrange(1, RECORD_BYTES_MAX))
                except (ClientError, TimeoutError):
                    self.interrupted += 1
            await asyncio.sleep(RECORD_PAUSE_SECONDS)

    async def put(self, member: str, size: int) -> Kept:
        """Have a new patient's record stored at a hospital."""
        hospital = self.hospitals[member]
        wallet = Wallet.create(hospital.alliance.chain_id)
        code = await admit_holder(hospital)
        await obtain_credential(hospital.alliance, wallet, member, code)
        content = secrets.token_bytes(size)
        stored = await put_record(hospital, content, WalletOwner(hospital.alliance, wallet))
        kept = Kept(member, wallet, stored.record_id, hashlib.sha256(content).digest())
        self.records.append(kept)
        return kept

    async def reopened(self, kept: Kept) -> bool:
        """Return whether the owner gets a record's own bytes."""
        alliance = self.hospitals[kept.member].alliance
        key = kept.owner.public_key(record_scope(kept.record_id))
        expires = int(time.time()) + OWN_SECONDS
        terms = ConsentTerms(kept.record_id, "", expires, grantee_key=key, purposes=("PATRQT",))
        grant = await grant_consent(alliance, kept.owner, terms)
        opened = await get_record(alliance, kept.owner, kept.record_id, grant.grant_id)
        return hashlib.sha256(opened.content).digest() == kept.digest

    async def committed(self, member: str) -> float:
        """Return the seconds until an act that a member's ledger took is proven by that ledger."""
        began = time.monotonic()
        async with asyncio.timeout(RECOVERY_SECONDS):
            while True:
                try:
                    (name,) = await self.submit(member, 1) or [b""]
                    if name:
                        await self.receipt(member, name)
                        return time.monotonic() - began
                except aio.AioRpcError:
                    await asyncio.sleep(POLL_SECONDS)

    async def receipt(self, member: str, name: bytes) -> int:
        """Return the height that a member's ledger proves an applied act to be in."""
        alliance = self.hospitals[member].alliance
        request = pb.GetReceiptRequest(transaction_id=name, wait=True)
        answer = await alliance.ledger_of(member).GetReceipt(request, timeout=CALL_SECONDS)
        verified = verify_receipt(exact_bytes(answer.receipt), alliance.trust_root)
        assert verified.transaction.id == name
        assert verified.result.applied, verified.result.reason
        return verified.height

    async def settled(self) -> tuple[int, bytes]:
        """Hold everything acknowledged so far against all members' chains.

        Returns:
            (height, app hash) that every member's contract has committed.
        """
        self.paused.set()
        try:
            await self._everywhere()
            await self._receipts_of_others()
            self._nothing_twice()
            return await one_state(self.scene)
        finally:
            self.paused.clear()

    async def _everywhere(self) -> None:
        wanted = set(self.acknowledged)
        for member, view in self.views.items():
            await until(
                lambda view=view: view.applied.keys() >= wanted,
                RECOVERY_SECONDS,
                f"the chain of {member} lacks acknowledged acts",
            )
            refused = {view.refused[name] for name in wanted if not view.applied[name]}
            assert not refused, f"{member} refused acknowledged acts: {refused}"

    async def _receipts_of_others(self) -> None:
        """Each new act's receipt verifies as another member's ledger gives it."""
        places, members = asyncio.Semaphore(RECEIPTS_AT_ONCE), self.scene.members

        async def check(name: bytes) -> None:
            other = members[(members.index(self.acknowledged[name]) + 1) % len(members)]
            async with places:
                await self.receipt(other, name)

        new = [name for name in self.acknowledged if name not in self.checked]
        async with asyncio.TaskGroup() as group:
            for name in new:
                group.create_task(check(name))
        self.checked.update(new)

    def _nothing_twice(self) -> None:
        shortest = min(len(view.blocks) for view in self.views.values())
        hashes = {view.blocks[shortest - 1].header_hash for view in self.views.values()}
        assert len(hashes) == 1, "the members' chains differ"
        for member, view in self.views.items():
            assert not [order for order, count in view.reports.items() if count > 1], member


@asynccontextmanager
async def under_acts(scene: Scene, seed: int) -> AsyncGenerator[Oracle]:
    """Keep acts and records coming, and every member's chain followed, while the context is open.

    Whoever meets a dead process tries again; anything else that goes wrong ends the test.
    """
    async with AsyncExitStack() as stack:
        hospitals = {
            member: await stack.enter_async_context(open_hospital(scene.folder, member))
            for member in scene.members
        }
        await ensure_shared_keys(scene.folder, scene.members)
        first = hospitals[scene.members[0]]
        owner = Wallet.create(first.alliance.chain_id)
        code = await admit_holder(first)
        await obtain_credential(first.alliance, owner, first.member, code)
        record = await put_record(first, b"the first", WalletOwner(first.alliance, owner))
        root = first.alliance.trust_root
        views = {member: View(LightClient(root)) for member in scene.members}
        oracle = Oracle(scene, hospitals, views, owner, record.record_id)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(oracle.follow(member)) for member in scene.members]
            tasks += [group.create_task(oracle.write(member)) for member in scene.members]
            tasks.append(group.create_task(oracle.write_records(seed)))
            try:
                yield oracle
            finally:
                oracle.stop.set()
                for task in tasks:
                    task.cancel()
