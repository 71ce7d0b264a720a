"""What every process tells Prometheus about itself: its release, its disk, its certificates.

The calls have their metrics at the boundary, readiness and workers theirs beside them.
"""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from prometheus_client import Gauge

BUILD_INFO = Gauge(
    "cipherward_build_info", "1; which process of which release.", ["process", "version"]
)
DATA_FREE = Gauge(
    "cipherward_service_data_free_bytes",
    "Room that this user has left on the file system of the data folder.",
)
DATA_CAPACITY = Gauge(
    "cipherward_service_data_capacity_bytes", "Size of the file system of the data folder."
)
for gauge in (DATA_FREE, DATA_CAPACITY):
    gauge.set(math.nan)  # of a process without a data folder: 0 would look like a full disk
CERTIFICATE_EXPIRY = Gauge(
    "cipherward_service_certificate_expiry_timestamp_seconds",
    "Until when a certificate is valid: the process's own, and each authority that it trusts.",
    # Not `member`: that is the scraped process's, as the scrape says it.
    ["certificate", "issuer"],
)
OWN, AUTHORITY = "own", "authority"


def show_release(process: str) -> None:
    """Say which process this is, and of which release: all parts of a release have one version."""
    BUILD_INFO.labels(process, version("cipherward-kit")).set(1)


def show_disk(folder: Path) -> None:
    """Let the gauges follow the file system of `folder`; they ask it when they are scraped."""
    DATA_FREE.set_function(lambda: _room(folder)[0])
    DATA_CAPACITY.set_function(lambda: _room(folder)[1])


def show_own_certificate(issuer: str, expires: datetime.datetime) -> None:
    """Say until when this process's certificate is valid; the newest word counts.

    Args:
        issuer: the member whose authority issued it, which is the process's own.
        expires: when it is valid no longer.
    """
    CERTIFICATE_EXPIRY.labels(OWN, issuer).set(expires.timestamp())


def show_authorities(expires: Mapping[str, datetime.datetime]) -> None:
    """Say until when the authority of each member is valid; those of earlier words are forgotten.

    Args:
        expires: by member, all that are trusted.
    """
    CERTIFICATE_EXPIRY.remove_by_labels({"certificate": AUTHORITY})
    for member, until in expires.items():
        CERTIFICATE_EXPIRY.labels(AUTHORITY, member).set(until.timestamp())


def _room(folder: Path) -> tuple[float, float]:
    """Return the free and the total size in bytes of a folder's file system."""
    try:
        found = os.statvfs(folder)
    except OSError:  # the folder is gone: no number is right, and the other metrics are wanted
        return math.nan, math.nan
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
