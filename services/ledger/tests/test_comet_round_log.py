"""The node's log of rounds stays short, and its newest files stay."""

from __future__ import annotations

from pathlib import Path

from cipherward_ledger.comet.round_log import FILES_KEPT, FOLDER, drop_old_rounds


def test_only_the_oldest_full_files_go(tmp_path: Path) -> None:
    assert drop_old_rounds(tmp_path) == 0  # no node has run here yet
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    numbers = range(995, 995 + FILES_KEPT + 3)  # three digits, then four
    for name in ("wal", *(f"wal.{number:03d}" for number in numbers)):
        (folder / name).write_bytes(b"rounds")
    assert drop_old_rounds(tmp_path) == 3
    left = {path.name for path in folder.iterdir()}
    assert left == {"wal", *(f"wal.{number:03d}" for number in numbers[3:])}
    assert drop_old_rounds(tmp_path) == 0
