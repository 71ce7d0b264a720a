"""A certificate and key that we show to a server of somebody else's, followed as its files change.

What the files hold is loaded into the TLS context that a client already has: its next connections
show it, those that are open stay. A pair that does not belong together, or has run out, is left
where it is, and the one before stays in use.
"""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from cryptography import x509

from cipherward_kit.looking import looking
from cipherward_kit.own_identity import LOOK_SECONDS

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class PairUnusable(ValueError):
    """Certificate and key cannot be shown; says why, without the files' content."""


class ClientPair:
    """The pair in a context; `load` it once, then `followed` keeps it as the files are."""

    def __init__(
        self, context: ssl.SSLContext, certificate: Path, private_key: Path | None = None
    ) -> None:
        """Describe it; no file is read.

        Args:
            context: of the client's connections.
            certificate: PEM, leaf first.
            private_key: PEM, unencrypted; None: it is in the same file.
        """
        self._context = context
        self._certificate = certificate
        self._private_key = private_key
        self._loaded: tuple[tuple[int, ...], ...] | None = None
        self._said = ""

    def load(self) -> None:
        """Show what the files hold from now on. Blocks shortly.

        Raises:
            PairUnusable: they cannot be used, or the certificate has run out.
            OSError: one cannot be read.
        """
        marks = self._marks()  # before the files: who writes meanwhile is seen at the next look
        # First where nobody would see a half of it.
        self._load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        leaf = x509.load_pem_x509_certificate(self._certificate.read_bytes())
        if leaf.not_valid_after_utc < datetime.datetime.now(datetime.UTC):
            raise PairUnusable(f"the certificate ran out at {leaf.not_valid_after_utc:%FT%TZ}")
        self._load_into(self._context)
        self._loaded = marks

    def look(self) -> None:
        """Load the files if they are others than those in use, and fit. Blocks shortly."""
        why = ""
        try:
            if self._marks() != self._loaded:
                self.load()
                log.info("client_certificate_taken", file=self._certificate.name)
        except (PairUnusable, OSError) as error:
            self._loaded = None  # perhaps half written: read again, whatever their times
            why = str(error) if isinstance(error, PairUnusable) else error.strerror or "unreadable"
        if why and why != self._said:
            log.warning("client_certificate_not_taken", file=self._certificate.name, why=why)
        self._said = why

    @asynccontextmanager
    async def followed(self, *, seconds: float = LOOK_SECONDS) -> AsyncGenerator[None]:
        """Look at the files while the context is open, every so many seconds."""

        async def look() -> None:
            await asyncio.to_thread(self.look)

        async with looking(look, seconds):
            yield

    def _load_into(self, context: ssl.SSLContext) -> None:
        try:
            # An encrypted key would ask at the terminal; there is none.
            context.load_cert_chain(self._certificate, self._private_key, password=lambda: b"")
        except (ssl.SSLError, ValueError) as error:
            raise PairUnusable(
                f"certificate and key cannot be used ({type(error).__name__})"
            ) from None

    def _marks(self) -> tuple[tuple[int, ...], ...]:
        paths = [self._certificate, *([self._private_key] if self._private_key else [])]
        found = [path.stat() for path in paths]
        return tuple((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) for one in found)
