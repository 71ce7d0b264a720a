"""Settings of the database, as values; nothing here needs the driver."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MongoSettings:
    """Where the database is and how it is reached.

    uri: the connection string; it may hold a password and is never printed. database: the name
    of this member's own. ca_file: what the server's certificate is checked with; None: the
    system's, or no TLS at all, as the URI says. certificate_file: our certificate and key, PEM.
    pool_max: connections at once. timeout_seconds: for any one act, retries included.
    """

    uri: str = field(repr=False)
    database: str
    ca_file: Path | None
    certificate_file: Path | None
    pool_max: int
    timeout_seconds: float
