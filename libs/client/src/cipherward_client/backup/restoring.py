"""Putting a backup back: unpacked beside its place, held against the chain, then moved there.

Nothing lies in a service's folder before everything has been checked; each store appears whole.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

from cipherward_chain.checkpoint import CheckpointForeign
from cipherward_chain.genesis import Genesis
from cipherward_chain.signatures import SigningKey
from cipherward_client.alliance import layout
from cipherward_client.alliance.layout import AllianceFolder, MemberFolder
from cipherward_client.backup.archive import FOLDER_MODE, Unpacked, unpack
from cipherward_client.backup.chain_view import ChainView, CopiedChain, require_on, shown_chain
from cipherward_client.backup.copying import ChainCopy, read_chain, read_place
from cipherward_client.backup.errors import (
    ArchiveExposed,
    ArchiveMalformed,
    ArchiveOfAnotherChain,
    ArchiveOfAnotherMember,
    NoRoom,
    StoreDamaged,
    StoreElsewhere,
    StoreMissing,
    TargetNotEmpty,
)
from cipherward_client.backup.making import SPARE_BYTES, elsewhere
from cipherward_client.backup.manifest import Manifest, check_signature
from cipherward_client.backup.stores import (
    CHAIN,
    COMPUTE,
    FOLLOWING,
    SLOT_KEYS,
    STORES,
    Part,
    parts_of,
)
from cipherward_client.sdk.connection import Alliance
from cipherward_kit.datafolder import CHAIN_NAME, sync_folder, write_atomically
from cipherward_member.restored import write_restored

KEYS_TREE: Final = STORES[SLOT_KEYS][0].trees[0]
See: TypeAlias = Callable[[Alliance], Awaitable[ChainView]]
WRITABLE: Final = 0o022  # by others, who could exchange what is checked here


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back. height: of the chain at this moment; 0: nothing was held against it."""

    manifest: Manifest
    stores: tuple[str, ...]
    height: int


@dataclass(frozen=True, slots=True)
class _Move:
    """A part that is unpacked in `staged` and belongs into `target`."""

    part: Part
    staged: Path
    target: Path


async def restore(
    folder: AllianceFolder,
    member: str,
    archive: Path,
    stores: Sequence[str] = (),
    *,
    see: See = shown_chain,
) -> Restored:
    """Put stores of a member back from an archive, all or none of them.

    Args:
        stores: their names; none: all that are in the archive.
        see: shows the chain where the archive does not have it.

    Raises:
        CheckFailed: one of `errors` says what does not fit; nothing was put anywhere.
        ClientError: the alliance's files cannot be used.
    """
    parts_of(stores)  # names that are none are said before anything is read
    genesis = Genesis.parse(await asyncio.to_thread(folder.genesis_file.read_bytes))
    home = folder.member(member)
    root = home.data("")
    await asyncio.to_thread(root.mkdir, FOLDER_MODE, parents=True, exist_ok=True)
    if root.stat().st_mode & WRITABLE:
        raise ArchiveExposed(str(root))
    await asyncio.to_thread(_require_room, archive, root)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=root) as scratch:
        staging = Path(scratch)
        unpacked = await asyncio.to_thread(unpack, archive, staging)
        chosen = tuple(stores) or unpacked.manifest.stores
        await asyncio.to_thread(_check, unpacked, genesis, home, chosen, folder)
        moves = [
            _Move(part, staging / part.service, home.data(part.service))
            for part in parts_of(chosen)
        ]
        _drop_others(staging, moves)
        for move in moves:
            _require_free(move)
        height = await _held_against_chain(folder, genesis, staging, chosen, see)
        await asyncio.to_thread(_finish, moves, genesis.chain_id, height)
    return Restored(unpacked.manifest, chosen, height)


def _require_room(archive: Path, root: Path) -> None:
    wanted, free = archive.stat().st_size + SPARE_BYTES, shutil.disk_usage(root).free
    if free < wanted:
        raise NoRoom(f"{free} bytes are free, {wanted} are needed")


def _check(
    unpacked: Unpacked,
    genesis: Genesis,
    home: MemberFolder,
    chosen: Sequence[str],
    folder: AllianceFolder,
) -> None:
    """Hold the archive's own words against whose it is to be."""
    manifest = unpacked.manifest
    if (manifest.chain_id, manifest.genesis) != (genesis.chain_id, genesis.digest):
        raise ArchiveOfAnotherChain(f"it is of {manifest.chain_id}")
    if manifest.member != home.member:
        raise ArchiveOfAnotherMember(f"it is of {manifest.member}")
    key = SigningKey(home.key(layout.MEMBER_KEY).read_bytes())
    check_signature(unpacked.raw, unpacked.signature, key.public_key)
    away = elsewhere(folder, genesis.engine)
    for store in chosen:
        if store not in manifest.stores:
            raise StoreMissing(f"{store} is not in the archive")
        if store in away:
            raise StoreElsewhere(f"{store}: {away[store]}")


def _drop_others(staging: Path, moves: Sequence[_Move]) -> None:
    """Take away what is unpacked and belongs to no chosen store."""
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


def _require_free(move: _Move) -> None:
    """Slot keys and the rest of a storage come from archives of their own, in any order."""
    if not move.target.exists():
        return
    found = {path.name for path in move.target.iterdir()}
    if move.part in STORES[SLOT_KEYS]:
        taken = KEYS_TREE in found and any((move.target / KEYS_TREE).iterdir())
    else:
        taken = bool(found - {KEYS_TREE})
    if taken:
        raise TargetNotEmpty(str(move.target))


async def _held_against_chain(
    folder: AllianceFolder, genesis: Genesis, staging: Path, chosen: Sequence[str], see: See
) -> int:
    """Check every store against the chain; return the chain's height.

    Raises:
        CheckFailed: it does not fit, or no chain can be seen.
    """
    if SLOT_KEYS in chosen:
        return 0  # the storage itself holds them against its rows when it starts
    async with _chain(folder, genesis, staging, chosen, see) as view:
        for store in FOLLOWING:
            if store not in chosen:
                continue
            (part,) = STORES[store]
            place = await asyncio.to_thread(read_place, staging / part.service / part.database)
            if place is None:  # before its first block: the chain brings it all
                continue
            try:
                place.check_root(genesis.trust_root())
            except CheckpointForeign as error:
                raise ArchiveOfAnotherChain(f"{store}: {error}") from None
            await require_on(view, place, store)
        return view.height


@asynccontextmanager
async def _chain(
    folder: AllianceFolder, genesis: Genesis, staging: Path, chosen: Sequence[str], see: See
) -> AsyncGenerator[ChainView]:
    if CHAIN in chosen:
        contract, ledger = STORES[CHAIN]
        paths = (staging / part.service / part.database for part in (contract, ledger))
        copy = await asyncio.to_thread(_sound_chain, genesis, *paths)
        yield CopiedChain(copy)
        return
    async with Alliance.open(folder.endpoints_file, folder.genesis_file) as alliance:
        yield await see(alliance)


def _sound_chain(genesis: Genesis, contract: Path, ledger: Path) -> ChainCopy:
    copy = read_chain(contract, ledger)
    if copy.genesis != frozenset((genesis.digest,)):
        raise ArchiveOfAnotherChain("ledger or contract was begun with another genesis")
    if not copy.fits:
        raise StoreDamaged(f"blocks end at {copy.height}, the state at {copy.executed}")
    copy.require_root()
    return copy


def _finish(moves: Sequence[_Move], chain_id: str, height: int) -> None:
    """Mark what must be marked, and move each part into its place; undo what was moved if one
    cannot be.
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
    try:
        for move in moves:
            _place(move, done)
    except BaseException:
        for staged, target in reversed(done):
            os.rename(target, staged)
        raise


def _place(move: _Move, done: list[tuple[Path, Path]]) -> None:
    """Move a part: by one rename where nothing is, else what lies beside the slot keys last."""
    move.target.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    with suppress(FileNotFoundError, OSError):
        move.target.rmdir()  # an empty one
    if not move.target.exists():
        os.rename(move.staged, move.target)
        os.chmod(move.target, FOLDER_MODE)
        done.append((move.staged, move.target))
    else:
        _require_free(move)
        if move.part in STORES[SLOT_KEYS]:
            with suppress(FileNotFoundError):
                (move.target / KEYS_TREE).rmdir()
        # The database last: without it a service that is started by mistake begins empty.
        names = sorted((path.name for path in move.staged.iterdir()), key=move.part.database.__eq__)
        for name in names:
            os.rename(move.staged / name, move.target / name)
            done.append((move.staged / name, move.target / name))
    sync_folder(move.target)
    sync_folder(move.target.parent)
