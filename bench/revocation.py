"""From an owner's revocation to the refusal on every read path, with running downloads cut.

An alliance of four with all its processes. In each round a record is released, a download of it
runs, and its owner revokes. The clock starts before the act is signed, so that its block is in the
figure, and stops when the last path has refused: the custodian's part of the key, every guardian's
share, the ciphertext from its beginning and from where a reader left off, and the download that
ran, whose reader has then taken what was on its way. What a path gives after that fails the round.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from grpc import aio

from bench.results import Row, Spread, Target
from bench.stage import Stage, whole_alliance
from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.sealing import SealingKey
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.consents import ConsentTerms, grant_consent, revoke_consent
from cipherward_client.sdk.proven_orders import orders_of
from cipherward_client.sdk.records import WalletOwner, ask_to_open, put_record
from cipherward_client.sdk.release_orders import Release, release_of, release_read
from cipherward_client.sdk.releases import KeyRelease
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.errors import reason_of

NAMES = MEDIAN, SLOWEST = "revocation", "revocation-slowest"
ROUNDS = 100
CUSTODIAN, READERS = "hospital-a", "hospital-b"
PART_BYTES = 1 << 20
# Far more than is on its way to a reader that has stopped (7 to 31 MiB were seen): the download
# runs when it is cut.
RECORD_BYTES = 96 * PART_BYTES
ENDED = "RELEASE_ENDED"
PAUSE_SECONDS = 0.005  # between two questions on one path: the resolution of the figure
ROUND_SECONDS = 30.0
HOUR_SECONDS = 3600
# One block and a second: a block of a solo chain takes a hundredth of that, so nothing is added.
BOUND_SECONDS = 1.0

Ask = Callable[[], Awaitable[str]]  # answers why it is refused, or "" when something was given


class NotRefused(Exception):
    """A path gave something after it had refused, or refused for another reason."""


def measure(rounds: int = ROUNDS) -> list[Row]:
    """Return the median and the slowest of all rounds."""
    seconds = asyncio.run(_measured(rounds))
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    target = Target(BOUND_SECONDS, at_least=False)
    slowest = Spread(cuts[49], cuts[98], f"median..p99 of {rounds} revocations")
    return [
        Row(MEDIAN, cuts[49], "s", Spread.extremes(seconds, "revocations"), target),
        Row(SLOWEST, max(seconds), "s", slowest, target),
    ]


@dataclass(frozen=True, slots=True)
class _Opening:
    """A record that is released to a reader, which has its key."""

    alliance: Alliance
    release: Release
    signer: PseudonymSigner

    def stream(self, offset: int) -> AsyncIterator[pb.GetRecordResponse]:
        """Begin a download."""
        read = release_read(self.alliance, self.release, self.signer, "GetRecord")
        storage = self.alliance.storage_of(self.release.custodian)
        request = pb.GetRecordRequest(read=read, offset=offset)
        return aiter(storage.GetRecord(request, timeout=ROUND_SECONDS))

    def paths(self) -> Sequence[Ask]:
        """Return a question for each path on which the right is used."""
        guardians = [self._share_of(guardian) for guardian in self.release.guardians]
        return (self._key, *guardians, self._first_of(0), self._first_of(PART_BYTES))

    async def _key(self) -> str:
        read = release_read(self.alliance, self.release, self.signer, "GetReleasedKey")
        storage = self.alliance.storage_of(self.release.custodian)
        request = pb.GetReleasedKeyRequest(read=read)
        return await _told(storage.GetReleasedKey(request, timeout=ROUND_SECONDS))

    def _share_of(self, guardian: str) -> Ask:
        async def ask() -> str:
            read = release_read(self.alliance, self.release, self.signer, "GetGuardianShare")
            storage = self.alliance.storage_of(guardian)
            request = pb.GetGuardianShareRequest(read=read)
            return await _told(storage.GetGuardianShare(request, timeout=ROUND_SECONDS))

        return ask

    def _first_of(self, offset: int) -> Ask:
        async def ask() -> str:
            read = release_read(self.alliance, self.release, self.signer, "GetRecord")
            storage = self.alliance.storage_of(self.release.custodian)
            stream = storage.GetRecord(
                pb.GetRecordRequest(read=read, offset=offset), timeout=ROUND_SECONDS
            )
            try:
                return await _told(stream.read())
            finally:
                stream.cancel()

        return ask


async def _told(call: Awaitable[object]) -> str:
    try:
        await call
    except aio.AioRpcError as error:
        return reason_of(error) or error.code().name
    return ""


async def _measured(rounds: int) -> list[float]:
    async with whole_alliance() as stage:
        patient = await stage.person(CUSTODIAN)
        clinician = await stage.person(READERS, "staff", "clinician")
        owner = WalletOwner(stage.alliance, patient)
        record = await put_record(stage.hospitals[CUSTODIAN], bytes(RECORD_BYTES), owner)
        await _round(stage, patient, clinician, record.record_id)  # connections, pseudonyms
        return [await _round(stage, patient, clinician, record.record_id) for _ in range(rounds)]


async def _round(stage: Stage, patient: Wallet, clinician: Wallet, record_id: bytes) -> float:
    """Release, revoke, and return the seconds until every path has refused."""
    alliance = stage.alliance
    terms = ConsentTerms(record_id, READERS, int(alliance.now()) + HOUR_SECONDS)
    consent = await grant_consent(alliance, patient, terms)
    key = await asyncio.to_thread(SealingKey.generate)
    asked = await ask_to_open(alliance, clinician, record_id, consent.grant_id, key)
    orders = await orders_of(alliance, asked.act)
    release = release_of(orders, record_id, asked.signer.public_key, key.public_key)
    await KeyRelease(alliance, release, asked.signer, key).fetch()
    opening = _Opening(alliance, release, asked.signer)
    if any([await ask() for ask in opening.paths()]):
        raise NotRefused("a path refused before the revocation")
    # On a line of its own: one that has served many downloads holds tens of MiB for its reader.
    async with Alliance.open(stage.folder.endpoints_file, stage.folder.genesis_file) as line:
        running = replace(opening, alliance=line).stream(0)
        await anext(running)
        async with asyncio.timeout(ROUND_SECONDS), asyncio.TaskGroup() as group:
            started = time.perf_counter()
            group.create_task(revoke_consent(alliance, patient, consent.grant_id))
            first, *others = [group.create_task(_refused(ask)) for ask in opening.paths()]
            await first  # the reader goes on when the custodian has refused something else
            cut = await _cut(running)
            refused = [cut, await first, *[await one for one in others]]
    if [await ask() for ask in opening.paths()] != [ENDED] * len(opening.paths()):
        raise NotRefused("a path gave something after the revocation")
    return max(refused) - started


async def _refused(ask: Ask) -> float:
    """Return when a path has refused."""
    while True:
        reason = await ask()
        if reason == ENDED:
            return time.perf_counter()
        if reason:
            raise NotRefused(f"a path refused as {reason}")
        await asyncio.sleep(PAUSE_SECONDS)


async def _cut(running: AsyncIterator[pb.GetRecordResponse]) -> float:
    """Return when a download that ran has ended, before it was whole."""
    given = 0
    try:
        async for response in running:
            given += len(response.part)
    except aio.AioRpcError as error:
        if reason_of(error) == ENDED:
            return time.perf_counter()
        raise
    raise NotRefused(f"a running download was not cut: {given} octets came after the revocation")
