"""The registry of members and issuers, as proven blocks have left it, and block time."""

from __future__ import annotations

from dataclasses import dataclass

from cipherward_anoncred.errors import AnoncredError
from cipherward_anoncred.schema import parse_header
from cipherward_chain.genesis import Issuer, Member
from cipherward_identity.follow import ChainClock
from cipherward_member.registry import MemberRegistry


class IssuerNotCurrent(ValueError):
    """Key and header are not those of a registered issuer in the current epoch."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """The number of an epoch, from 1, and when it ends, in block time (Unix nanoseconds)."""

    number: int
    ends_at_ns: int


class Registry:
    """Answers who the members and the issuers are."""

    def __init__(self, listed: MemberRegistry, clock: ChainClock) -> None:
        self._listed = listed
        self._clock = clock

    def members(self) -> tuple[Member, ...]:
        """Return the members by index."""
        return tuple(self._listed.members.values())

    def issuers(self) -> tuple[Issuer, ...]:
        """Return the issuers by member id."""
        return tuple(sorted(self._listed.issuers, key=lambda issuer: issuer.member))

    def epoch(self) -> Epoch:
        """Return the epoch of the newest proven header, or the first one if none was seen."""
        number = self._clock.epoch()
        return Epoch(number, self._clock.epoch_ends_at(number))

    def require_current(self, public_key: bytes, header: bytes, schema: str) -> None:
        """Return if the key is a registered issuer's and the header its own of this epoch.

        Raises:
            IssuerNotCurrent: another key, issuer, schema or epoch, or not a header.
        """
        try:
            fields = parse_header(header)
        except AnoncredError:
            raise IssuerNotCurrent("not a header") from None
        known = any(
            issuer.public_key == public_key
            and issuer.member == fields.issuer
            and schema in issuer.schemas
            for issuer in self._listed.issuers
        )
        if not known or fields.schema != schema or fields.epoch != self._clock.epoch():
            raise IssuerNotCurrent("not a registered issuer's header of this epoch")
