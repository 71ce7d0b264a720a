"""Authorized reads: a question signed like a transaction, good for a minute, answered once."""

from __future__ import annotations

import hashlib
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import ID_BYTES
from cipherward_chain.authorization import (
    AuthorizationMalformed,
    AuthorizationRejected,
    PresentationClaim,
    Signer,
    check_signed,
    parse_authorization,
)
from cipherward_chain.domains import read_context
from cipherward_chain.errors import ChainError
from cipherward_chain.wire import (
    NANOS,
    NotExact,
    exact_bytes,
    parse_exact,
    timestamp_ns,
    timestamp_of,
)

WINDOW_SECONDS: Final = 60  # how far the reader's clock may be from ours, either way
READ_BYTES_MAX: Final = 24_576  # a presentation and a small body
NONCES_MAX: Final = 65_536  # about 10 MB; 500 reads a second for the two minutes of a window


class ReadMalformed(ChainError):
    """A read is out of form."""

    reason = "READ_MALFORMED"


class ReadRejected(ChainError):
    """A read is not authorised; why is not said."""

    reason = "READ_REJECTED"


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks, proven by signature; a presentation's `claim` is still to be verified by identity.

    `public_key` is the Ed25519 key that signed (32 bytes; empty for a presentation), `member` the
    member id it claims (is that key the member's? the registry says). `order` is (height, index),
    if named.
    """

    kind: Literal["member", "pseudonym", "presentation"]
    member: str
    public_key: bytes
    claim: PresentationClaim | None
    object: bytes
    order: tuple[int, int] | None


def build_read(
    method: str,
    object_id: bytes,
    *,
    chain_id: str,
    signer: Signer,
    time_ns: int,
    order: tuple[int, int] | None = None,
) -> pb.AuthorizedRead:
    """Return an authorized read.

    Args:
        method: the full name of the RPC, as `/cipherward.storage.v1.StorageService/GetRecord`.
        object_id: the id of what is read.
        time_ns: the reader's clock, Unix nanoseconds.
        order: (height, index) of the order that gives the right, if one does.
    """
    body = pb.ReadBody(
        chain_id=chain_id,
        method=method,
        object=object_id,
        order=None if order is None else pb.OrderRef(height=order[0], index=order[1]),
        time=timestamp_of(time_ns),
        nonce=secrets.token_bytes(ID_BYTES),
    )
    octets = exact_bytes(body)
    return pb.AuthorizedRead(body=octets, authorization=signer.authorize(read_context(octets)))


class ReadGate:
    """Checks the reads of one chain; remembers nonces as long as a read is good, and no longer.

    Args:
        clock: Unix seconds now.
        nonces_max: reads remembered at once; when that many came within the window, further ones
            are rejected rather than an old one forgotten and accepted again.
    """

    def __init__(
        self, chain_id: str, clock: Callable[[], float], nonces_max: int = NONCES_MAX
    ) -> None:
        self._chain_id = chain_id
        self._clock = clock
        self._nonces_max = nonces_max
        self._seen: set[bytes] = set()
        self._ages: deque[tuple[float, bytes]] = deque()  # when seen, ascending

    def check(self, read: pb.AuthorizedRead, method: str) -> Reader:
        """Return who asks `method`, after which the same read is never accepted again.

        Raises:
            ReadMalformed: the read is out of form.
            ReadRejected: another chain or method, too old or too far ahead, a wrong signature, or
            again.
        """
        body, authorization = self._parse(read)
        now = self._clock()
        apart = abs(timestamp_ns(body.time) / NANOS - now)
        if body.chain_id != self._chain_id or body.method != method or apart > WINDOW_SECONDS:
            raise ReadRejected("the read is not authorised")
        try:
            claim = check_signed(authorization, read_context(read.body))
        except AuthorizationRejected:
            raise ReadRejected("the read is not authorised") from None
        self._remember(hashlib.sha256(read.body + read.authorization).digest(), now)
        order = (body.order.height, body.order.index) if body.HasField("order") else None
        if claim is not None:
            return Reader("presentation", "", b"", claim, body.object, order)
        if authorization.WhichOneof("kind") == "member":
            signed = authorization.member
            return Reader("member", signed.member_id, signed.public_key, None, body.object, order)
        key = authorization.pseudonym.public_key
        return Reader("pseudonym", "", key, None, body.object, order)

    @staticmethod
    def _parse(read: pb.AuthorizedRead) -> tuple[pb.ReadBody, pb.Authorization]:
        if len(read.body) + len(read.authorization) > READ_BYTES_MAX:
            raise ReadMalformed(f"a read has at most {READ_BYTES_MAX} bytes")
        try:
            body = parse_exact(pb.ReadBody, read.body)
            timestamp_ns(body.time)
            authorization = parse_authorization(read.authorization)
        except (NotExact, AuthorizationMalformed) as error:
            raise ReadMalformed(str(error)) from error
        if len(body.nonce) != ID_BYTES or not body.HasField("time"):
            raise ReadMalformed("a read has a time and a nonce of 16 bytes")
        return body, authorization

    def _remember(self, digest: bytes, now: float) -> None:
        # A read of time t is good until t + window, and was first seen at t - window at the
        # earliest.
        while self._ages and self._ages[0][0] < now - 2 * WINDOW_SECONDS:
            self._seen.discard(self._ages.popleft()[1])
        if digest in self._seen or len(self._seen) >= self._nonces_max:
            raise ReadRejected("the read is not authorised")
        self._seen.add(digest)
        self._ages.append((now, digest))
