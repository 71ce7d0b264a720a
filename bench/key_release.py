"""A record opened with the members' help: four guardians, three shares.

`key-release` is a running alliance (solo engine, all processes on this machine): from the reader's
proven order to the opened record of 64 KiB, so the custodian's and the guardians' parts, the
download and the checks. `key-release-cpu` is what the library spends for all parties together: the
author's sealing, the custodian's part, three guardians' shares, and the reader who opens them.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import statistics
import time
from dataclasses import dataclass

from bench.results import Row, Spread, Target
from bench.stage import whole_alliance
from cipherward_chain.acts import parse_anchor
from cipherward_chain.release_parts import CUSTODIAN, GUARDIAN
from cipherward_chain.sealing import SealingKey, custodian_place, release_place, share_place
from cipherward_chain.signatures import SigningKey
from cipherward_client.records.parts import ReleasedRecord, SharedSlot
from cipherward_client.records.sealing import (
    Custody,
    RecordOpener,
    SealedRecord,
    label_of,
    seal_record,
)
from cipherward_client.sdk.consents import ConsentTerms, grant_consent
from cipherward_client.sdk.opened import fetch_released
from cipherward_client.sdk.records import WalletOwner, ask_to_open, put_record
from cipherward_client.wallet.scopes import STAFF
from cipherward_member.reports import OrderKey
from cipherward_storage.parts import Parts, Recipient
from cipherward_threshold.group.keys import ThresholdKey
from cipherward_threshold.group.tdh2 import make_share, verify_slot
from cipherward_threshold.group.testing import dealt_key

NAMES = NAME, CPU_NAME = "key-release", "key-release-cpu"
TARGET, CPU_TARGET = Target(0.2, at_least=False), Target(20.0, at_least=False)
MEMBER, READER = "hospital-a", "hospital-b"
RECORD_BYTES = 64 * 1024
RUNS, CPU_RUNS = 30, 100
CHAIN, MEMBERS = "bench", ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
ORDER, READERS_KEY = (7, 0), bytes(32)


def measure() -> list[Row]:
    """Return the rows."""
    seconds = asyncio.run(_measure(RUNS))
    cast = Cast.new()
    spent = [_spent(cast) for _ in range(CPU_RUNS)]
    return [
        Row(NAME, statistics.median(seconds), "s", Spread.deciles(seconds, "openings"), TARGET),
        Row(CPU_NAME, statistics.median(spent), "ms CPU", Spread.deciles(spent), CPU_TARGET),
    ]


async def _measure(runs: int) -> list[float]:
    """Return the seconds of each opening; one before them warms up."""
    found: list[float] = []
    content = secrets.token_bytes(RECORD_BYTES)
    async with whole_alliance() as stage:
        patient = await stage.person(MEMBER)
        clinician = await stage.person(READER, STAFF, "clinician")
        owner = WalletOwner(stage.alliance, patient)
        record = (await put_record(stage.hospitals[MEMBER], content, owner)).record_id
        terms = ConsentTerms(record, READER, int(time.time()) + 3_600, visits_max=runs + 1)
        grant = (await grant_consent(stage.alliance, patient, terms)).grant_id
        for _ in range(runs + 1):
            key = SealingKey.generate()
            asked = await ask_to_open(stage.alliance, clinician, record, grant, key)
            started = time.perf_counter()
            opened = await fetch_released(stage.alliance, asked.act, record, asked.signer, key)
            found.append(time.perf_counter() - started)
            if opened.content != content:
                raise AssertionError("what came back is not what was put")
    return found[1:]


@dataclass(frozen=True, slots=True)
class Cast:
    """The keys of everybody who has a part in a release."""

    shared: ThresholdKey
    shares: tuple[bytes, ...]
    signing: dict[str, SigningKey]
    custodian: SealingKey

    @classmethod
    def new(cls) -> Cast:
        """Make them up."""
        key, shares = dealt_key(chain_id=CHAIN)
        signing = {member: SigningKey(secrets.token_bytes(32)) for member in MEMBERS}
        return cls(key, shares, signing, SealingKey.generate())


def _spent(cast: Cast) -> float:
    """Return the milliseconds of processor time of one record, from its sealing to its opening.

    Sealing hashes in a thread of its own, so it is the whole process's time.
    """
    content = secrets.token_bytes(RECORD_BYTES)
    custody = Custody(CHAIN, MEMBER, MEMBER, cast.custodian.public_key, cast.shared)
    started = time.process_time()
    record = seal_record(custody, content)
    reader_key = SealingKey.generate()
    anchor_digest = hashlib.sha256(record.anchor).digest()
    order_digest = hashlib.sha256(record.record_id).digest()
    to = Recipient(
        OrderKey(*ORDER),
        order_digest,
        record.record_id,
        anchor_digest,
        READERS_KEY,
        reader_key.public_key,
    )
    place = custodian_place(CHAIN, record.record_id, MEMBER)
    part = cast.custodian.open(record.slot, place)
    sealed = Parts(CHAIN, MEMBER, cast.signing[MEMBER]).custodian(part, to)
    shares = {
        member: _share(cast, index, member, record, to)
        for index, member in enumerate(MEMBERS[: cast.shared.threshold], start=1)
    }
    opened = _open(cast, record, to, (reader_key, sealed, shares))
    spent = time.process_time() - started
    if opened != content:
        raise AssertionError("what was opened is not what was sealed")
    return 1000 * spent


def _share(cast: Cast, index: int, member: str, record: SealedRecord, to: Recipient) -> bytes:
    """Return a guardian's part, as it makes one for an order: the slot's checks come first."""
    label = label_of(CHAIN, record.record_id, MEMBER, cast.shared.key_epoch)
    slot = verify_slot(cast.shared, label, record.alliance_slot)
    share = make_share(cast.shared, index, cast.shares[index - 1], slot, to.order_digest)
    return Parts(CHAIN, member, cast.signing[member]).guardian(share, to)


def _open(
    cast: Cast,
    record: SealedRecord,
    to: Recipient,
    given: tuple[SealingKey, bytes, dict[str, bytes]],
) -> bytes:
    """Return the content, as the reader opens it."""
    key, sealed, shares = given
    anchor = parse_anchor(record.anchor)
    released = ReleasedRecord(CHAIN, anchor, to.anchor_digest, to.order_digest)
    opened = key.open(sealed, release_place(CHAIN, record.record_id, ORDER, READERS_KEY))
    mine = released.accept(opened, CUSTODIAN, MEMBER, cast.signing[MEMBER].public_key)
    bodies: dict[int, bytes] = {}
    for index, (member, share) in enumerate(shares.items(), start=1):
        place = share_place(CHAIN, record.record_id, ORDER, member, READERS_KEY)
        part = key.open(share, place)
        public_key = cast.signing[member].public_key
        bodies[index] = released.accept(part, GUARDIAN, member, public_key).body
    slot = SharedSlot(released, record.alliance_slot, cast.shared)
    record_key = slot.record_key(released.custodian_part(mine), bodies)
    opener = RecordOpener(CHAIN, anchor, record_key)
    for piece in record.parts:
        opener.feed(piece)
    return opener.content()
