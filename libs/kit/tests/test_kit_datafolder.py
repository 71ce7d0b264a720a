"""One writer, one chain, whole files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cipherward_kit.datafolder import (
    DataFolder,
    DataFolderLocked,
    DataFolderOfAnotherChain,
    DataFolderUnusable,
)

GENESIS = b"g"


def test_a_new_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "deep" / "data", "chain-1", GENESIS) as folder:
        assert folder.path.stat().st_mode & 0o777 == 0o700
        assert (folder.path / "chain-id").read_text() == "chain-1\n67\n"


def test_a_folder_has_one_writer_at_a_time(tmp_path: Path) -> None:
    with DataFolder(tmp_path, "chain-1", GENESIS), pytest.raises(DataFolderLocked):
        DataFolder(tmp_path, "chain-1", GENESIS).__enter__()
    with DataFolder(tmp_path, "chain-1", GENESIS):
        pass


@pytest.mark.slow
def test_a_killed_writer_leaves_the_folder_free(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; "
        "from cipherward_kit.datafolder import DataFolder; "
        "DataFolder(Path(sys.argv[1]), 'chain-1', b'g').__enter__(); print('held', flush=True); "
        "time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DataFolderLocked):
            DataFolder(tmp_path, "chain-1", GENESIS).__enter__()
        holder.kill()
    with DataFolder(tmp_path, "chain-1", GENESIS):
        pass


def test_the_folder_of_another_chain_is_refused_and_left_alone(tmp_path: Path) -> None:
    with DataFolder(tmp_path, "chain-1", GENESIS):
        pass
    with pytest.raises(DataFolderOfAnotherChain, match="belongs to the chain chain-1"):
        DataFolder(tmp_path, "chain-2", GENESIS).__enter__()
    with DataFolder(tmp_path, "chain-1", GENESIS):  # and the refusal did not keep the lock
        pass


def test_the_folder_of_another_genesis_is_refused_under_the_same_chain_id(tmp_path: Path) -> None:
    with DataFolder(tmp_path, "chain-1", GENESIS):
        pass
    with pytest.raises(DataFolderOfAnotherChain, match="another chain that is called chain-1, too"):
        DataFolder(tmp_path, "chain-1", b"h").__enter__()
    with DataFolder(tmp_path, "chain-1", GENESIS):
        pass


def test_a_folder_whose_genesis_was_not_noted_is_this_ones_from_now_on(tmp_path: Path) -> None:
    (tmp_path / "chain-id").write_text("chain-1\n")
    with DataFolder(tmp_path, "chain-1", GENESIS):
        pass
    with pytest.raises(DataFolderOfAnotherChain):
        DataFolder(tmp_path, "chain-1", b"h").__enter__()


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataFolderUnusable, match="Not a directory"):
        DataFolder(tmp_path / "file" / "data", "chain-1", GENESIS).__enter__()


def test_a_file_is_written_whole_with_its_mode(tmp_path: Path) -> None:
    with DataFolder(tmp_path, "chain-1", GENESIS) as folder:
        folder.write_file("share", b"old")
        path = folder.write_file("share", b"new")
        assert path.read_bytes() == b"new"
        assert path.stat().st_mode & 0o777 == 0o600
        assert folder.write_file("shown", b"", 0o644).stat().st_mode & 0o777 == 0o644


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    with DataFolder(tmp_path, "chain-1", GENESIS) as folder:
        folder.write_file("share", b"old")
        (tmp_path / "taken").mkdir()
        with pytest.raises(OSError, match="directory"):
            folder.write_file("taken", b"new")
        assert (tmp_path / "share").read_bytes() == b"old"
        assert sorted(os.listdir(tmp_path)) == ["chain-id", "lock", "share", "taken"]


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".share.abcd1234.partial").write_bytes(b"half")
    with DataFolder(tmp_path, "chain-1", GENESIS):
        assert sorted(os.listdir(tmp_path)) == ["chain-id", "lock"]
