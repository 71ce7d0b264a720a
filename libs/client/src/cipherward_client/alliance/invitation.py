"""An invitation: what a newcomer needs to find an alliance and to know that it is the right one.

It holds fingerprints and an address, nothing secret, and is short enough to be read out. Its
checksum finds slips; what protects it from a forger is that it comes from somebody whom the
newcomer knows, on a way that the forger does not hold: read it back by telephone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from cipherward_chain.acts import MEMBER_ID
from cipherward_chain.domains import INVITATION
from cipherward_chain.endpoints import is_address
from cipherward_chain.genesis import CHAIN_ID
from cipherward_chain.wire import length_prefixed
from cipherward_client.alliance.spoken import FINGERPRINT_BYTES, NotSpoken, heard, spoken
from cipherward_client.sdk.errors import CheckFailed

T = TypeVar("T")

TITLE: Final = "cipherward invitation 1"
FIELDS: Final = ("chain", "member", "address", "until", "genesis", "authority", "check")
TIME_FORMAT: Final = "%Y-%m-%dT%H:%MZ"
CHECK_BYTES: Final = 5  # one slip in a million million passes
TEXT_BYTES_MAX: Final = 4096  # the longest names and addresses fit several times


class InvitationMalformed(CheckFailed):
    """A text is no invitation; says what is missing or out of form."""

    reason = "INVITATION_MALFORMED"


class InvitationDamaged(CheckFailed):
    """An invitation's checksum is of another text: a slip, or somebody changed it."""

    reason = "INVITATION_DAMAGED"


class InvitationExpired(CheckFailed):
    """The time to accept an invitation is over."""

    reason = "INVITATION_EXPIRED"


@dataclass(frozen=True, slots=True)
class Invitation:
    """Where an alliance is found, and by what it is known.

    member: whose ledger is at `address` (host:port, for holders).
    until: Unix seconds of a full minute.
    genesis: fingerprint of the genesis, FINGERPRINT_BYTES.
    authority: fingerprint of the certificate of that member's authority, FINGERPRINT_BYTES.
    """

    chain_id: str
    member: str
    address: str
    until: int
    genesis: bytes
    authority: bytes

    def to_text(self) -> str:
        """Return the lines that a newcomer is sent or read."""
        plain = self._plain()
        lines = [TITLE, *(f"{name:<10}{plain[name]}" for name in FIELDS[:-1])]
        return "\n".join([*lines, f"{FIELDS[-1]:<10}{spoken(self._check())}"]) + "\n"

    @classmethod
    def parse(cls, text: str) -> Invitation:
        """Return what an invitation says; case and spaces of fingerprints do not count, nor does
        what a letter has before it, after it, or in front of its lines.

        Raises:
            InvitationMalformed: it is none.
            InvitationDamaged: its checksum is of another one.
        """
        found = _lines(text)
        invitation = cls(
            chain_id=found["chain"],
            member=found["member"],
            address=found["address"],
            until=_read(found, "until", _minute),
            genesis=_read(found, "genesis", _fingerprint),
            authority=_read(found, "authority", _fingerprint),
        )
        check = _read(found, "check", lambda text: heard(text, CHECK_BYTES))
        if (
            CHAIN_ID.fullmatch(invitation.chain_id) is None
            or MEMBER_ID.fullmatch(invitation.member) is None
            or not is_address(invitation.address)
        ):
            raise InvitationMalformed("chain, member or address is out of form")
        if check != invitation._check():
            raise InvitationDamaged("the last line does not fit the others")
        return invitation

    def require_current(self, now: float) -> None:
        """Raise `InvitationExpired` when Unix time `now` is beyond its end."""
        if now > self.until:
            raise InvitationExpired(f"it ended at {self._plain()['until']}")

    def _plain(self) -> Mapping[str, str]:
        until = datetime.fromtimestamp(self.until, UTC)
        return {
            "chain": self.chain_id,
            "member": self.member,
            "address": self.address,
            "until": until.strftime(TIME_FORMAT),
            "genesis": spoken(self.genesis),
            "authority": spoken(self.authority),
        }

    def _check(self) -> bytes:
        plain = self._plain()
        octets = b"".join(length_prefixed(plain[name].encode()) for name in FIELDS[:-1])
        return hashlib.sha256(INVITATION + octets).digest()[:CHECK_BYTES]


def genesis_fingerprint(digest: bytes) -> bytes:
    """Return the fingerprint of the genesis with that digest."""
    return digest[:FINGERPRINT_BYTES]


def authority_fingerprints(ca_certificate: str) -> tuple[bytes, ...]:
    """Return the fingerprints of a member's authorities, PEM: one, or two while it changes them.

    Raises:
        ValueError: it is not PEM.
    """
    found = x509.load_pem_x509_certificates(ca_certificate.encode())
    return tuple(one.fingerprint(SHA256())[:FINGERPRINT_BYTES] for one in found)


def _minute(text: str) -> int:
    return int(datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC).timestamp())


def _fingerprint(text: str) -> bytes:
    return heard(text, FINGERPRINT_BYTES)


def _read(found: Mapping[str, str], name: str, read: Callable[[str], T]) -> T:
    """Return what a line says, or raise `InvitationMalformed` that names it."""
    try:
        return read(found[name])
    except (NotSpoken, ValueError) as error:
        why = str(error) if isinstance(error, NotSpoken) else "not a time as 2026-12-07T13:00Z"
        raise InvitationMalformed(f"the line {name!r}: {why}") from error


def _lines(text: str) -> Mapping[str, str]:
    if len(text.encode()) > TEXT_BYTES_MAX:
        raise InvitationMalformed(f"more than {TEXT_BYTES_MAX} bytes")
    plain = [" ".join(line.lstrip("> \t").split()) for line in text.splitlines()]
    title = next((at for at, line in enumerate(plain) if line.lower() == TITLE), None)
    if title is None:
        raise InvitationMalformed(f"there is no line: {TITLE}")
    found: dict[str, str] = {}
    for line in plain[title + 1 :]:
        if not line:
            if FIELDS[-1] in found:  # what follows is the rest of a letter
                break
            continue
        name, _, value = line.partition(" ")
        if name.lower() not in FIELDS or name.lower() in found:
            raise InvitationMalformed(f"the line {name[:20]!r} is unknown or there twice")
        found[name.lower()] = value
    missing = [name for name in FIELDS if name not in found]
    if missing:
        raise InvitationMalformed(f"there is no line {missing[0]!r}")
    return found
