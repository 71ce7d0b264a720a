"""A process's own certificate, followed as its files change: renewal needs no restart.

Whoever renews certificates writes two files, one after the other, or swaps a folder of them.
A pair is taken when it belongs together, bears the name that the process has, is valid now and,
where the members' authorities are known, was issued by this member's. Until then the one before it
stays in use. So a certificate of an authority that the chain has not announced yet may lie ready:
it is taken when the chain has.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import structlog
from cryptography.hazmat.primitives.serialization import Encoding

from cipherward_kit.config import ServerConfig
from cipherward_kit.errors import CannotStart
from cipherward_kit.looking import looking
from cipherward_kit.measures import show_authorities, show_own_certificate
from cipherward_kit.readiness import Readiness
from cipherward_kit.tls import (
    CertificateUnreadable,
    Identity,
    PeerNotTrusted,
    TrustRegistry,
    only_uri,
)

# Readiness: what this process shows of itself is accepted by others.
CERTIFICATE = "certificate"
# Two looks at the clock and at two files. Kubernetes takes up to a minute to bring a Secret, so a
# few seconds more are not noticed; nobody should wait longer for a service that ran out.
LOOK_SECONDS = 5.0

# Of a file: device, inode, size and time of change.
_Mark: TypeAlias = tuple[int, int, int, int]

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class IdentityUnusable(CannotStart):
    """The process's own certificate or key cannot be used."""

    exit_status = 7


class FollowedIdentity:
    """Certificate and key in two files, as of the last `look`. `current` is for any thread."""

    def __init__(
        self, certificate: Path, private_key: Path, registry: TrustRegistry | None = None
    ) -> None:
        """Read both files, which blocks shortly.

        Args:
            certificate: PEM, leaf first.
            private_key: PEM.
            registry: the members' authorities; None does not ask who issued a certificate.

        Raises:
            CertificateUnreadable: one cannot be read, or they do not belong together.
        """
        self._files = (certificate, private_key)
        self._registry = registry
        self._read = (
            self._marks()
        )  # before the files: who writes meanwhile is seen at the next look
        self._current = self._newest = Identity.from_files(certificate, private_key)
        self._said = ""

    @property
    def current(self) -> Identity:
        """The newest pair that fitted."""
        return self._current

    @property
    def not_after(self) -> datetime.datetime:
        """When the certificate in use runs out, UTC."""
        return self._current.leaf().not_valid_after_utc

    def fault(self) -> str:
        """Return why others refuse what is in use, with what to do; empty if they do not."""
        return self._fault(self._current)

    def look(self) -> str:
        """Read the files if they changed, and take what fits. Blocks: not for the event loop.

        Returns:
            Why others refuse what is in use, with what to do; empty if they do not.
        """
        waiting = self._refresh()
        if self._newest is not self._current and not waiting:
            waiting = self._fault(self._newest)
            if not waiting:
                self._current = self._newest
                log.info("certificate_taken", not_after=self.not_after.isoformat())
        if waiting and waiting != self._said:
            log.warning("certificate_not_taken", why=waiting)
        self._said = waiting
        fault = self.fault()
        return f"{fault}; in the files: {waiting}" if fault and waiting else fault

    def _refresh(self) -> str:
        """Read the files if they are others than last; return why they are no use."""
        marks = self._marks()
        if marks is not None and marks == self._read:
            return ""
        try:
            newest = Identity.from_files(*self._files)
        except CertificateUnreadable as error:
            self._read = None  # perhaps half written: read again, whatever their times
            return str(error)
        self._read = marks
        # Written again as they were, they are no news.
        self._newest = self._current if newest == self._current else newest
        return ""

    def _marks(self) -> tuple[_Mark, ...] | None:
        try:
            found = [path.stat() for path in self._files]
        except OSError:
            return None
        return tuple((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) for one in found)

    def _fault(self, identity: Identity) -> str:
        leaf, now = identity.leaf(), datetime.datetime.now(datetime.UTC)
        try:
            name, used = only_uri(leaf), only_uri(self._current.leaf())
        except PeerNotTrusted as error:
            return str(error)
        if name != used:
            return f"the certificate is of {name}, and this process is {used}"
        if now > leaf.not_valid_after_utc:
            return (
                f"the certificate of {name} ran out at {leaf.not_valid_after_utc:%FT%TZ}; renew it"
            )
        if now < leaf.not_valid_before_utc:
            begin = f"{leaf.not_valid_before_utc:%FT%TZ}"
            return (
                f"the certificate of {name} is valid from {begin}; is this machine's clock right?"
            )
        member = identity.caller().member
        # A member that is not in the registry (yet, or any more) is no fault of its certificate.
        if self._registry is not None and member in self._registry.members:
            try:
                self._registry.verify_peer(leaf.public_bytes(Encoding.PEM), name)
            except PeerNotTrusted as error:
                return f"{name}: {error}"
        return ""


def own_identity(config: ServerConfig, registry: TrustRegistry | None = None) -> FollowedIdentity:
    """Read the identity that the configuration names, or raise `IdentityUnusable`."""
    try:
        return FollowedIdentity(config.tls_certificate, config.tls_private_key, registry)
    except CertificateUnreadable as error:
        raise IdentityUnusable(f"this service's identity is unusable: {error}") from None


@asynccontextmanager
async def following(
    identity: FollowedIdentity,
    looked: Callable[[str], None] | None = None,
    *,
    seconds: float = LOOK_SECONDS,
) -> AsyncGenerator[None]:
    """Look at the files of an identity while the context is open.

    Args:
        identity: whose files.
        looked: given what each `look` returned, the first before this returns.
        seconds: from one look to the next.
    """

    async def look() -> None:
        fault = await asyncio.to_thread(identity.look)
        if looked is not None:
            looked(fault)

    async with looking(look, seconds):
        yield


@asynccontextmanager
async def follow_identity(
    config: ServerConfig,
    registry: TrustRegistry,
    readiness: Readiness,
    *,
    seconds: float = LOOK_SECONDS,
) -> AsyncGenerator[FollowedIdentity]:
    """Follow the identity that a process's configuration names while the context is open.

    Args:
        config: names the two files.
        registry: the members' authorities.
        readiness: gets the condition `CERTIFICATE`, false while others refuse the certificate.
        seconds: from one look at the files to the next.

    Raises:
        IdentityUnusable: certificate or key cannot be read, or they do not belong together.
    """
    identity = await asyncio.to_thread(own_identity, config, registry)
    readiness.add(CERTIFICATE)
    shown: Mapping[str, datetime.datetime] = {}

    def looked(fault: str) -> None:
        nonlocal shown
        readiness.set(CERTIFICATE, not fault, fault)
        show_own_certificate(config.member, identity.not_after)
        until = registry.authorities_until()
        if until != shown:
            shown = until
            show_authorities(until)

    async with following(identity, looked, seconds=seconds):
        yield identity
