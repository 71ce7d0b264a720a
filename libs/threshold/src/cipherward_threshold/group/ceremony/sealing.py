"""How parts of a deal travel: sealed to the receiver's key of this ceremony, in their own place."""

from __future__ import annotations

from typing import Protocol

from cipherward_threshold.group import domains
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.encoding import frame


class Sealing(Protocol):
    """Public-key sealing with this ceremony's key pair (`seeds.sealing_secret`): hybrid HPKE."""

    @property
    def public_key(self) -> bytes:
        """This member's key, 1,216 bytes."""
        ...

    def seal(self, plaintext: bytes, public_key: bytes, place: bytes) -> bytes:
        """Return octets that open in `place` only; ValueError if nothing seals to the key."""
        ...

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Return the plaintext, or raise ValueError."""
        ...


def part_place(plan: Plan, dealer: str, receiver: str) -> bytes:
    """Return the place of the part that a dealer sends to a receiver."""
    return frame(domains.DEAL_PLACE, plan.session, dealer, receiver)
