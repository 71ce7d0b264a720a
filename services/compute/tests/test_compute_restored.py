"""A compute service that was put back from a backup answers nothing that it may have answered."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_kit.testing import eventually
from cipherward_member.errors import CheckpointUnusable
from cipherward_member.reports import OrderKey
from cipherward_member.restored import FILE_NAME, read_restored, write_restored

if TYPE_CHECKING:
    from conftest import Hospital, StudyRun, World

slow = pytest.mark.slow  # four hospitals start: about a second
MEMBER = "hospital-a"


def rows_of(hospital: Hospital, query: str) -> list[tuple[object, ...]]:
    """Return what a query finds in a hospital's database."""
    with closing(sqlite3.connect(hospital.config.data_dir / "compute.db")) as connection:
        return connection.execute(query).fetchall()


async def put_back(hospital: Hospital, backup: Path, height: int) -> None:
    """Replace a hospital's database by an old copy, marked as a restore marks it."""
    await hospital.stop()
    replace(hospital.config.data_dir / "compute.db", backup)
    write_restored(hospital.config.data_dir, height)
    await hospital.start()


def replace(database: Path, backup: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    shutil.copy(backup, database)


async def copied(hospital: Hospital, to: Path) -> Path:
    """Copy a hospital's database while it is stopped."""
    await hospital.stop()
    shutil.copy(hospital.config.data_dir / "compute.db", to)
    await hospital.start()
    return to


async def share_of(study: StudyRun, order: OrderKey) -> bytes:
    """Return the stored share of the member, fetched as hospital-d's compute service."""
    request = pb.GetDecryptionShareRequest(
        study_id=study.study, order=chain_pb.OrderRef(height=order.height, index=order.index)
    )
    peer = study.world.hospitals[MEMBER].stub("hospital-d", "compute")
    return b"".join([one.chunk async for one in peer.GetDecryptionShare(request)])


@slow
@pytest.mark.begins("counted")
async def test_a_share_from_before_the_restore_is_not_made_again_for_any_order(
    world: World, study: StudyRun, tmp_path: Path
) -> None:
    counts = await study.to_counts()
    hospital = world.hospitals[MEMBER]
    backup = await copied(hospital, tmp_path / "backup.db")
    order = study.release_order("release_counts", counts, study.members[:3])
    await study.done(order)
    await put_back(hospital, backup, order.height)
    await eventually(
        lambda: rows_of(hospital, "SELECT failure_reason FROM studies") == [("RESTORED_SINCE",)]
    )
    assert rows_of(hospital, "SELECT height, length(share) FROM shares") == [(order.height, 0)]
    later = study.release_order("release_counts", counts, study.members[:3])
    reports = await study.reports(later, (MEMBER,))
    assert reports[MEMBER].outcome == chain_pb.OUTCOME_FAILED
    assert rows_of(hospital, "SELECT height, length(share) FROM shares") == [(order.height, 0)]


@slow
@pytest.mark.begins("counted")
async def test_a_share_that_the_backup_has_is_given_as_before(
    world: World, study: StudyRun, tmp_path: Path
) -> None:
    counts = await study.to_counts()
    hospital = world.hospitals[MEMBER]
    order = study.release_order("release_counts", counts, study.members[:3])
    await study.done(order)
    before = await share_of(study, order)
    backup = await copied(hospital, tmp_path / "backup.db")
    await put_back(hospital, backup, order.height)
    world.chain.heartbeat()
    await eventually(lambda: hospital.readiness.ready)
    assert await share_of(study, order) == before


@slow
async def test_an_order_from_before_the_restore_is_not_carried_out(
    world: World, study: StudyRun, tmp_path: Path
) -> None:
    hospital = world.hospitals[MEMBER]
    backup = await copied(hospital, tmp_path / "backup.db")
    order = study.ceremony_order("commit")
    await study.done(order)
    await put_back(hospital, backup, order.height)
    await eventually(
        lambda: rows_of(hospital, "SELECT failure_reason FROM studies") == [("RESTORED_SINCE",)]
    )
    assert not rows_of(hospital, "SELECT 1 FROM ceremonies")


@slow
async def test_an_order_after_the_restore_is_carried_out(
    world: World, study: StudyRun, tmp_path: Path
) -> None:
    hospital = world.hospitals[MEMBER]
    backup = await copied(hospital, tmp_path / "backup.db")
    await put_back(hospital, backup, 1)
    order = study.ceremony_order("commit")
    assert order.height > 1
    assert MEMBER in await study.done(order)


def test_a_folder_that_was_never_restored_has_no_mark(tmp_path: Path) -> None:
    assert read_restored(tmp_path) == 0


@pytest.mark.parametrize("text", ["", "many", "-4", "7 8"])
def test_a_damaged_mark_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(CheckpointUnusable, match="restore the folder again"):
        read_restored(tmp_path)
