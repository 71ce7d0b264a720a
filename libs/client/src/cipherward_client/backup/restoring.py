"""Putting a backup back: unpacked beside its place, held against the chain, then moved there.

Nothing lies in a service's folder before everything has been checked; each store appears whole.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cipherward_chain.checkpoint import CheckpointForeign
from cipherward_chain.genesis import Genesis
from cipherward_chain.signatures import SigningKey
from cipherward_client.alliance import layout
from cipherward_client.alliance.layout import AllianceFolder, MemberFolder
from cipherward_client.backup.archive import FOLDER_MODE, Unpacked, unpack
from cipherward_client.backup.chain_view import ChainView, CopiedChain, require_on, shown_chain
from cipherward_client.backup.copying import ChainCopy, read_chain, read_place
from cipherward_client.backup.dated import newest_archive
from cipherward_client.backup.errors import (
    ArchiveExposed,
    ArchiveOfAnotherChain,
    ArchiveOfAnotherMember,
    NoRoom,
    StoreDamaged,
    StoreElsewhere,
    StoreMissing,
)
from cipherward_client.backup.holding import held
from cipherward_client.backup.making import SPARE_BYTES, elsewhere
from cipherward_client.backup.manifest import Manifest, check_signature
from cipherward_client.backup.placing import HERE, Move, Placing, drop_others, put_in_place
from cipherward_client.backup.stores import CHAIN, FOLLOWING, SLOT_KEYS, STORES, parts_of
from cipherward_client.sdk.connection import Alliance

See: TypeAlias = Callable[[Alliance], Awaitable[ChainView]]
# Permission bits of those who could exchange what is checked here.
WRITABLE_BY_GROUP, WRITABLE_BY_ALL = 0o020, 0o002


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back. height: of the chain at this moment; 0: nothing was held against it."""

    archive: Path
    manifest: Manifest
    stores: tuple[str, ...]
    height: int


async def restore(
    folder: AllianceFolder,
    member: str,
    archive: Path,
    stores: Sequence[str] = (),
    placing: Placing = HERE,
    *,
    see: See = shown_chain,
) -> Restored:
    """Put stores of a member back from an archive, all or none of them.

    Args:
        archive: or a folder: its newest archive of these stores.
        stores: their names; none: all that are in the archive.
        placing: where things are.
        see: shows the chain where the archive does not have it.

    Raises:
        CheckFailed: one of `errors` says what does not fit; nothing was put anywhere.
        ClientError: the alliance's files cannot be used.
    """
    if placing.slot_keys is not None:  # another place is of slot keys alone
        stores = tuple(stores) or (SLOT_KEYS,)
    parts_of(stores)  # names that are none are said before anything is read
    genesis = Genesis.parse(await asyncio.to_thread(folder.genesis_file.read_bytes))
    home = folder.member(member)
    archive = await asyncio.to_thread(newest_archive, archive, member, stores)
    # Beside its place, so that a rename puts it there.
    elsewhere_kept = placing.slot_keys if SLOT_KEYS in stores else None
    root = home.data("") if elsewhere_kept is None else elsewhere_kept.parent
    await asyncio.to_thread(root.mkdir, FOLDER_MODE, parents=True, exist_ok=True)
    _require_private(root)
    await asyncio.to_thread(_require_room, archive, root)
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix=".restore-", dir=root))
        staging = Path(scratch)
        unpacked = await asyncio.to_thread(unpack, archive, staging)
        chosen = tuple(stores) or unpacked.manifest.stores
        await asyncio.to_thread(_check, unpacked, genesis, home, chosen, folder)
        moves = [Move.of(part, staging, home, placing) for part in parts_of(chosen)]
        drop_others(staging, moves)
        for move in moves:
            stack.enter_context(held(move.home))
            if not placing.aside:
                move.require_free()
        endpoints = placing.endpoints or folder.endpoints_file
        ledgers = _Ledgers(endpoints, folder.genesis_file, see)
        height = await _held_against_chain(ledgers, genesis, staging, chosen)
        await asyncio.to_thread(put_in_place, moves, genesis.chain_id, height)
    return Restored(archive, unpacked.manifest, chosen, height)


def _require_private(root: Path) -> None:
    """Raise `ArchiveExposed` if others may write to a folder.

    A group of the user's own number is the user's private one; a volume's files have it, and its
    folders are writable by it, where a pod runs with `fsGroup`.
    """
    found = root.stat()
    of_others = found.st_mode & WRITABLE_BY_GROUP and found.st_gid != os.getuid()
    if of_others or found.st_mode & WRITABLE_BY_ALL:
        raise ArchiveExposed(str(root))


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


@dataclass(frozen=True, slots=True)
class _Ledgers:
    """Where the chain is asked about. see: shows it."""

    endpoints: Path
    genesis: Path
    see: See


async def _held_against_chain(
    ledgers: _Ledgers, genesis: Genesis, staging: Path, chosen: Sequence[str]
) -> int:
    """Check every store against the chain; return the chain's height.

    Raises:
        CheckFailed: it does not fit, or no chain can be seen.
    """
    if SLOT_KEYS in chosen:
        return 0  # the storage itself holds them against its rows when it starts
    async with _chain(ledgers, genesis, staging, chosen) as view:
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
    ledgers: _Ledgers, genesis: Genesis, staging: Path, chosen: Sequence[str]
) -> AsyncGenerator[ChainView]:
    if CHAIN in chosen:
        contract, ledger = STORES[CHAIN]
        paths = (staging / part.service / part.database for part in (contract, ledger))
        copy = await asyncio.to_thread(_sound_chain, genesis, *paths)
        yield CopiedChain(copy)
        return
    async with Alliance.open(ledgers.endpoints, ledgers.genesis) as alliance:
        yield await ledgers.see(alliance)


def _sound_chain(genesis: Genesis, contract: Path, ledger: Path) -> ChainCopy:
    copy = read_chain(contract, ledger)
    if copy.genesis != frozenset((genesis.digest,)):
        raise ArchiveOfAnotherChain("ledger or contract was begun with another genesis")
    if not copy.fits:
        raise StoreDamaged(f"blocks end at {copy.height}, the state at {copy.executed}")
    copy.require_root()
    return copy
