"""Below its disk reserve a service takes nothing new, says so, and goes on with all else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from cipherward_kit.disk import DISK, DiskReserve, DiskReserved, free_on
from cipherward_kit.readiness import Readiness

GROWS, READS = "/echo.v1.Echo/Put", "/echo.v1.Echo/Get"


@dataclass
class Disk:
    """A disk of a size that a test chooses."""

    free: int

    def __call__(self, _folder: Path) -> int:
        return self.free


@pytest.fixture
def disk() -> Disk:
    return Disk(1_000)


@pytest.fixture
def readiness() -> Readiness:
    found = Readiness()
    found.add(DISK)
    return found


@pytest.fixture
def reserve(disk: Disk, tmp_path: Path) -> DiskReserve:
    return DiskReserve(tmp_path, 1_000, ["Put"], disk)


def test_with_the_reserve_free_everything_is_taken(
    reserve: DiskReserve, readiness: Readiness
) -> None:
    reserve.look(readiness)
    assert readiness.ready
    reserve.admit(GROWS)


def test_below_the_reserve_nothing_that_grows_is_taken_and_all_else_is(
    reserve: DiskReserve, readiness: Readiness, disk: Disk
) -> None:
    disk.free = 999
    reserve.look(readiness)
    assert list(readiness.missing()) == [DISK]
    with pytest.raises(DiskReserved):
        reserve.admit(GROWS)
    reserve.admit(READS)


def test_it_takes_again_when_there_is_more_than_the_reserve(
    reserve: DiskReserve, readiness: Readiness, disk: Disk
) -> None:
    for free, ready in ((999, False), (1_001, False), (1_249, False), (1_250, True), (1_001, True)):
        disk.free = free
        reserve.look(readiness)
        assert readiness.ready is ready, free
    reserve.admit(GROWS)


def test_a_folder_that_is_not_made_yet_has_the_room_of_where_it_will_be(tmp_path: Path) -> None:
    assert free_on(tmp_path / "not" / "yet") > 0


async def test_it_is_looked_at_before_anything_is_served(tmp_path: Path) -> None:
    readiness = Readiness()
    async with DiskReserve(tmp_path, 1 << 62, ["Put"]).watched(readiness):
        assert list(readiness.missing()) == [DISK]
