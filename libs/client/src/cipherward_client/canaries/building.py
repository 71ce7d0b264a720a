"""Making the scenes with the calls that everybody makes, and erasing those of the day before."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

import structlog

from cipherward_chain.sealing import SealingKey
from cipherward_client.canaries.memory import Memory
from cipherward_client.canaries.scenes import Opening, Scenes
from cipherward_client.canaries.stage import Stage
from cipherward_client.sdk.consents import ConsentTerms, grant_consent, revoke_consent
from cipherward_client.sdk.downloads import Download
from cipherward_client.sdk.erasures import erase_record
from cipherward_client.sdk.errors import ActRefused, ClientError, explaining
from cipherward_client.sdk.proven_orders import orders_of
from cipherward_client.sdk.records import OWNERS_PURPOSE, WalletOwner, ask_to_open, put_record
from cipherward_client.sdk.release_orders import release_of
from cipherward_client.wallet.scopes import record_scope
from cipherward_client.wallet.wallet import Wallet

# A letter, a day's results, a patient's summary: each record is up to twice as long.
RECORD_BYTES = (3_000, 24_000, 180_000)
# Ordinary values of an ordinary consent.
CONSENT_SECONDS, VISIT_SECONDS = 30 * 86_400, 3_600
# The longest visit that a consent allows: the release that stands stands all day.
LONGEST_VISIT_SECONDS = 86_400
SCENES_SECONDS = 86_400

PURPOSE, OTHER_PURPOSE = "TREAT", "HPAYMT"  # what a consent allows, and what is asked for

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def over(scenes: Scenes | None, stage: Stage) -> bool:
    """Say whether new scenes are due: these are a day old, or the clinician has a new key."""
    if scenes is None or scenes.epoch != stage.holder.epoch():
        return True
    return stage.holder.now() >= scenes.made + SCENES_SECONDS


async def build_scenes(stage: Stage, expiry_seconds: int) -> None:
    """Make new scenes and remember them; then have the records of older ones erased.

    Args:
        expiry_seconds: how long the consent lasts whose end is asked about.

    Raises:
        ClientError: a step was refused or a service is away; what was made is erased later.
    """
    with explaining():
        await stage.cast()
        scenes = await _Builder(stage, await stage.duty()).scenes(expiry_seconds)
    stage.memory.scenes = scenes
    await stage.memory.save()


async def erase_left_over(stage: Stage) -> None:
    """Have the records erased that no scene is about; what fails is tried again after a round."""
    memory = stage.memory
    for owner, record_id in memory.left_over():
        try:
            await erase_record(stage.holder, owner, record_id)
        except ActRefused:
            pass  # it is erased, or was never anchored
        except ClientError as error:
            log.warning("canary_erasure_put_off", reason=error.reason)
            continue
        forget(owner, record_id)
        await memory.save()


def forget(owner: Wallet, record_id: bytes) -> None:
    """Take a record and its consents out of a wallet."""
    owner.records.pop(record_id, None)
    owner.registered.pop(record_scope(record_id), None)
    for grant in [g for g in owner.grants.values() if g.record_id == record_id]:
        del owner.grants[grant.grant_id]


@dataclass(frozen=True, slots=True)
class _Builder:
    stage: Stage
    scope: str  # of the clinician

    @property
    def _memory(self) -> Memory:
        return self.stage.memory

    @property
    def _member(self) -> str:
        return self.stage.hospital.member

    async def scenes(self, expiry_seconds: int) -> Scenes:
        holder, (first, second) = self.stage.holder, self._memory.patients
        epoch = holder.epoch()
        clinician = self._memory.clinician.public_key(self.scope)
        shown = await self._put(first)
        somebody_else = second.public_key(record_scope(shown))  # registered by nobody
        all_day = self._terms(shown, somebody_else, visit_seconds=LONGEST_VISIT_SECONDS)
        standing = await self._opened(first, first, all_day)
        narrow = await self._granted(first, self._terms(shown, clinician))
        foreign = await self._foreign(first, shown)
        ended = await self._put(second)
        revoked = await self._opened(second, self._memory.clinician, self._terms(ended, clinician))
        await revoke_consent(holder, second, revoked.grant_id)
        expires = int(holder.now()) + expiry_seconds
        short = self._terms(ended, clinician, expires=expires)
        expired = await self._opened(second, self._memory.clinician, short)
        gone = await self._put(first)
        erased = await self._opened(first, self._memory.clinician, self._terms(gone, clinician))
        await erase_record(holder, first, gone)
        forget(first, gone)
        made = int(holder.now())
        return Scenes(
            epoch, made, self.scope, standing, foreign, narrow, revoked, expired, expires, erased
        )

    async def _put(self, patient: Wallet) -> bytes:
        size = secrets.choice(RECORD_BYTES)
        content = secrets.token_bytes(size + secrets.randbelow(size))
        owner = WalletOwner(self.stage.holder, patient)
        receipt = await put_record(self.stage.hospital, content, owner)
        await self._memory.save()  # a run that is cut off here finds it and has it erased
        return receipt.record_id

    def _terms(
        self, record_id: bytes, key: bytes, *, expires: int = 0, visit_seconds: int = VISIT_SECONDS
    ) -> ConsentTerms:
        """Return ordinary terms for whoever has a registered key of this member."""
        return ConsentTerms(
            record_id,
            self._member,
            expires or int(self.stage.holder.now()) + CONSENT_SECONDS,
            grantee_key=key,
            purposes=(PURPOSE,),
            visit_seconds=visit_seconds,
        )

    async def _granted(self, patient: Wallet, terms: ConsentTerms) -> bytes:
        return (await grant_consent(self.stage.holder, patient, terms)).grant_id

    async def _foreign(self, patient: Wallet, record_id: bytes) -> bytes:
        """Return a consent for the staff of another member, or nothing if there is none."""
        others = [member for member in self.stage.holder.present if member != self._member]
        if not others:
            return b""
        expires = int(self.stage.holder.now()) + CONSENT_SECONDS
        terms = ConsentTerms(record_id, secrets.choice(others), expires, purposes=(PURPOSE,))
        return await self._granted(patient, terms)

    async def _opened(self, owner: Wallet, reader: Wallet, terms: ConsentTerms) -> Opening:
        """Grant a consent, open the record under it, fetch it, and return the opening."""
        holder, record_id = self.stage.holder, terms.record_id
        grant_id = await self._granted(owner, terms)
        purpose = OWNERS_PURPOSE if reader is owner else PURPOSE
        key = await asyncio.to_thread(SealingKey.generate)
        asked = await ask_to_open(holder, reader, record_id, grant_id, key, purpose=purpose)
        orders = await orders_of(holder, asked.act)
        release = release_of(orders, record_id, asked.signer.public_key, key.public_key)
        await Download(holder, release, asked.signer, key).record()
        scope = record_scope(record_id) if reader is owner else self.scope
        return Opening(record_id, grant_id, release.order, scope, release.guardians)
