"""Where the parts of a store belong, and how they get there: whole, and nothing over anything."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from cipherward_client.alliance.layout import MemberFolder
from cipherward_client.backup.archive import FOLDER_MODE
from cipherward_client.backup.dated import STAMP
from cipherward_client.backup.errors import ArchiveMalformed, StoreMissing, TargetNotEmpty
from cipherward_client.backup.stores import COMPUTE, KEYS_TREE, SLOT_KEYS, STORES, Part
from cipherward_kit.datafolder import CHAIN_NAME, LOCK_NAME, sync_folder, write_atomically
from cipherward_member.restored import write_restored


@dataclass(frozen=True, slots=True)
class Placing:
    """Where a restore finds and puts what is not in the member's folder as `layout` has it.

    slot_keys: the folder of slot keys. endpoints: where the ledgers are. aside: what lies where a
    store belongs is moved beside it first; else nothing may lie there.
    """

    slot_keys: Path | None = None
    endpoints: Path | None = None
    aside: bool = False


HERE: Final = Placing()


@dataclass(frozen=True, slots=True)
class Move:
    """A part that is unpacked in `staged` and belongs into `target`; home: its service's folder."""

    part: Part
    staged: Path
    target: Path
    home: Path
    aside: bool

    @classmethod
    def of(cls, part: Part, staging: Path, home: MemberFolder, placing: Placing) -> Move:
        """Return where a part of what is unpacked in `staging` belongs."""
        staged, place = staging / part.service, home.data(part.service)
        if part in STORES[SLOT_KEYS]:
            target = placing.slot_keys or place / KEYS_TREE
            return cls(part, staged / KEYS_TREE, target, place, placing.aside)
        return cls(part, staged, place, place, placing.aside)

    def in_the_way(self) -> list[str]:
        """Return what lies in the part's place.

        Slot keys and the rest of a storage come from archives of their own, in any order: neither
        is in the other's way. The lock stays where it is when the rest is moved aside: it is held.
        """
        if not self.target.exists():
            return []
        ours = {KEYS_TREE, LOCK_NAME} if self.aside else {KEYS_TREE}
        return sorted({path.name for path in self.target.iterdir()} - ours)

    def require_free(self) -> None:
        """Raise `TargetNotEmpty` if something lies in the part's place."""
        if self.in_the_way():
            raise TargetNotEmpty(str(self.target))


def drop_others(staging: Path, moves: Sequence[Move]) -> None:
    """Take away what is unpacked and belongs to no chosen store.

    Raises:
        ArchiveMalformed: a file belongs to no store at all.
        StoreMissing: a store's database is not there.
    """
    parts = {move.part.service: move.part for move in moves}
    for service in staging.iterdir():
        part = parts.get(service.name)
        if part is None:
            shutil.rmtree(service)
            continue
        for found in service.iterdir():
            inside = (
                PurePosixPath(found.name) / "x" if found.is_dir() else PurePosixPath(found.name)
            )
            if not part.holds(inside):
                raise ArchiveMalformed(f"{service.name}/{found.name} belongs to no store")
        if part.database and not (service / part.database).exists():
            raise StoreMissing(f"{service.name}/{part.database} is not in the archive")


def put_in_place(moves: Sequence[Move], chain_id: str, height: int) -> None:
    """Mark what must be marked, and move each part into its place; undo what was moved if one
    cannot be. Blocks.

    Args:
        moves: their services run nowhere.
        chain_id: the chain of them all.
        height: of the chain now.

    Raises:
        TargetNotEmpty: something came into the way.
        OSError: something cannot be moved.
    """
    for move in moves:
        if move.part.database:
            write_atomically(move.staged / CHAIN_NAME, f"{chain_id}\n".encode())
        if move.part in STORES[COMPUTE]:
            write_restored(move.staged, height)
        for found in move.staged.rglob("*"):
            if found.is_dir():
                sync_folder(found)
    done: list[tuple[Path, Path]] = []
    stamp = time.strftime(STAMP, time.gmtime())
    try:
        for move in moves:
            if move.aside:
                _set_aside(move, stamp, done)
            _place(move, done)
    except BaseException:
        for before, after in reversed(done):
            before.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)  # an empty one was taken away
            os.rename(after, before)
        for folder in {after.parent for _, after in done}:
            with suppress(OSError):
                folder.rmdir()  # one that was made for this and is empty again
        raise


def _set_aside(move: Move, stamp: str, done: list[tuple[Path, Path]]) -> None:
    """Move what lies in a part's place into a new folder beside it."""
    names = move.in_the_way()
    if not names:
        return
    beside = move.target.with_name(f"{move.target.name}.before-{stamp}")
    beside.mkdir(mode=FOLDER_MODE)
    for name in names:
        _rename(move.target / name, beside / name, done)
    sync_folder(beside)


def _place(move: Move, done: list[tuple[Path, Path]]) -> None:
    """Move a part: by one rename where nothing is, else what lies beside the slot keys last."""
    move.target.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    with suppress(FileNotFoundError, OSError):
        move.target.rmdir()  # an empty one
    if not move.target.exists():
        _rename(move.staged, move.target, done)
        os.chmod(move.target, FOLDER_MODE)
    else:
        move.require_free()
        # The database last: without it a service that is started by mistake begins empty.
        names = sorted((path.name for path in move.staged.iterdir()), key=move.part.database.__eq__)
        for name in names:
            _rename(move.staged / name, move.target / name, done)
    sync_folder(move.target)
    sync_folder(move.target.parent)


def _rename(before: Path, after: Path, done: list[tuple[Path, Path]]) -> None:
    os.rename(before, after)
    done.append((before, after))
