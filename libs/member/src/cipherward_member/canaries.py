"""What the member's deny canaries found: a service that gave what must be refused is not ready.

The canaries tell it after every round, and again: a service that has restarted and forgotten it
learns it within a minute.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import grpc

from cipherward_kit.errors import ServiceError
from cipherward_kit.readiness import Readiness

CANARIES = "canaries"  # the condition of readiness

# Every read path of the product is about a dozen; a list beyond that is no report.
PATHS_MAX = 32
_PATH = re.compile(r"[a-z][a-z-]{0,31}")


class CanaryReportMalformed(ServiceError):
    """A report of the deny canaries names no read paths."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "CANARY_REPORT_MALFORMED"


class CanaryReports:
    """Follows the reports of the member's own canaries; a member may run none."""

    def __init__(self, readiness: Readiness) -> None:
        """Begin ready.

        Args:
            readiness: made with the condition `CANARIES`.
        """
        self._readiness = readiness
        readiness.set(CANARIES, True)

    def take(self, leaking: Sequence[str]) -> None:
        """Be ready if no read path leaks, and else not, until a later report says so.

        Args:
            leaking: the paths on which something was given that must be refused.

        Raises:
            CanaryReportMalformed: they are no names of paths, or too many.
        """
        if len(leaking) > PATHS_MAX or not all(_PATH.fullmatch(path) for path in leaking):
            raise CanaryReportMalformed(
                f"at most {PATHS_MAX} paths, each of lower-case letters and hyphens"
            )
        why = f"not refused on: {', '.join(sorted(set(leaking)))}" if leaking else ""
        self._readiness.set(CANARIES, not leaking, why)
