"""What a block adds to this service's own index: it proves nothing, it finds things.

The rows are written in the same local transaction as the block. Whoever needs evidence follows a
row's transaction id to its receipt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class InstanceMade:
    """An instance about `object`: a record's id, or the instance's own."""

    object: bytes
    instance: bytes


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked for access, as far as it was disclosed: the institution and the role."""

    member: str
    role: str


@dataclass(frozen=True, slots=True)
class AccessAsked:
    """An access to a record: ordered by `order` (height, index), or refused, with the reason."""

    record: bytes
    instance: bytes
    transaction_id: bytes
    asker: Asker
    purpose: str
    order: tuple[int, int] | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AccessReported:
    """The custodian's report of a release that was ordered before."""

    order: tuple[int, int]
    done: bool
    transaction_id: bytes


@dataclass(frozen=True, slots=True)
class NoticeGiven:
    """Something that members, and a record's owner, are told.

    kind: of instructions.notices.KINDS. record: what it is about, or empty: then no owner is told.
    due: until when (Unix seconds) somebody has to act; 0 if nobody has.
    """

    kind: str
    record: bytes
    instance: bytes
    recipients: tuple[str, ...]
    due: int = 0


IndexRow: TypeAlias = InstanceMade | AccessAsked | AccessReported | NoticeGiven
