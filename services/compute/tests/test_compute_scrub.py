"""What a disk forgets of what is sealed is found before a step needs it."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from prometheus_client import REGISTRY

from cipherward_compute.columns_flags import OwnFlags
from cipherward_compute.datasets import DataSets
from cipherward_compute.datasets_form import Column, Header, RowsEnd, RowsPart
from cipherward_compute.opt_outs import OptOuts
from cipherward_compute.schema import SCHEMA
from cipherward_compute.shelves import FIGURES, sealed_shelves
from cipherward_compute.vault import Vault
from cipherward_compute.wiring import DATABASE_NAME
from cipherward_kit.database import Database
from cipherward_member.scrub import FILE_NAME, Found, Scrub

if TYPE_CHECKING:
    from conftest import StudyRun

FAST = float(1 << 40)  # bytes a second
COLUMNS = (Column("age", "a"),)


async def scrubbed(database: Database, vault: Vault, folder: Path) -> dict[str, Found]:
    """Make one pass; return what it has found."""
    found: dict[str, Found] = {}
    shelves = sealed_shelves(database, vault)
    await Scrub(
        shelves, folder / FILE_NAME, FIGURES, bytes_a_second=FAST, then=found.update
    ).read_all()
    for kind, one in found.items():
        labels = {"kind": kind}
        assert REGISTRY.get_sample_value("cipherward_compute_scrub_corrupt", labels) == one.corrupt
    return found


def rot(folder: Path, change: str) -> None:
    """Change rows behind the service's back."""
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as connection, connection:
        assert connection.execute(change).rowcount > 0


@pytest.mark.slow
@pytest.mark.begins("released")
async def test_everything_that_a_study_leaves_sealed_opens_in_its_place(
    study: StudyRun, tmp_path: Path
) -> None:
    config = study.world.hospitals["hospital-a"].config
    vault = Vault(config.data_key_file.read_bytes())
    async with Database(config.data_dir / DATABASE_NAME, SCHEMA) as database:
        found = await scrubbed(database, vault, tmp_path)
    assert {kind for kind, one in found.items() if one.pieces} == {
        "rows",
        "cohort",
        "key_share",
        "share",
    }
    assert not any(one.corrupt for one in found.values())


async def rows(count: int) -> AsyncIterator[RowsPart | RowsEnd]:
    yield RowsPart(np.arange(count, dtype="<f8").tobytes(), b"")
    yield RowsEnd(count)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[Database]:
    async with Database(tmp_path / DATABASE_NAME, SCHEMA) as opened:
        yield opened


@pytest.fixture
def vault() -> Vault:
    return Vault(b"k" * 32)


async def test_rows_and_flags_that_rot_are_found_and_replaced_rows_are_not_asked_for(
    database: Database, vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cipherward_member.scrub.PAGE_PIECES", 1)
    data_sets = DataSets(database, vault, OptOuts(database, vault))
    flags = OwnFlags(database, vault)
    for name in ("cohort-1", "cohort-2", "cohort-2"):
        await data_sets.contribute(Header(str(uuid.uuid4()), name, COLUMNS), rows(3))
    for key in (b"a" * 16, b"b" * 16):
        await database.write(flags.kept(key, np.ones(9, dtype=np.bool_)))
    found = await scrubbed(database, vault, tmp_path)
    assert (found["rows"].pieces, found["flags"].pieces) == (2, 2)
    assert not any(one.corrupt for one in found.values())
    rot(tmp_path, "UPDATE data_set_chunks SET sealed = zeroblob(60) WHERE rowid = 1")
    rot(tmp_path, "UPDATE own_flags SET study = zeroblob(16) WHERE rowid = 1")
    found = await scrubbed(database, vault, tmp_path)
    assert (found["rows"].corrupt, found["flags"].corrupt) == (1, 1)
    await data_sets.contribute(Header(str(uuid.uuid4()), "cohort-1", COLUMNS), rows(3))
    again = (await scrubbed(database, vault, tmp_path))["rows"]
    assert (again.pieces, again.corrupt) == (2, 0)
