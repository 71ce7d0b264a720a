"""A thousand random bits flipped in what is stored: none of it is served or believed.

Blocks and outcomes in the ledger's store, receipts, ciphertext on a custodian's disk, and the key
shares and decryption shares of compute. The bytes are those of a real alliance that has stored
records and released a study.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cipherward_chain.errors import ChainError
from cipherward_chain.receipts import verify_receipt
from cipherward_client.alliance.layout import DATA_SET_KEY
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.records import get_record
from cipherward_compute.keyring import Ceremony, Keyring
from cipherward_compute.schema import SCHEMA as COMPUTE_SCHEMA
from cipherward_compute.shares import ShareLog
from cipherward_compute.vault import Vault, VaultCorrupt
from cipherward_kit.database import Database
from cipherward_ledger.blockstore import BlockStore
from cipherward_ledger.errors import BlockCorrupt
from cipherward_ledger.schema import FILE_NAME, open_database
from cipherward_member.reports import OrderKey
from tests.soak.flip_scene import Scene, compute_database, played

SEED = 20_260_924
FLIPS = 250  # of each of the four kinds

pytestmark = pytest.mark.soak


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """What bits are flipped in; the alliance still runs."""
    async with played(tmp_path / "alliance", SEED) as made:
        yield made


async def test_a_thousand_flipped_bits_are_all_refused(scene: Scene) -> None:
    print(f"\nseed {SEED}")
    refused = Counter[str]()
    refused["receipts"] = flip_receipts(scene)
    refused["ciphertext on disk"] = await flip_bodies(scene)
    with capture_logs():  # every refusal is an error in the log
        refused["blocks and outcomes"] = await flip_blocks(scene)
    refused["key shares"] = flip_key_shares(scene)
    refused["decryption shares"] = await flip_shares(scene)
    print(f"{refused.total()} flips refused: {dict(refused)}")
    assert refused.total() == 4 * FLIPS


def flip_receipts(scene: Scene) -> int:
    root = scene.alliance.trust_root
    for number in range(FLIPS):
        receipt = scene.receipts[number % len(scene.receipts)]
        verify_receipt(receipt, root)
        with pytest.raises(ChainError):
            verify_receipt(scene.flipped(receipt), root)
    return FLIPS


async def flip_bodies(scene: Scene) -> int:
    """Flip ciphertext under a running storage service; nobody gets the record until it is back."""
    database = next(scene.folder.member("hospital-a").data("storage").glob("*.sqlite"))
    for number in range(FLIPS):
        record_id, grant_id, content = scene.opened[number % len(scene.opened)]
        body = await asyncio.to_thread(body_of, database, record_id)
        original = await asyncio.to_thread(body.read_bytes)
        await asyncio.to_thread(overwrite, body, scene.flipped(original))
        with pytest.raises(ClientError) as refused:
            await get_record(scene.alliance, scene.clinician, record_id, grant_id)
        assert refused.value.reason == "RECORD_CORRUPT"
        await asyncio.to_thread(overwrite, body, original)
        if number >= FLIPS - len(scene.opened):
            opened = await get_record(scene.alliance, scene.clinician, record_id, grant_id)
            assert opened.content == content
    return FLIPS


def body_of(database: Path, record_id: bytes) -> Path:
    """Return the file of a record's ciphertext."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        query = "SELECT body FROM records WHERE record_id = ?"
        (name,) = connection.execute(query, (record_id,)).fetchone()
    return next(database.parent.rglob(name))


def overwrite(path: Path, content: bytes) -> None:
    """Write in place, as a disk that rots does."""
    with path.open("r+b") as file:
        file.write(content)


async def flip_blocks(scene: Scene) -> int:
    """Flip columns of a copy of the ledger's store, as it reads its own after a restart."""
    source = scene.folder.member("hospital-a").data("ledger") / FILE_NAME
    folder = scene.folder.root.parent / "copied"
    await asyncio.to_thread(copy_database, source, folder / FILE_NAME)
    async with open_database(folder) as database:
        store = BlockStore(database)
        with closing(sqlite3.connect(folder / FILE_NAME, isolation_level=None)) as raw:
            newest = await store.height() - 1  # the last that is proven
            places = [("blocks", name) for name in ("header", "seal", "body", "digest")]
            places += [("outcomes", name) for name in ("executed", "digest")]
            for number in range(FLIPS):
                table, column = places[number % len(places)]
                select = f"SELECT {column} FROM {table} WHERE height = ?"
                value, height = b"", 0
                while not value:  # an empty block's body has no bits
                    height = scene.choose.randint(1, newest)
                    (value,) = raw.execute(select, (height,)).fetchone()
                await store.proven(height)
                change = f"UPDATE {table} SET {column} = ? WHERE height = ?"
                raw.execute(change, (scene.flipped(value), height))
                with pytest.raises(BlockCorrupt):
                    await store.proven(height)
                raw.execute(change, (value, height))
            await store.proven(newest)
    return FLIPS


def copy_database(source: Path, target: Path) -> None:
    """Copy a database that is in use, whole."""
    target.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(source)) as from_, closing(sqlite3.connect(target)) as to:
        from_.backup(to)


def vault_of(scene: Scene, member: str) -> Vault:
    """Return what a member's compute service seals its shares with."""
    return Vault(scene.folder.member(member).key(DATA_SET_KEY).read_bytes())


def flip_key_shares(scene: Scene) -> int:
    ((study, sealed), *_) = scene.key_shares.items()
    keyring = Keyring(Database(Path("unused"), COMPUTE_SCHEMA), vault_of(scene, "hospital-a"))

    def ceremony(key_share: bytes) -> Ceremony:
        return Ceremony(study, "additive-1", b"", b"", sealed_key_share=key_share)

    assert keyring.open_key_share(ceremony(sealed))
    for _ in range(FLIPS // 2):
        with pytest.raises(VaultCorrupt):
            keyring.open_key_share(ceremony(scene.flipped(sealed)))
    return FLIPS // 2


async def flip_shares(scene: Scene) -> int:
    """Flip the stored shares of counts and result in a copy of compute's store."""
    copy = scene.folder.root.parent / "copied" / "compute.db"
    source = compute_database(scene, scene.guardian)
    await asyncio.to_thread(copy_database, source, copy)
    async with Database(copy, COMPUTE_SCHEMA) as database:
        log = ShareLog(database, vault_of(scene, scene.guardian))
        with closing(sqlite3.connect(copy, isolation_level=None)) as raw:
            rows = raw.execute("SELECT study, height, number, share FROM shares").fetchall()
            change = "UPDATE shares SET share = ? WHERE height = ? AND number = ?"
            for turn in range(FLIPS // 2):
                study, height, number, share = rows[turn % len(rows)]
                raw.execute(change, (scene.flipped(share), height, number))
                with pytest.raises(VaultCorrupt):
                    await log.of_order(study, OrderKey(height, number))
                raw.execute(change, (share, height, number))
                assert await log.of_order(study, OrderKey(height, number))
    return FLIPS // 2
