"""What the state holds of the ceremonies that make and renew the members' shared keys.

| key | value |
|---|---|
| ceremony/ID | Running, while the ceremony runs |
| ceremony/ID/N (4 bytes) | the N-th message of its log, from 0 |
| deadline/HEIGHT (8 bytes) ID | empty map: the block after HEIGHT closes the ceremony's window |
| groupkey/PURPOSE, groupkey/PURPOSE/EPOCH (8 bytes) | cipherward_chain.group_keys |
| groupkey/PURPOSE/EPOCH/SHARING (8 bytes) | GroupKeyEntry of every sharing that was ever in force |
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from cipherward_chain.acts import DIGEST_BYTES, ID_BYTES
from cipherward_chain.canonical import decode, encode
from cipherward_chain.domains import CEREMONY_LOG
from cipherward_chain.fields import Fields
from cipherward_chain.group_key_orders import CeremonyOrder
from cipherward_chain.group_keys import group_key_key
from cipherward_chain.wire import length_prefixed
from cipherward_threshold.group.ceremony.transcript import LogEntry

CEREMONY = b"ceremony/"
DEADLINE, DEADLINE_END = b"deadline/", b"deadline0"


def ceremony_key(ceremony: bytes) -> bytes:
    """Return the key of a ceremony's entry."""
    return CEREMONY + ceremony


def log_key(ceremony: bytes, number: int) -> bytes:
    """Return the key of a message of a ceremony's log, by its number from 0."""
    return CEREMONY + ceremony + b"/" + number.to_bytes(4, "big")


def deadline_key(height: int, ceremony: bytes) -> bytes:
    """Return the key of a deadline: keys sort by height, then by ceremony."""
    return DEADLINE + height.to_bytes(8, "big") + ceremony


def past_sharing_key(purpose: str, key_epoch: int, sharing: int) -> bytes:
    """Return the key of one sharing of a shared key, in force or not any more."""
    return group_key_key(purpose, key_epoch) + b"/" + sharing.to_bytes(8, "big")


@dataclass(frozen=True, slots=True)
class Running:
    """A ceremony that runs.

    order: what was ordered when it began. count: messages in its log. digest: a hash (32 bytes)
    over the order and the log, by which a transcript is recognised as the one of this state.
    phase: the window that is open, "over" when there is an outcome. deadline: its last height.
    """

    order: CeremonyOrder
    count: int
    digest: bytes
    phase: str
    deadline: int

    @classmethod
    def begun(cls, order: CeremonyOrder, phase: str, deadline: int) -> Running:
        """Return a ceremony without messages, whose first window is open."""
        digest = hashlib.sha256(CEREMONY_LOG + encode(order.arguments())).digest()
        return cls(order, 0, digest, phase, deadline)

    def with_message(self, entry: LogEntry) -> Running:
        """Return the ceremony with one message more, its window as it was."""
        octets = b"".join(map(length_prefixed, (self.digest, log_value(entry))))
        digest = hashlib.sha256(CEREMONY_LOG + octets).digest()
        return replace(self, count=self.count + 1, digest=digest)

    def to_bytes(self) -> bytes:
        """Return the canonical value."""
        return encode(
            {
                "order": self.order.arguments(),
                "count": self.count,
                "digest": self.digest,
                "phase": self.phase,
                "deadline": self.deadline,
            }
        )

    @staticmethod
    def from_bytes(raw: bytes) -> Running:
        """Return the ceremony that `raw` holds."""
        fields = Fields(decode(raw))
        return Running(
            order=CeremonyOrder.from_arguments(fields.mapping("order")),
            count=fields.integer("count"),
            digest=fields.octets("digest", length=DIGEST_BYTES),
            phase=fields.text("phase"),
            deadline=fields.integer("deadline"),
        )


def log_value(entry: LogEntry) -> bytes:
    """Return the value of a message in the log."""
    return encode(
        {
            "height": entry.height,
            "sender": entry.sender,
            "kind": entry.kind,
            "body": entry.body,
        }
    )


def log_entry(raw: bytes) -> LogEntry:
    """Return the message that a value of the log holds."""
    fields = Fields(decode(raw))
    return LogEntry(
        height=fields.integer("height"),
        sender=fields.text("sender"),
        kind=fields.text("kind"),
        body=fields.octets("body"),
    )


def ceremony_of(key: bytes) -> bytes:
    """Return the ceremony that a deadline's key names."""
    return key[-ID_BYTES:]
