"""A patient's record through a running member, from the desk to the end of a consent.

Every step is a call that everybody makes, with synthetic people and random content; the record is
erased at the end, whatever came of the trial.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cipherward_chain.acts import parse_anchor
from cipherward_chain.receipts import verify_receipt
from cipherward_chain.sealing import SealingKey
from cipherward_client.alliance.shared_keys import WINDOW_BLOCKS
from cipherward_client.canaries.building import PURPOSE, VISIT_SECONDS
from cipherward_client.canaries.stage import Stage
from cipherward_client.canaries.watch import CANARIES
from cipherward_client.sdk.ceremonies import ensure_group_keys
from cipherward_client.sdk.consents import ConsentTerms, grant_consent, revoke_consent
from cipherward_client.sdk.downloads import Download
from cipherward_client.sdk.erasures import erase_record
from cipherward_client.sdk.errors import ActRefused, ClientError, explaining
from cipherward_client.sdk.proven_orders import orders_of
from cipherward_client.sdk.records import (
    AskedToOpen,
    RecordReceipt,
    WalletOwner,
    ask_to_open,
    put_record,
)
from cipherward_client.sdk.release_orders import release_of
from cipherward_client.sdk.releases import SharesMissing
from cipherward_client.wallet.scopes import record_scope

RECORD_BYTES = 4_096  # a letter
CONSENT_SECONDS = 3_600  # longer than any trial; the record is erased long before
HEALTH_SECONDS = 10.0  # the canaries' process may just have started
ERASE_SECONDS = 10.0  # of a trial that has failed: one transaction
# A storage learns of an end with its next block, within milliseconds on an idle machine.
LOOK_SECONDS = 0.25
DENIED, ENDED = "POLICY_DENIED", "RELEASE_ENDED"  # the right reasons


class TrialFailed(Exception):
    """A step came to something else than it must; the text says to what."""


class Steps:
    """Which steps were taken, and which one failed first (empty: none)."""

    def __init__(self, tell: Callable[[str, float], None]) -> None:
        """Begin; `tell` is given what has succeeded, and its seconds."""
        self._tell = tell
        self.failed = ""

    @contextmanager
    def step(self, what: str) -> Generator[None]:
        """Take a step."""
        started = time.monotonic()
        try:
            yield
        except BaseException:  # a deadline that is over is a cancellation in here
            self.failed = self.failed or what
            raise
        self._tell(what, time.monotonic() - started)


async def run_trial(stage: Stage, canary_health: str | None, steps: Steps) -> None:
    """Take every step.

    Args:
        canary_health: where the member's canaries answer, or None.
        steps: told of each.

    Raises:
        TrialFailed: something was given that must be refused, or the other way round.
        ClientError: a service refused or is away.
    """
    if len(stage.hospital.alliance.members) == 1:  # nobody else has a vote, nor a share
        with steps.step("shared keys there"):
            await ensure_group_keys([stage.hospital], window=WINDOW_BLOCKS)
    with steps.step("people admitted, duty registered"):
        await stage.cast()
        scope = await stage.duty()
    async with _record(stage, steps) as stored:
        trial = _Trial(stage, scope, stored.content, stored.receipt)
        with steps.step("receipt of the record verified"):
            trial.check_receipt()
        with steps.step("refused without consent"):
            await trial.refused_without_consent()
        with steps.step("opened with consent"):
            opened = await trial.opened_with_consent()
        with steps.step("refused after the consent was revoked"):
            await trial.refused_after_revocation(opened)
    if canary_health is not None:
        with steps.step("deny canaries run, and nothing that they asked for was given"):
            await _require_quiet(canary_health)


async def _require_quiet(canary_health: str) -> None:
    """Ask the canaries; one that has no records yet to ask about is quiet, and starts soon."""
    request = health_pb2.HealthCheckRequest(service=CANARIES)
    async with aio.insecure_channel(canary_health) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)  # grpc ships no types for it
        with explaining():
            answer = await health.Check(request, timeout=HEALTH_SECONDS, wait_for_ready=True)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise TrialFailed("they were given what must be refused: their log says on which paths")


@dataclass(frozen=True, slots=True)
class _Stored:
    content: bytes
    receipt: RecordReceipt


@dataclass(frozen=True, slots=True)
class _Opened:
    """A consent under which a record was opened, and the same download once more."""

    grant_id: bytes
    download: Callable[[], Download]


@asynccontextmanager
async def _record(stage: Stage, steps: Steps) -> AsyncGenerator[_Stored]:
    """Store a record; erase it at the end."""
    patient = stage.memory.patients[0]
    content = secrets.token_bytes(RECORD_BYTES)
    with steps.step("record stored"):
        receipt = await put_record(stage.hospital, content, WalletOwner(stage.holder, patient))
    try:
        yield _Stored(content, receipt)
    except BaseException:
        with suppress(ClientError, TimeoutError):  # the trial has failed already
            async with asyncio.timeout(ERASE_SECONDS):
                await erase_record(stage.holder, patient, receipt.record_id)
        raise
    with steps.step("record erased"):
        await erase_record(stage.holder, patient, receipt.record_id)


@dataclass(frozen=True, slots=True)
class _Trial:
    stage: Stage
    scope: str  # of the clinician
    content: bytes
    receipt: RecordReceipt

    def check_receipt(self) -> None:
        """Verify the anchor's receipt against the genesis alone."""
        with explaining():
            verified = verify_receipt(self.receipt.act.receipt, self.stage.holder.trust_root)
            act = verified.transaction.body.acts[0].anchor_record
            anchored = parse_anchor(act.anchor).record_id
        if anchored != self.receipt.record_id:
            raise TrialFailed("the receipt proves another record than was stored")

    async def refused_without_consent(self) -> None:
        """Have the clinician ask under a consent for somebody else."""
        somebody_else = self.stage.memory.patients[1].public_key(self._records_scope)
        grant_id = await self._grant(somebody_else)
        key = await asyncio.to_thread(SealingKey.generate)
        try:
            await self._ask(grant_id, key)
        except ActRefused as refused:
            if refused.reason != DENIED:
                raise
        else:
            raise TrialFailed("the record was opened without a consent for who opened it")

    async def opened_with_consent(self) -> _Opened:
        """Have the clinician open the record under a consent of its own, and read it."""
        grant_id = await self._grant(self.stage.memory.clinician.public_key(self.scope))
        key = await asyncio.to_thread(SealingKey.generate)
        asked = await self._ask(grant_id, key)
        holder = self.stage.holder
        with explaining():
            release = release_of(
                await orders_of(holder, asked.act),
                self.receipt.record_id,
                asked.signer.public_key,
                key.public_key,
            )
        opened = _Opened(grant_id, lambda: Download(holder, release, asked.signer, key))
        if (await opened.download().record()).content != self.content:
            raise TrialFailed("the record opened to something else than was stored")
        return opened

    async def refused_after_revocation(self, opened: _Opened) -> None:
        """Revoke the consent, and download again until the storages know of it."""
        await revoke_consent(self.stage.holder, self.stage.memory.patients[0], opened.grant_id)
        while True:
            try:
                await opened.download().record()
            except ClientError as refused:
                if refused.reason == ENDED:
                    return
                if refused.reason != SharesMissing.reason:  # guardians know of it, not all yet
                    raise
            await asyncio.sleep(LOOK_SECONDS)  # the deadline of the trial ends it

    @property
    def _records_scope(self) -> str:
        return record_scope(self.receipt.record_id)

    async def _grant(self, grantee_key: bytes) -> bytes:
        terms = ConsentTerms(
            self.receipt.record_id,
            self.stage.hospital.member,
            int(self.stage.holder.now()) + CONSENT_SECONDS,
            grantee_key=grantee_key,
            purposes=(PURPOSE,),
            visit_seconds=VISIT_SECONDS,
        )
        patient = self.stage.memory.patients[0]
        return (await grant_consent(self.stage.holder, patient, terms)).grant_id

    async def _ask(self, grant_id: bytes, key: SealingKey) -> AskedToOpen:
        stage, record_id = self.stage, self.receipt.record_id
        return await ask_to_open(
            stage.holder, stage.memory.clinician, record_id, grant_id, key, purpose=PURPOSE
        )
