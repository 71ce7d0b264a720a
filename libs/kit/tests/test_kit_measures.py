"""What a process says of its disk and its certificates."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from cipherward_kit.measures import (
    CERTIFICATE_EXPIRY,
    show_authorities,
    show_disk,
    show_own_certificate,
)

EXPIRY = "cipherward_service_certificate_expiry_timestamp_seconds"
DAY = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def no_certificates() -> Iterator[None]:
    CERTIFICATE_EXPIRY.clear()
    yield
    CERTIFICATE_EXPIRY.clear()


def expiry(certificate: str, issuer: str) -> float | None:
    return REGISTRY.get_sample_value(EXPIRY, {"certificate": certificate, "issuer": issuer})


def test_the_disk_of_the_folder_is_asked_at_each_scrape(tmp_path: Path) -> None:
    show_disk(tmp_path)
    free = REGISTRY.get_sample_value("cipherward_service_data_free_bytes")
    whole = REGISTRY.get_sample_value("cipherward_service_data_capacity_bytes")
    assert free is not None
    assert whole is not None
    assert 0 < free <= whole


def test_a_folder_that_is_gone_spoils_no_scrape(tmp_path: Path) -> None:
    show_disk(tmp_path / "gone")
    free = REGISTRY.get_sample_value("cipherward_service_data_free_bytes")
    assert free is not None
    assert math.isnan(free)


def test_a_member_that_was_removed_is_trusted_no_longer_and_shown_no_longer() -> None:
    show_own_certificate("hospital-a", DAY)
    show_authorities({"hospital-a": DAY, "hospital-b": DAY})
    show_authorities({"hospital-a": DAY + datetime.timedelta(days=1)})
    assert expiry("own", "hospital-a") == DAY.timestamp()
    assert expiry("authority", "hospital-a") == DAY.timestamp() + 86_400
    assert expiry("authority", "hospital-b") is None
