"""Shared keys: the arithmetic of a record's slot, of its release, and of a ceremony of four.

Processor time of one thread. What a member does itself in a ceremony includes the sealing of its
parts; what is public is done once by every node: the checks of all messages and the key's points.
"""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.results import Row, Spread, Target
from cipherward_chain.sealing import SealInfo, SealingKey, seal
from cipherward_threshold.group.ceremony import phases
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.ceremony.transcript import Completed, Transcript
from cipherward_threshold.group.keys import RECORD, ThresholdKey
from cipherward_threshold.group.tdh2 import (
    Label,
    Slot,
    combine,
    combine_unverified,
    encapsulate,
    make_share,
    verify_share,
    verify_slot,
)
from cipherward_threshold.group.testing import Rehearsal, dealt_key

ENCAPSULATE = "group-encapsulate"
VERIFY_SLOT = "group-verify-slot"
SHARE = "group-share"
VERIFY_SHARE = "group-verify-share"
COMBINE = "group-combine-3-of-4"
COMBINE_VERIFIED = "group-combine-3-of-4-verified"
CEREMONY_OWN = "group-ceremony-4-own"
CEREMONY_PUBLIC = "group-ceremony-4-public"
NAMES = (
    ENCAPSULATE,
    VERIFY_SLOT,
    SHARE,
    VERIFY_SHARE,
    COMBINE,
    COMBINE_VERIFIED,
    CEREMONY_OWN,
    CEREMONY_PUBLIC,
)
# About half as much again as was measured with nothing else running: what a release and a ceremony
# of the whole alliance are held to is measured with them.
MOST_MS = {
    ENCAPSULATE: 2.0,
    VERIFY_SLOT: 1.5,
    SHARE: 2.0,
    VERIFY_SHARE: 1.5,
    COMBINE: 1.0,
    COMBINE_VERIFIED: 5.0,
    CEREMONY_OWN: 15.0,
    CEREMONY_PUBLIC: 20.0,
}
CHAIN, ORDER = "bench", b"order"
CALLS = 100
CEREMONIES = 20
MEMBERS = ("a", "b", "c", "d")


@dataclass(frozen=True, slots=True)
class Release:
    """A slot under a key of four, and the shares of the three that open it."""

    key: ThresholdKey
    label: Label
    slot: Slot
    secret: bytes
    shares: dict[int, bytes]


class _Sealing:
    """The members' own sealing."""

    def __init__(self, secret: bytes) -> None:
        self._key = SealingKey(secret)
        self.public_key = self._key.public_key

    def seal(self, plaintext: bytes, public_key: bytes, place: bytes) -> bytes:
        return seal(plaintext, public_key, SealInfo(CHAIN, place, "ceremony", b""))

    def open(self, sealed: bytes, place: bytes) -> bytes:
        return self._key.open(sealed, SealInfo(CHAIN, place, "ceremony", b""))


def measure() -> list[Row]:
    """Return the rows."""
    one = _release()
    key, slot, shares = one.key, one.slot, one.shares
    calls: dict[str, Callable[[], object]] = {
        ENCAPSULATE: lambda: encapsulate(key, one.label),
        VERIFY_SLOT: lambda: verify_slot(key, one.label, slot.octets),
        SHARE: lambda: make_share(key, 1, one.secret, slot, ORDER),
        VERIFY_SHARE: lambda: verify_share(key, slot, shares[1], ORDER, index=1),
        COMBINE: lambda: combine_unverified(key, slot, shares),
        COMBINE_VERIFIED: lambda: combine(key, slot, shares, ORDER),
    }
    rows = [_row(name, [_spent(call) for _ in range(CALLS)]) for name, call in calls.items()]
    ceremonies = [_ceremony() for _ in range(CEREMONIES)]
    rows.append(_row(CEREMONY_OWN, [own for own, _ in ceremonies]))
    rows.append(_row(CEREMONY_PUBLIC, [public for _, public in ceremonies]))
    return rows


def _release() -> Release:
    key, held = dealt_key(chain_id=CHAIN)
    label = Label(CHAIN, secrets.token_bytes(16), "hospital-a", 1)
    octets, _ = encapsulate(key, label)
    slot = verify_slot(key, label, octets)
    shares = {index: make_share(key, index, held[index - 1], slot, ORDER) for index in (1, 2, 3)}
    return Release(key, label, slot, held[0], shares)


def _ceremony() -> tuple[float, float]:
    """Return the milliseconds of one member's own work in a ceremony, and of the public checks."""
    plan = Plan.new_key(
        chain_id=CHAIN,
        purpose=RECORD,
        ceremony=secrets.token_bytes(16),
        key_epoch=1,
        members=MEMBERS,
        window=2,
    )
    rehearsal = Rehearsal(plan, _Sealing)
    own, bodies = 0.0, list[tuple[int, str, str, bytes]]()
    while rehearsal.transcript.phase != phases.OVER:
        rehearsal.transcript.advance(rehearsal.height + 1)
        started = time.thread_time()
        said = {"a": rehearsal.owed("a")}
        own += time.thread_time() - started
        said |= {name: rehearsal.owed(name) for name in MEMBERS[1:]}
        bodies += [
            (rehearsal.height + 1, sender, kind, body)
            for sender, messages in said.items()
            for kind, body in messages
        ]
        rehearsal.block(said)
    transcript = Transcript(plan, rehearsal.transcript.start)
    started = time.thread_time()
    for height, sender, kind, body in bodies:
        transcript.feed(height, sender, kind, body)
    public = time.thread_time() - started
    if not isinstance(transcript.outcome, Completed):
        raise AssertionError("the ceremony has made no key")
    return 1000 * own, 1000 * public


def _spent(call: Callable[[], object]) -> float:
    started = time.thread_time()
    call()
    return 1000 * (time.thread_time() - started)


def _row(name: str, times: list[float]) -> Row:
    target = Target(MOST_MS[name], at_least=False)
    return Row(name, statistics.median(times), "ms CPU", Spread.deciles(times), target)
