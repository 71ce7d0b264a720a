"""A key that the members share, as the state holds it: public parts only.

| state key | value |
|---|---|
| groupkey/PURPOSE/EPOCH (8 bytes) | GroupKeyEntry |
| groupkey/PURPOSE | {key_epoch}: the newest |

`key_epoch` names the public key and survives resharing; `sharing` names the polynomial behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cipherward_chain.acts import ID_BYTES
from cipherward_chain.canonical import NotCanonical, decode, encode
from cipherward_chain.errors import ChainError
from cipherward_chain.fields import Fields

RECORD: Final = "record"  # what record keys are encapsulated under; its shares are in storage
OPENING: Final = "opening"  # what staff's identity keys are encrypted under; in identity
PURPOSES: Final = (OPENING, RECORD)
POINT_BYTES: Final = 48  # a compressed point of BLS12-381 G1
# A deal, with one sealed part of 1.2 kB a member, must fit a transaction of 64 KiB.
HOLDERS_MAX: Final = 32
_CACHED = 64  # keys in use at once: a handful


class GroupKeyMalformed(ChainError):
    """Bytes are not the entry of a shared key."""

    reason = "GROUP_KEY_MALFORMED"


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """One member's share: its index (from 1), its public point (48 bytes), and whether it proved
    to have the share.
    """

    member: str
    index: int
    point: bytes
    ready: bool


@dataclass(frozen=True, slots=True)
class GroupKeyEntry:
    """A shared key in force.

    purpose: of PURPOSES. threshold: shares that open. public_key: 48 bytes. holders: by index.
    ceremony: the contract (16 bytes) that made this sharing. height: since when it is in force.
    """

    purpose: str
    key_epoch: int
    sharing: int
    threshold: int
    public_key: bytes
    holders: tuple[KeyHolder, ...]
    ceremony: bytes
    height: int

    @property
    def guardians(self) -> tuple[str, ...]:
        """The members that have a share, sorted."""
        return tuple(sorted(holder.member for holder in self.holders if holder.ready))

    @property
    def points(self) -> tuple[bytes, ...]:
        """The holders' public points, by index."""
        return tuple(holder.point for holder in self.holders)

    def index_of(self, member: str) -> int | None:
        """Return a member's index, or None if it has none."""
        return next((one.index for one in self.holders if one.member == member), None)

    def to_bytes(self) -> bytes:
        """Return the canonical value."""
        return encode(
            {
                "purpose": self.purpose,
                "key_epoch": self.key_epoch,
                "sharing": self.sharing,
                "threshold": self.threshold,
                "public_key": self.public_key,
                "holders": [
                    {"member": one.member, "point": one.point, "ready": one.ready}
                    for one in self.holders
                ],
                "ceremony": self.ceremony,
                "height": self.height,
            }
        )

    @staticmethod
    @lru_cache(_CACHED)
    def from_bytes(raw: bytes) -> GroupKeyEntry:
        """Return the entry that `raw` holds, or raise `GroupKeyMalformed`."""
        try:
            fields = Fields(decode(raw))
            holders = [Fields(item) for item in fields.items("holders")]
            found = GroupKeyEntry(
                purpose=fields.text("purpose"),
                key_epoch=fields.integer("key_epoch", minimum=1),
                sharing=fields.integer("sharing", minimum=1),
                threshold=fields.integer("threshold", minimum=1),
                public_key=fields.octets("public_key", length=POINT_BYTES),
                holders=tuple(
                    KeyHolder(
                        holder.text("member"),
                        place,
                        holder.octets("point", length=POINT_BYTES),
                        holder.flag("ready"),
                    )
                    for place, holder in enumerate(holders, start=1)
                ),
                ceremony=fields.octets("ceremony", length=ID_BYTES),
                height=fields.integer("height", minimum=1),
            )
            fields.end()
        except NotCanonical as error:
            raise GroupKeyMalformed(f"not the entry of a shared key: {error}") from error
        if found.purpose not in PURPOSES or found.threshold > len(found.holders):
            raise GroupKeyMalformed("not the entry of a shared key")
        return found


def group_key_key(purpose: str, key_epoch: int) -> bytes:
    """Return the state key of a shared key."""
    return b"groupkey/" + purpose.encode() + b"/" + key_epoch.to_bytes(8, "big")


def newest_group_key_key(purpose: str) -> bytes:
    """Return the state key under which the newest epoch of a purpose stands."""
    return b"groupkey/" + purpose.encode()


def newest_entry(key_epoch: int) -> bytes:
    """Return the value under `newest_group_key_key`."""
    return encode({"key_epoch": key_epoch})


def newest_epoch(raw: bytes | None) -> int:
    """Return the newest epoch that a value names; 0 when there is no key yet."""
    return 0 if raw is None else Fields(decode(raw)).integer("key_epoch", minimum=1)
