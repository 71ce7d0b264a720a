"""How long one connection takes calls: so callers spread over new replicas of a service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ConnectionAge:
    """The life of one caller's connection.

    seconds: then, give or take a tenth, the caller is told to connect anew; no call fails for it.
    grace_seconds: for the calls that are in flight at that time; what lasts longer is cut.
    """

    seconds: float
    grace_seconds: float

    def options(self) -> list[tuple[str, int]]:
        """Return it as options of a gRPC server."""
        return [
            ("grpc.max_connection_age_ms", int(1000 * self.seconds)),
            ("grpc.max_connection_age_grace_ms", int(1000 * self.grace_seconds)),
        ]


# A caller resolves the service's name again with each connection: within five minutes a new replica
# has its share of the calls. The grace is longer than any call that ends by itself: uploads,
# downloads and contributions have 600 s. Only streams that never end are cut, and whoever reads
# those opens them again where they were.
CONNECTION_AGE: Final = ConnectionAge(300, 660)
