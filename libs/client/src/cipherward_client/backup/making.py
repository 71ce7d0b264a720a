"""Making a backup of a member's stores while its services run."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cipherward_chain.genesis import Genesis
from cipherward_chain.signatures import SigningKey
from cipherward_client.alliance import layout
from cipherward_client.alliance.layout import AllianceFolder, MemberFolder
from cipherward_client.alliance.parts import EMBEDDED, SOLO, Remembered
from cipherward_client.backup.archive import ArchiveWriter
from cipherward_client.backup.copying import copy_chain, copy_databases, read_chain, read_place
from cipherward_client.backup.dated import Series
from cipherward_client.backup.errors import (
    NoRoom,
    StoreChanging,
    StoreElsewhere,
    StoreMissing,
)
from cipherward_client.backup.holding import require_running
from cipherward_client.backup.manifest import Manifest, sign_manifest
from cipherward_client.backup.stores import (
    CHAIN,
    FOLLOWING,
    KEYS_TREE,
    SLOT_KEYS,
    STORAGE,
    STORES,
    Part,
    parts_of,
)

# What is left beside the copies, so that a backup on the services' own disk never ends them.
SPARE_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Made:
    """What was backed up, and which of a member's stores are kept by others: (store, by whom)."""

    manifest: Manifest
    elsewhere: Sequence[tuple[str, str]]


def elsewhere(folder: AllianceFolder, engine: str) -> dict[str, str]:
    """Return the stores that are not in a member's folder, and who has them instead.

    Raises:
        PartsMalformed: the folder's own file is damaged.
    """
    remembered = Remembered.read(folder)
    found: dict[str, str] = {}
    if engine != SOLO:
        found[CHAIN] = "the other members, who bring it back"
    if remembered is not None and remembered.store != EMBEDDED:
        found[STORAGE] = "MongoDB: use its own backup"
    return found


def make_backup(
    folder: AllianceFolder,
    member: str,
    out: Path,
    stores: Sequence[str],
    *,
    slot_keys: Path | None = None,
    replace: bool = False,
    running: bool = False,
) -> Made:
    """Write an archive of stores of a member; its services may run. Blocks.

    Args:
        stores: their names; none: all that are here, but for slot keys.
        slot_keys: where slot keys are, if not in the storage's data folder.
        replace: overwrite an archive that is there.
        running: the services must be seen to run, else a database could be in use by one whose
            locks do not reach here.

    Raises:
        StoreUnknown, SlotKeysApart, StoreMissing, StoreElsewhere: such stores cannot be had.
        ServiceUnseen: a service that must run is not seen to.
        StoreDamaged, StoreChanging: a store cannot be copied.
        ArchiveExists: the file is there.
        NoRoom: the disk is too small for the copies.
    """
    genesis = Genesis.parse(folder.genesis_file.read_bytes())
    away, home = elsewhere(folder, genesis.engine), folder.member(member)
    chosen = tuple(stores) or tuple(_here(home, away))
    parts = parts_of(chosen)
    for store in chosen:
        if store in away:
            raise StoreElsewhere(f"{store}: {away[store]}")
    roots = {part: home.data(part.service) for part in parts}
    slot_keys = slot_keys or home.data(STORAGE) / KEYS_TREE
    for part, root in roots.items():
        needed = root / part.database if part.database else slot_keys
        if not needed.exists():
            raise StoreMissing(str(needed))
        if running and part.database:
            require_running(root)
    key = SigningKey(home.key(layout.MEMBER_KEY).read_bytes())
    with ArchiveWriter(out, replace=replace) as archive:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            _require_room(roots, Path(scratch))
            heights = _copy_databases(chosen, roots, Path(scratch), archive)
        for part, root in roots.items():
            _add_files(part, root, slot_keys, archive)
        made_at, digest = int(time.time()), genesis.digest
        manifest = Manifest(
            genesis.chain_id, digest, member, made_at, chosen, heights, archive.entries
        )
        raw = manifest.to_bytes()
        archive.finish(raw, sign_manifest(raw, key))
    return Made(manifest, sorted(away.items()))


def make_dated_backup(
    folder: AllianceFolder,
    member: str,
    into: Path,
    stores: Sequence[str],
    *,
    keep: int,
    slot_keys: Path | None = None,
    running: bool = False,
) -> tuple[Path, Made]:
    """Write an archive that is named by its moment, and delete all but the newest of its kind.

    Args:
        into: the folder of the archives.
        stores: their names; at least one.
        keep: how many archives are left, this one among them; at least 1.
        slot_keys, running: as in `make_backup`.

    Returns:
        The archive's path, and what is in it.

    Raises:
        As `make_backup`; then the earlier archives are all there.
    """
    now = time.time()
    series = Series(into, member, tuple(stores))
    series.clear(now)
    out = series.next(now)
    made = make_backup(folder, member, out, stores, slot_keys=slot_keys, running=running)
    series.drop_older(keep)
    return out, made


def _here(home: MemberFolder, away: dict[str, str]) -> list[str]:
    return [
        store
        for store, parts in STORES.items()
        if store not in (SLOT_KEYS, *away)
        and all((home.data(part.service) / part.database).exists() for part in parts)
    ]


def _require_room(roots: dict[Part, Path], scratch: Path) -> None:
    databases = [root / part.database for part, root in roots.items() if part.database]
    wanted = sum(path.stat().st_size for path in databases) + SPARE_BYTES
    free = shutil.disk_usage(scratch).free
    if free < 2 * wanted:  # a copy, and the same in the archive
        raise NoRoom(f"{free} bytes are free beside the archive, {2 * wanted} are needed")


def _copy_databases(
    chosen: Sequence[str], roots: dict[Part, Path], scratch: Path, archive: ArchiveWriter
) -> dict[str, int]:
    """Copy and add every database; return where each store stands. The chain is copied last, so
    that no other store is ahead of it.
    """
    heights: dict[str, int] = {}
    for store in (*(one for one in FOLLOWING if one in chosen), CHAIN):
        if store not in chosen:
            continue
        pairs = [
            (roots[part] / part.database, scratch / f"{part.service}-{part.database}")
            for part in STORES[store]
        ]
        if store == CHAIN:
            contract, ledger = pairs
            copy_chain(contract, ledger)
            heights[store] = read_chain(contract[1], ledger[1]).height
        else:
            copy_databases(pairs)
            place = read_place(pairs[0][1])
            heights[store] = 0 if place is None else place.height
        for part, (_, copy) in zip(STORES[store], pairs, strict=True):
            archive.add(copy, f"{part.service}/{part.database}")
            copy.unlink()
    return heights


def _add_files(part: Part, root: Path, slot_keys: Path, archive: ArchiveWriter) -> None:
    for name in part.files:
        if (root / name).exists():
            archive.add(root / name, f"{part.service}/{name}")
    for tree in part.trees:
        place = slot_keys if tree == KEYS_TREE else root / tree
        names = _names(place)
        for name in names:
            try:
                archive.add(place / name, f"{part.service}/{tree}/{name}")
            except FileNotFoundError:
                # A body that is gone was erased, or its upload given up: no row needs it, or the
                # order that erased it comes again. A slot key was renewed, and all are needed.
                if part in STORES[SLOT_KEYS]:
                    raise StoreChanging("slot keys were just renewed") from None
        if part in STORES[SLOT_KEYS] and _names(place) != names:
            raise StoreChanging("slot keys were just renewed")


def _names(tree: Path) -> list[str]:
    """Return the files below a folder by their paths in it, but for half written ones."""
    return sorted(
        str(path.relative_to(tree))
        for path in tree.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )
