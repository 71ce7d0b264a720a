"""What a store is told about its place: whose it is, and how much fits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreOwner:
    """Whose records a store keeps: one member's of one chain, for ever.

    genesis: the digest of the chain's: two chains may have one id, and members of one name.
    """

    chain_id: str
    member: str
    genesis: bytes


@dataclass(frozen=True, slots=True)
class Room:
    """How much may be stored.

    quota_bytes: ciphertext of all records, open uploads and columns. reserve_bytes: stays free on
    the disk, so that SQLite and the other services of the machine go on when uploads are refused;
    of a database elsewhere the disk is its operator's.
    """

    quota_bytes: int
    reserve_bytes: int
