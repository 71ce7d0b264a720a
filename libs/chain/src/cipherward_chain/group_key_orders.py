"""The two orders about a shared key: that a ceremony begins, and that its sharing is in force.

Both name everything that a member needs: whoever began to follow the chain only yesterday can take
part in a resharing today, because the order carries the key's entry as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cipherward_chain.acts import ID_BYTES
from cipherward_chain.canonical import NotCanonical, Value
from cipherward_chain.fields import Fields
from cipherward_chain.group_keys import (
    HOLDERS_MAX,
    POINT_BYTES,
    PURPOSES,
    GroupKeyEntry,
    GroupKeyMalformed,
)
from cipherward_chain.orders import Order

SHARE_KEY: Final = "share_key"
USE_SHARING: Final = "use_sharing"


@dataclass(frozen=True, slots=True)
class CeremonyOrder:
    """A ceremony that begins: `start` is the height of the order, messages count from the next on.

    ceremony: the contract's id (16 bytes). members: who gets a share, sorted. dealers: whose deals
    count, the old sharing's holders by their index in a resharing. threshold: of the new sharing.
    window: heights that a phase may last. old: the entry that a resharing starts from, or None.
    """

    ceremony: bytes
    purpose: str
    key_epoch: int
    sharing: int
    members: tuple[str, ...]
    dealers: tuple[str, ...]
    threshold: int
    window: int
    start: int
    old: GroupKeyEntry | None = None

    def arguments(self) -> dict[str, Value]:
        """Return the arguments of the order; `old` is empty for a new key."""
        return {
            "ceremony": self.ceremony,
            "purpose": self.purpose,
            "key_epoch": self.key_epoch,
            "sharing": self.sharing,
            "members": list(self.members),
            "dealers": list(self.dealers),
            "threshold": self.threshold,
            "window": self.window,
            "start": self.start,
            "old": b"" if self.old is None else self.old.to_bytes(),
        }

    @staticmethod
    def of(order: Order) -> CeremonyOrder:
        """Return what a `share_key` order says, or raise `GroupKeyMalformed`."""
        return CeremonyOrder.from_arguments(order.arguments)

    @staticmethod
    def from_arguments(arguments: Mapping[str, Value]) -> CeremonyOrder:
        """Return what the arguments of a `share_key` order say, or raise `GroupKeyMalformed`."""
        try:
            fields = Fields(arguments)
            old = fields.octets("old")
            found = CeremonyOrder(
                ceremony=fields.octets("ceremony", length=ID_BYTES),
                purpose=_purpose(fields),
                key_epoch=fields.integer("key_epoch", minimum=1),
                sharing=fields.integer("sharing", minimum=1),
                members=_members(fields, "members"),
                dealers=_members(fields, "dealers"),
                threshold=fields.integer("threshold", minimum=1),
                window=fields.integer("window", minimum=1),
                start=fields.integer("start", minimum=1),
                old=GroupKeyEntry.from_bytes(old) if old else None,
            )
            fields.end()
        except NotCanonical as error:
            raise GroupKeyMalformed(f"not an order to share a key: {error}") from error
        return found


@dataclass(frozen=True, slots=True)
class SharingOrder:
    """A sharing that is in force from the block of the order on; fields as in `GroupKeyEntry`.

    guardians: the members that have proved to hold their share, sorted.
    """

    ceremony: bytes
    purpose: str
    key_epoch: int
    sharing: int
    threshold: int
    members: tuple[str, ...]
    guardians: tuple[str, ...]
    public_key: bytes

    @staticmethod
    def of(order: Order) -> SharingOrder:
        """Return what a `use_sharing` order says, or raise `GroupKeyMalformed`."""
        return SharingOrder.from_arguments(order.arguments)

    @staticmethod
    def from_arguments(arguments: Mapping[str, Value]) -> SharingOrder:
        """Return what the arguments of a `use_sharing` order say, or raise `GroupKeyMalformed`."""
        try:
            fields = Fields(arguments)
            found = SharingOrder(
                ceremony=fields.octets("ceremony", length=ID_BYTES),
                purpose=_purpose(fields),
                key_epoch=fields.integer("key_epoch", minimum=1),
                sharing=fields.integer("sharing", minimum=1),
                threshold=fields.integer("threshold", minimum=1),
                members=_members(fields, "members"),
                guardians=_members(fields, "guardians"),
                public_key=fields.octets("public_key", length=POINT_BYTES),
            )
            fields.end()
        except NotCanonical as error:
            raise GroupKeyMalformed(f"not an order to use a sharing: {error}") from error
        return found

    def arguments(self) -> dict[str, Value]:
        """Return the arguments of the order."""
        return {
            "ceremony": self.ceremony,
            "purpose": self.purpose,
            "key_epoch": self.key_epoch,
            "sharing": self.sharing,
            "threshold": self.threshold,
            "members": list(self.members),
            "guardians": list(self.guardians),
            "public_key": self.public_key,
        }


def _purpose(fields: Fields) -> str:
    purpose = fields.text("purpose")
    if purpose not in PURPOSES:
        raise NotCanonical("a shared key has no such purpose")
    return purpose


def _members(fields: Fields, name: str) -> tuple[str, ...]:
    found = fields.texts(name)
    if not 0 < len(found) <= HOLDERS_MAX or len(set(found)) != len(found):
        raise NotCanonical(f"field {name} is not 1 to {HOLDERS_MAX} members, each once")
    return found
