"""What is written to the queue: heads, each sealed with the deployment's key, and their parts.

| message | octets |
|---|---|
| head of a job or of a reply | 1, HMAC-SHA256 (32), canonical CBOR |
| part | 2, the job's id (16), attempt (1), index (2), at most PART_BYTES_MAX octets |

A head goes before its parts and holds the SHA-256 of each. So whoever can write to the topics, the
brokers included, cannot have a worker run what the owner did not ask for, nor give the owner a
result that no worker of the deployment made; a part of theirs fits no head and is passed over. The
tags keep a job from being read as a reply. Octets are authenticated, not hidden: no job has
secrets (`kinds`).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from cipherward_chain.canonical import NotCanonical, Value, decode, encode
from cipherward_chain.domains import COMPUTE_JOB, COMPUTE_REPLY
from cipherward_chain.fields import Fields
from cipherward_chain.wire import length_prefixed

KEY_BYTES: Final = 32
ID_BYTES: Final = 16
DIGEST_BYTES: Final = 32
# A broker's default for the longest message is 1 MiB with its envelope: topics need no exception.
PART_BYTES_MAX: Final = 900 * 1024
# 225 MiB: the proven batches of twenty members under product-1. Their heads have 8 KiB.
PARTS_MAX: Final = 256
PAYLOAD_BYTES_MAX: Final = PARTS_MAX * PART_BYTES_MAX
HEAD_BYTES_MAX: Final = 64 * 1024
# A part, or a head, with the envelope around it.
MESSAGE_BYTES_MAX: Final = PART_BYTES_MAX + HEAD_BYTES_MAX

_HEAD, _PART = b"\1", b"\2"
_PART_HEAD_BYTES: Final = 1 + ID_BYTES + 1 + 2

State: TypeAlias = Literal["taken", "done", "crashed", "lost"]
STATES: Final = ("taken", "done", "crashed", "lost")


class NotOurs(ValueError):
    """A message was not sealed with this deployment's key, or is not what it says it is."""


@dataclass(frozen=True, slots=True)
class JobHead:
    """A job that is asked for. deadline_ms: Unix time after which no worker shall take it."""

    id: bytes
    attempt: int
    kind: str
    deadline_ms: int
    parts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ReplyHead:
    """What became of an attempt. parts: of the result, where it is done."""

    id: bytes
    attempt: int
    state: State
    parts: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a payload, of nobody yet: a head has its digest or has not."""

    id: bytes
    attempt: int
    index: int
    octets: bytes


@dataclass(frozen=True, slots=True)
class Seal:
    """The key that a member's compute service shares with its workers, and whose jobs these are."""

    key: bytes = field(repr=False)
    chain_id: str
    member: str

    def job(self, head: JobHead) -> bytes:
        """Return a job's head as it is written."""
        body = {
            "id": head.id,
            "attempt": head.attempt,
            "kind": head.kind,
            "deadline_ms": head.deadline_ms,
            "parts": head.parts,
        }
        return self._sealed(COMPUTE_JOB, encode(body))

    def reply(self, head: ReplyHead) -> bytes:
        """Return a reply's head as it is written."""
        body = {
            "id": head.id,
            "attempt": head.attempt,
            "state": head.state,
            "parts": head.parts,
        }
        return self._sealed(COMPUTE_REPLY, encode(body))

    def open_job(self, message: bytes) -> JobHead:
        """Return the job's head in a message, or raise `NotOurs`."""
        fields = self._opened(COMPUTE_JOB, message)
        try:
            head = JobHead(
                fields.octets("id", length=ID_BYTES),
                fields.integer("attempt", minimum=1),
                fields.text("kind"),
                fields.integer("deadline_ms"),
                _digests(fields.items("parts")),
            )
            fields.end()
        except NotCanonical as error:
            raise NotOurs(str(error)) from None
        return head

    def open_reply(self, message: bytes) -> ReplyHead:
        """Return the reply's head in a message, or raise `NotOurs`."""
        fields = self._opened(COMPUTE_REPLY, message)
        try:
            job, attempt = fields.octets("id", length=ID_BYTES), fields.integer("attempt")
            state, parts = fields.text("state"), _digests(fields.items("parts"))
            fields.end()
        except NotCanonical as error:
            raise NotOurs(str(error)) from None
        if state not in STATES:
            raise NotOurs("a reply in no known state")
        return ReplyHead(job, attempt, state, parts)

    def _sealed(self, tag: bytes, body: bytes) -> bytes:
        return _HEAD + self._mac(tag, body) + body

    def _opened(self, tag: bytes, message: bytes) -> Fields:
        mac, body = message[1 : 1 + DIGEST_BYTES], message[1 + DIGEST_BYTES :]
        if len(message) > HEAD_BYTES_MAX or not is_head(message):
            raise NotOurs("not a head")
        if not hmac.compare_digest(mac, self._mac(tag, body)):
            raise NotOurs("not sealed with this deployment's key")
        try:
            return Fields(decode(body))
        except NotCanonical as error:
            raise NotOurs(str(error)) from None

    def _mac(self, tag: bytes, body: bytes) -> bytes:
        about = length_prefixed(self.chain_id.encode()) + length_prefixed(self.member.encode())
        return hmac.digest(self.key, tag + about + body, "sha256")


def is_head(message: bytes) -> bool:
    """Return whether a message says that it is a head."""
    return message[:1] == _HEAD


def pieces_of(payload: bytes) -> Iterator[bytes]:
    """Yield what the parts of a payload hold, at least one."""
    for at in range(0, max(1, len(payload)), PART_BYTES_MAX):
        yield payload[at : at + PART_BYTES_MAX]


def digests_of(payload: bytes) -> tuple[bytes, ...]:
    """Return the digests that a payload's head holds; 0.5 s a gigabyte: not on the loop."""
    return tuple(hashlib.sha256(piece).digest() for piece in pieces_of(payload))


def part_messages(job: bytes, attempt: int, payload: bytes) -> Iterator[bytes]:
    """Yield the parts of a payload as they are written."""
    for index, piece in enumerate(pieces_of(payload)):
        yield _PART + job + bytes((attempt,)) + index.to_bytes(2, "big") + piece


def parse_part(message: bytes) -> Part:
    """Return the part in a message, or raise `NotOurs`."""
    if message[:1] != _PART or len(message) < _PART_HEAD_BYTES:
        raise NotOurs("neither a head nor a part")
    at = 1 + ID_BYTES
    return Part(
        message[1:at],
        message[at],
        int.from_bytes(message[at + 1 : at + 3], "big"),
        message[_PART_HEAD_BYTES:],
    )


class Assembly:
    """The parts of one payload, as they come: in any order, repeated, among others'."""

    def __init__(self, digests: Sequence[bytes]) -> None:
        self._digests = digests
        self._found: dict[int, bytes] = {}

    def add(self, part: Part) -> None:
        """Keep a part, or raise `NotOurs` if it has no such digest; 0.5 ms."""
        digest = hashlib.sha256(part.octets).digest()
        if part.index >= len(self._digests) or self._digests[part.index] != digest:
            raise NotOurs("a part that no head names")
        self._found[part.index] = part.octets

    @property
    def complete(self) -> bool:
        """Whether every part is there."""
        return len(self._found) == len(self._digests)

    def payload(self) -> bytes:
        """Return what the parts are of; all must be there."""
        return b"".join(self._found[index] for index in range(len(self._digests)))


def _digests(items: Sequence[Value]) -> tuple[bytes, ...]:
    found = tuple(one for one in items if isinstance(one, bytes) and len(one) == DIGEST_BYTES)
    if len(found) != len(items) or len(found) > PARTS_MAX:
        raise NotCanonical("parts are at most 256 digests")
    return found
