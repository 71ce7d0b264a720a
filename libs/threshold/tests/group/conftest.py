"""Sealing as members do it, a dealt key with a slot, and ceremonies of four."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import pytest

from cipherward_chain.sealing import SealInfo, SealingKey, seal
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.keys import RECORD, ThresholdKey
from cipherward_threshold.group.tdh2 import (
    Label,
    Slot,
    combine,
    encapsulate,
    make_share,
    verify_slot,
)
from cipherward_threshold.group.testing import Meddling, Rehearsal, dealt_key

CHAIN = "test-chain"
MEMBERS = ("a", "b", "c", "d")
WINDOW = 3


class HybridSealing:
    """The members' own sealing, with its place as the lib gives it."""

    def __init__(self, secret: bytes) -> None:
        self._key = SealingKey(secret)

    @property
    def public_key(self) -> bytes:
        return self._key.public_key

    def seal(self, plaintext: bytes, public_key: bytes, place: bytes) -> bytes:
        return seal(plaintext, public_key, _info(place))

    def open(self, sealed: bytes, place: bytes) -> bytes:
        return self._key.open(sealed, _info(place))


def _info(place: bytes) -> SealInfo:
    return SealInfo(CHAIN, place, "ceremony", b"")


@dataclass(frozen=True, slots=True)
class Dealt:
    """A key of four, three of whom open, and a slot made under it."""

    key: ThresholdKey
    secrets: tuple[bytes, ...]
    slot: Slot
    key_part: bytes

    def shares(self, context: bytes) -> dict[int, bytes]:
        return {
            index: make_share(self.key, index, secret, self.slot, context)
            for index, secret in enumerate(self.secrets, start=1)
        }


@pytest.fixture(scope="session")
def label() -> Label:
    return Label(CHAIN, b"record-1", "hospital-a", 1)


@pytest.fixture(scope="session")
def dealt(label: Label) -> Dealt:
    key, shares = dealt_key(chain_id=CHAIN)
    slot, key_part = encapsulate(key, label)
    return Dealt(key, shares, verify_slot(key, label, slot), key_part)


@pytest.fixture(scope="session")
def new_sealing() -> Callable[[bytes], HybridSealing]:
    return HybridSealing


@pytest.fixture(scope="session")
def new_plan() -> Callable[..., Plan]:
    def make(
        members: Collection[str] = MEMBERS, purpose: str = RECORD, window: int = WINDOW
    ) -> Plan:
        return Plan.new_key(
            chain_id=CHAIN,
            purpose=purpose,
            ceremony=secrets.token_bytes(16),
            key_epoch=1,
            members=members,
            window=window,
        )

    return make


@pytest.fixture(scope="session")
def reshared() -> Callable[..., Rehearsal]:
    """Return a resharing from the members of one rehearsal to others, run to its end."""

    def run(
        before: Rehearsal,
        members: Collection[str],
        *,
        old_shares: Mapping[str, bytes] | None = None,
        seeds: Mapping[str, bytes] | None = None,
        meddle: Meddling | None = None,
        forgetful: bool = False,
    ) -> Rehearsal:
        plan = Plan.resharing(
            before.key,
            ceremony=secrets.token_bytes(16),
            holders=before.plan.members,
            ready=before.ready,
            members=members,
            window=WINDOW,
        )
        held = {name: before.share(name) for name in before.ready}
        rehearsal = Rehearsal(
            plan,
            HybridSealing,
            start=100,
            seeds=seeds,
            old_shares=held if old_shares is None else old_shares,
            forgetful=forgetful,
        )
        rehearsal.run(meddle)
        return rehearsal

    return run


@pytest.fixture(scope="session")
def opens() -> Callable[..., bool]:
    """Return whether members of a ceremony open a slot: a given one, or a fresh one."""

    def check(
        rehearsal: Rehearsal,
        names: Collection[str],
        given: tuple[Label, bytes, bytes] | None = None,
    ) -> bool:
        key = rehearsal.key
        where = Label(CHAIN, b"r", "a", key.key_epoch)
        label, octets, key_part = given or (where, *encapsulate(key, where))
        slot = verify_slot(key, label, octets)
        members = rehearsal.plan.members
        indexes = {name: members.index(name) + 1 for name in names}
        shares = {
            index: make_share(key, index, rehearsal.share(name), slot, b"order")
            for name, index in indexes.items()
        }
        return combine(key, slot, shares, b"order") == key_part

    return check
