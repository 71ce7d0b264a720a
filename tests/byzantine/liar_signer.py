"""A validator's remote signer whose clock is wrong: CometBFT's privval protocol over a unix socket.

A node that is told to has its votes signed by whoever dials its socket, and takes over the time
that the signer puts into them. So the node is the real one, and its votes are a liar's.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.signatures import SigningKey
from cipherward_chain.wire import exact_bytes, timestamp_ns, timestamp_of, varint
from cipherward_ledger.comet.sockets import short_path

Fields: TypeAlias = list[tuple[int, int | bytes]]  # number and value, in order

VARINT, FIXED, BYTES = 0, 1, 2  # wire types
# Numbers of privval's Message: each question and its answer.
PUBLIC_KEY, PUBLIC_KEY_ANSWER = 1, 2
VOTE, VOTE_ANSWER = 3, 4
PROPOSAL, PROPOSAL_ANSWER = 5, 6
PING, PING_ANSWER = 7, 8
PROPOSAL_TYPE = 32
RETRY_SECONDS: Final = 0.05
READ_BYTES: Final = 64 * 1024


def _read_varint(octets: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (octets[at] & 0x7F) << shift
        at += 1
        if octets[at - 1] < 0x80:
            return number, at
        shift += 7


def _framed(octets: bytes) -> bytes:
    """Return a message behind its length, as the socket carries it and a signature covers it."""
    return varint(len(octets)) + octets


def parsed(octets: bytes) -> Fields:
    """Return the fields of a message that has numbers and bytes only, as privval's have."""
    found: Fields = []
    at = 0
    while at < len(octets):
        tag, at = _read_varint(octets, at)
        value, at = _read_varint(octets, at)
        if tag & 7 == BYTES:
            found.append((tag >> 3, octets[at : at + value]))
            at += value
        else:
            assert tag & 7 == VARINT, tag
            found.append((tag >> 3, value))
    return found


def written(fields: Sequence[tuple[int, int | bytes]]) -> bytes:
    """Return the bytes of fields."""
    return b"".join(
        varint(number << 3 | VARINT) + varint(value)
        if isinstance(value, int)
        else varint(number << 3 | BYTES) + _framed(value)
        for number, value in fields
    )


def vote_bytes(
    kind: int, height: int, round_: int, block: comet.BlockId | None, when: Timestamp, chain_id: str
) -> bytes:
    """Return what a prevote (kind 1) or a precommit (2) signs."""
    vote = comet.CanonicalVote(
        type=kind, height=height, round=round_, timestamp=when, chain_id=chain_id
    )
    if block is not None and block.hash:
        vote.block_id.CopyFrom(_canonical(block))
    return _framed(exact_bytes(vote))


def _canonical(block: comet.BlockId) -> comet.CanonicalBlockId:
    parts = comet.CanonicalPartSetHeader(
        total=block.part_set_header.total, hash=block.part_set_header.hash
    )
    return comet.CanonicalBlockId(hash=block.hash, part_set_header=parts)


def _proposal_bytes(proposal: dict[int, int | bytes], chain_id: str) -> bytes:
    """Return what a proposal signs: CanonicalProposal, whose height and round have fixed size."""
    fixed = b"".join(
        varint(number << 3 | FIXED) + value.to_bytes(8, "little")
        for number in (2, 3)
        if (value := _number(proposal, number))
    )
    locked = _number(proposal, 4)
    block = _canonical(comet.BlockId.FromString(_octets(proposal, 5)))
    rest: Fields = [
        *([(4, locked)] if locked else []),
        (5, exact_bytes(block)),
        (6, _octets(proposal, 6)),
        (7, chain_id.encode()),
    ]
    return _framed(written([(1, PROPOSAL_TYPE)]) + fixed + written(rest))


def _number(fields: dict[int, int | bytes], at: int) -> int:
    found = fields.get(at, 0)
    assert isinstance(found, int)
    return found


def _octets(fields: dict[int, int | bytes], at: int) -> bytes:
    found = fields.get(at, b"")
    assert isinstance(found, bytes)
    return found


class LiarSigner:
    """Signs whatever it is asked to, at a time of its own. Runs in a thread until it is closed.

    offset_ns: how far its clock is ahead of the node's; a test changes it while it runs.
    """

    def __init__(self, path: Path, seed: bytes) -> None:
        """Dial the node's socket at `path`, again whenever the node is away."""
        self.offset_ns = 0
        self._path = path
        self._key = SigningKey(seed)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="liar-signer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                with short_path(self._path) as name, socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(0.5)
                    connection.connect(name)
                    for message in self._messages(connection):
                        connection.sendall(_framed(self._answer(message)))
            except ConnectionRefusedError:  # the socket of a node that has ended: in the next's way
                self._path.unlink(missing_ok=True)
            except OSError:  # there is no node, or it has gone
                time.sleep(RETRY_SECONDS)

    def _messages(self, connection: socket.socket) -> Iterator[bytes]:
        rest = b""
        while not self._closed.is_set():
            try:
                octets = connection.recv(READ_BYTES)
            except TimeoutError:
                continue
            if not octets:
                return
            rest += octets
            while len(rest) > 1:
                length, start = _read_varint(rest, 0)
                if len(rest) < start + length:
                    break
                yield rest[start : start + length]
                rest = rest[start + length :]

    def _answer(self, message: bytes) -> bytes:
        ((kind, content),) = parsed(message)
        assert isinstance(content, bytes)
        if kind == PING:
            return written([(PING_ANSWER, b"")])
        if kind == PUBLIC_KEY:
            return written([(PUBLIC_KEY_ANSWER, written([(1, self._public_key())]))])
        asked = dict(parsed(content))
        chain_id = _octets(asked, 2).decode()
        signed = dict(parsed(_octets(asked, 1)))
        if kind == VOTE:
            when = timestamp_of(
                timestamp_ns(Timestamp.FromString(_octets(signed, 5))) + self.offset_ns
            )
            signed[5] = exact_bytes(when)
            block = comet.BlockId.FromString(_octets(signed, 4))
            octets = vote_bytes(
                _number(signed, 1), _number(signed, 2), _number(signed, 3), block, when, chain_id
            )
            signed[8] = self._key.sign(octets)
            return written([(VOTE_ANSWER, written([(1, written(sorted(signed.items())))]))])
        assert kind == PROPOSAL, kind
        signed[7] = self._key.sign(_proposal_bytes(signed, chain_id))
        return written([(PROPOSAL_ANSWER, written([(1, written(sorted(signed.items())))]))])

    def _public_key(self) -> bytes:
        return exact_bytes(comet.PublicKey(ed25519=self._key.public_key))
