"""Backups: what is in them, and every reason for which one is not put back."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cipherward_chain.checkpoint import Checkpoint
from cipherward_chain.genesis import Genesis
from cipherward_client.alliance.create import AlliancePlan, create_alliance, hospitals
from cipherward_client.alliance.layout import MEMBER_KEY, AllianceFolder
from cipherward_client.alliance.parts import MONGO, SOLO, Parts, remember
from cipherward_client.alliance.plans import endpoints_document, services_of
from cipherward_client.alliance.ports import assign_endpoints
from cipherward_client.backup import errors
from cipherward_client.backup.archive import MANIFEST, unpack
from cipherward_client.backup.chain_view import require_on
from cipherward_client.backup.dated import newest_archive
from cipherward_client.backup.making import make_backup, make_dated_backup
from cipherward_client.backup.placing import Placing
from cipherward_client.backup.restoring import restore
from cipherward_client.cli.commands import run
from cipherward_client.sdk.advice import ADVICE
from cipherward_client.sdk.errors import CheckFailed
from cipherward_kit.datafolder import DataFolder

MEMBER = "hospital-a"
HEIGHT = 7
POSITION = """
    CREATE TABLE position (only INTEGER PRIMARY KEY, height INTEGER, checkpoint BLOB);
    INSERT INTO position VALUES (1, 0, x'');
"""


@dataclass
class View:
    """A chain of headers in memory."""

    height: int = HEIGHT + 1
    hashes: dict[int, bytes] = field(default_factory=dict[int, bytes])
    meanwhile: Callable[[], object] = lambda: None  # happens while the chain is asked

    async def see(self, _alliance: object) -> View:
        """Show itself, as the ledgers would show the chain."""
        self.meanwhile()
        return self

    async def hash_at(self, height: int) -> bytes:
        """Return a header's hash."""
        return self.hashes[height]


def place_at(genesis: Genesis, height: int) -> Checkpoint:
    """Return where a service stands that has followed to a height."""
    return Checkpoint(
        genesis.chain_id,
        genesis.digest,
        height,
        bytes([height]) * 32,
        bytes([height + 1]) * 32,
        1_800_000_000 * 10**9,
        genesis.validators,
        bytes(32),
    )


def put_database(path: Path, genesis: Genesis, height: int) -> None:
    """Make a database of a service that follows the chain, as it is while it runs."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(POSITION)
        stored = place_at(genesis, height).to_bytes()
        connection.execute("UPDATE position SET height = ?, checkpoint = ?", (height, stored))
        connection.commit()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> AllianceFolder:
    """An alliance of one hospital whose services have followed the chain to HEIGHT."""
    folder = AllianceFolder(tmp_path_factory.mktemp("made"))
    genesis = create_alliance(folder, AlliancePlan("dev-backup", hospitals(1)))
    places = assign_endpoints(services_of((MEMBER,), SOLO), SOLO, None)
    folder.endpoints_file.write_bytes(endpoints_document(genesis.chain_id, places, folder))
    remember(folder, Parts(), (MEMBER,))
    home = folder.member(MEMBER)
    put_database(home.data("identity") / "identity.db", genesis, HEIGHT)
    put_database(home.data("compute") / "compute.db", genesis, HEIGHT)
    put_database(home.data("storage") / "storage.sqlite", genesis, HEIGHT)
    for name, content in (
        ("storage/bodies/0a/0a11", b"sealed"),
        ("storage/slot-keys/slot-key-0000000001", b"secret of the slots"),
        ("storage/registry.json", b"{}"),
        ("storage/lock", b""),
        ("storage/unknown", b"?"),
    ):
        path = home.data(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture
def folder(made: AllianceFolder, tmp_path: Path) -> AllianceFolder:
    """A copy, which the test may spoil."""
    shutil.copytree(made.root, tmp_path / "alliance")
    return AllianceFolder(tmp_path / "alliance")


@pytest.fixture
def archive(folder: AllianceFolder, tmp_path: Path) -> Path:
    """A backup of all three services; their folders are lost afterwards."""
    out = tmp_path / "backup.tar"
    make_backup(folder, MEMBER, out, ())
    shutil.rmtree(folder.member(MEMBER).data(""))
    return out


@pytest.fixture
def view() -> View:
    """The chain that the backups were made on, one block later."""
    return View(hashes={h: bytes([h]) * 32 for h in range(1, HEIGHT + 2)})


def files(root: Path) -> set[str]:
    """Return the files below a folder, by their paths in it."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def names_in(archive: Path) -> list[str]:
    """Return the names in an archive, in their order."""
    with tarfile.open(archive) as tar:
        return tar.getnames()


def refilled(archive: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Write an archive again, each file changed, or left out where `change` says None."""
    with tarfile.open(archive) as tar:
        found = [(one.name, tar.extractfile(one)) for one in tar]
        contents = [(name, content.read()) for name, content in found if content is not None]
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, octets in contents:
            changed = change(name, octets)
            if changed is not None:
                described = tarfile.TarInfo(name)
                described.size = len(changed)
                tar.addfile(described, io.BytesIO(changed))


async def test_what_was_backed_up_is_put_back(
    folder: AllianceFolder, archive: Path, view: View
) -> None:
    found = await restore(folder, MEMBER, archive, see=view.see)
    assert found.height == view.height
    assert files(folder.member(MEMBER).data("")) == {
        "identity/identity.db",
        "identity/chain-id",
        "compute/compute.db",
        "compute/chain-id",
        "compute/restored-at-height",
        "storage/storage.sqlite",
        "storage/chain-id",
        "storage/registry.json",
        "storage/bodies/0a/0a11",
    }
    home = folder.member(MEMBER)
    assert (home.data("compute") / "restored-at-height").read_text() == f"{view.height}\n"
    assert (home.data("storage") / "bodies/0a/0a11").read_bytes() == b"sealed"
    assert home.data("storage").stat().st_mode & 0o777 == 0o700
    with closing(sqlite3.connect(home.data("compute") / "compute.db")) as connection:
        assert connection.execute("SELECT height FROM position").fetchone() == (HEIGHT,)


def test_no_key_is_in_an_archive_of_data(folder: AllianceFolder, archive: Path) -> None:
    names = names_in(archive)
    assert not [name for name in names if "key" in name or name.endswith("unknown")]
    content = archive.read_bytes()
    assert b"secret of the slots" not in content
    for key in folder.member(MEMBER).key("").iterdir():
        assert key.read_bytes()[:32] not in content


def test_an_archive_is_for_its_owner_alone(archive: Path) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600


async def test_slot_keys_have_an_archive_of_their_own_and_come_back_in_any_order(
    folder: AllianceFolder, tmp_path: Path, view: View
) -> None:
    keys, data = tmp_path / "keys.tar", tmp_path / "data.tar"
    make_backup(folder, MEMBER, keys, ["slot-keys"])
    make_backup(folder, MEMBER, data, ["storage"])
    root = folder.member(MEMBER).data("storage")
    before = files(root)
    for order in ((keys, data), (data, keys)):
        shutil.rmtree(root)
        for archive in order:
            await restore(folder, MEMBER, archive, see=view.see)
        assert files(root) == before - {"lock", "unknown"} | {"chain-id"}


async def test_a_store_alone_is_put_back_from_an_archive_of_all(
    folder: AllianceFolder, archive: Path, view: View
) -> None:
    await restore(folder, MEMBER, archive, ["identity"], see=view.see)
    assert {path.split("/")[0] for path in files(folder.member(MEMBER).data(""))} == {"identity"}


def test_a_backup_has_what_was_committed_when_a_service_is_writing(
    folder: AllianceFolder, tmp_path: Path
) -> None:
    database = folder.member(MEMBER).data("identity") / "identity.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as service:
        service.execute("CREATE TABLE rows (value INTEGER)")
        service.execute("INSERT INTO rows VALUES (1)")
        service.execute("BEGIN IMMEDIATE")
        service.execute("INSERT INTO rows VALUES (2)")
        make_backup(folder, MEMBER, tmp_path / "b.tar", ["identity"])
        service.execute("COMMIT")
    with tarfile.open(tmp_path / "b.tar") as tar:
        member = tar.extractfile("identity/identity.db")
        assert member is not None
        (tmp_path / "copy.db").write_bytes(member.read())
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT value FROM rows").fetchall() == [(1,)]


async def refused(folder: AllianceFolder, archive: Path, view: View, kind: type[Exception]) -> None:
    """Put an archive back, which is refused and leaves nothing behind."""
    root = folder.member(MEMBER).data("")
    before = files(root) if root.exists() else set[str]()
    with pytest.raises(kind):
        await restore(folder, MEMBER, archive, see=view.see)
    assert files(root) == before
    assert not list(root.glob(".restore-*"))


def beginnings(archive: Path) -> Iterator[None]:
    """Cut an archive off at one place after the other, the last one right before its end."""
    whole = archive.read_bytes()
    end = whole.rindex(b"manifest.sig")
    for size in (600, len(whole) // 3, len(whole) // 2, end - 700, end):
        archive.write_bytes(whole[:size])
        yield


async def test_an_archive_that_was_cut_off_anywhere_is_refused(
    folder: AllianceFolder, archive: Path, view: View
) -> None:
    for _ in beginnings(archive):
        await refused(folder, archive, view, errors.ArchiveTruncated)


async def test_what_is_no_archive_is_refused(
    folder: AllianceFolder, archive: Path, view: View
) -> None:
    shutil.copyfile(folder.genesis_file, archive)
    await refused(folder, archive, view, errors.ArchiveMalformed)


async def test_a_changed_file_is_refused(folder: AllianceFolder, archive: Path, view: View) -> None:
    refilled(archive, lambda name, octets: b"forged" if "bodies" in name else octets)
    await refused(folder, archive, view, errors.ArchiveDamaged)


async def test_a_missing_file_is_refused(folder: AllianceFolder, archive: Path, view: View) -> None:
    refilled(archive, lambda name, octets: None if "bodies" in name else octets)
    await refused(folder, archive, view, errors.ArchiveDamaged)


async def test_an_archive_that_somebody_else_made_is_refused(
    folder: AllianceFolder, archive: Path, view: View
) -> None:
    folder.member(MEMBER).key(MEMBER_KEY).write_bytes(bytes(32))
    await refused(folder, archive, view, errors.ArchiveUnsigned)


async def test_a_path_that_leads_elsewhere_is_refused(
    folder: AllianceFolder, archive: Path, view: View
) -> None:
    with tarfile.open(archive, "w") as tar:
        described = tarfile.TarInfo("identity/../../../escaped")
        described.size = 1
        tar.addfile(described, io.BytesIO(b"x"))
    await refused(folder, archive, view, errors.ArchiveMalformed)


async def test_an_archive_that_others_may_read_is_refused(
    folder: AllianceFolder, archive: Path, view: View
) -> None:
    os.chmod(archive, 0o640)
    await refused(folder, archive, view, errors.ArchiveExposed)


async def test_an_archive_of_another_chain_is_refused(
    folder: AllianceFolder, archive: Path, view: View, tmp_path: Path
) -> None:
    other = AllianceFolder(tmp_path / "other")
    create_alliance(other, AlliancePlan("dev-backup", hospitals(1)))
    shutil.copy(folder.endpoints_file, other.endpoints_file)
    await refused(other, archive, view, errors.ArchiveOfAnotherChain)


async def test_an_archive_of_another_member_is_refused(
    folder: AllianceFolder, archive: Path, view: View
) -> None:
    shutil.copytree(folder.root / MEMBER, folder.root / "hospital-b")
    with pytest.raises(errors.ArchiveOfAnotherMember):
        await restore(folder, "hospital-b", archive, see=view.see)


async def test_an_archive_that_is_ahead_of_the_chain_is_refused(
    folder: AllianceFolder, archive: Path, view: View
) -> None:
    view.height = HEIGHT - 1
    await refused(folder, archive, view, errors.ArchiveNewer)


async def test_an_archive_on_other_blocks_is_refused(
    folder: AllianceFolder, archive: Path, view: View
) -> None:
    view.hashes[HEIGHT + 1] = bytes(32)
    await refused(folder, archive, view, errors.ArchiveOfAnotherHistory)


async def test_a_store_that_stands_at_the_newest_block_is_held_against_that(
    made: AllianceFolder,
) -> None:
    place = place_at(Genesis.parse(made.genesis_file.read_bytes()), HEIGHT)
    await require_on(View(HEIGHT, {HEIGHT: bytes([HEIGHT]) * 32}), place, "identity")
    with pytest.raises(errors.ArchiveOfAnotherHistory):
        await require_on(View(HEIGHT, {HEIGHT: bytes(32)}), place, "identity")


async def test_without_a_chain_nothing_is_put_back(folder: AllianceFolder, archive: Path) -> None:
    with pytest.raises(errors.ChainUnreachable):
        await restore(folder, MEMBER, archive)
    assert not files(folder.member(MEMBER).data(""))


async def test_nothing_is_put_over_something(
    folder: AllianceFolder, archive: Path, view: View
) -> None:
    there = folder.member(MEMBER).data("compute")
    there.mkdir(parents=True)
    (there / "lock").touch()
    await refused(folder, archive, view, errors.TargetNotEmpty)


async def test_a_store_that_is_in_a_database_elsewhere_is_not_put_into_the_folder(
    folder: AllianceFolder, archive: Path, view: View
) -> None:
    folder.parts_file.unlink()
    remember(folder, Parts(store=MONGO), (MEMBER,))
    await refused(folder, archive, view, errors.StoreElsewhere)


def test_a_store_elsewhere_is_named_and_not_left_out_in_silence(
    folder: AllianceFolder, tmp_path: Path
) -> None:
    folder.parts_file.unlink()
    remember(folder, Parts(store=MONGO), (MEMBER,))
    found = make_backup(folder, MEMBER, tmp_path / "b.tar", ())
    assert found.manifest.stores == ("identity", "compute")
    assert [store for store, _ in found.elsewhere] == ["storage"]
    with pytest.raises(errors.StoreElsewhere):
        make_backup(folder, MEMBER, tmp_path / "c.tar", ["storage"])


async def test_what_comes_into_the_way_of_one_store_takes_back_the_others(
    folder: AllianceFolder, archive: Path, view: View
) -> None:
    there = folder.member(MEMBER).data("compute") / "lock"

    def start_by_mistake() -> None:
        there.parent.mkdir()
        there.touch()

    view.meanwhile = start_by_mistake
    with pytest.raises(errors.TargetNotEmpty):
        await restore(folder, MEMBER, archive, see=view.see)
    assert files(folder.member(MEMBER).data("")) == {"compute/lock"}


@pytest.mark.parametrize(
    ("stores", "kind"),
    [
        (["everything"], errors.StoreUnknown),
        (["storage", "slot-keys"], errors.SlotKeysApart),
        (["chain"], errors.StoreMissing),
    ],
)
def test_stores_that_cannot_be_backed_up_are_named(
    folder: AllianceFolder, tmp_path: Path, stores: list[str], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        make_backup(folder, MEMBER, tmp_path / "b.tar", stores)
    assert not list(tmp_path.glob("*.tar*"))
    assert not list(tmp_path.glob(".*"))


def test_a_damaged_database_is_not_backed_up(folder: AllianceFolder, tmp_path: Path) -> None:
    database = folder.member(MEMBER).data("identity") / "identity.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("CREATE TABLE more (value BLOB)")
        connection.executemany("INSERT INTO more VALUES (?)", [(bytes(4000),)] * 20)
        connection.commit()
    with database.open("r+b") as file:
        file.seek(4096 * 4)
        file.write(b"\xff" * 4096)
    with pytest.raises(errors.StoreDamaged):
        make_backup(folder, MEMBER, tmp_path / "b.tar", ["identity"])
    assert not (tmp_path / "b.tar").exists()


def test_an_archive_is_not_overwritten_unless_asked(folder: AllianceFolder, tmp_path: Path) -> None:
    out = tmp_path / "keys.tar"
    make_backup(folder, MEMBER, out, ["slot-keys"])
    with pytest.raises(errors.ArchiveExists):
        make_backup(folder, MEMBER, out, ["slot-keys"])
    make_backup(folder, MEMBER, out, ["slot-keys"], replace=True)


def test_slot_keys_outside_the_data_folder_are_found(
    folder: AllianceFolder, tmp_path: Path
) -> None:
    apart = tmp_path / "apart" / "slot-keys"
    apart.parent.mkdir()
    shutil.move(folder.member(MEMBER).data("storage") / "slot-keys", apart)
    make_backup(folder, MEMBER, tmp_path / "k.tar", ["slot-keys"], slot_keys=apart)
    (tmp_path / "out").mkdir()
    found = unpack(tmp_path / "k.tar", tmp_path / "out")
    assert [one.path for one in found.manifest.entries] == ["storage/slot-keys/slot-key-0000000001"]


def test_every_refusal_has_advice() -> None:
    kinds = [one for one in vars(errors).values() if isinstance(one, type)]
    reasons = [one.reason for one in kinds if issubclass(one, CheckFailed)]
    assert all(reason in ADVICE for reason in reasons)


def test_the_command_line_makes_a_backup_and_says_why_it_is_not_put_back(
    folder: AllianceFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, where = str(tmp_path / "b.tar"), str(folder.root)
    assert run(["backup", "--data", where, "--member", MEMBER, "--out", out, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["heights"] == dict.fromkeys(("identity", "storage", "compute"), HEIGHT)
    assert run(["restore", out, "--data", where, "--member", MEMBER]) == 1
    assert "RESTORE_TARGET_NOT_EMPTY" in capsys.readouterr().err
    assert run(["restore", out, "--data", where, "--member", "nobody"]) == 1
    assert "MEMBER_NOT_HERE" in capsys.readouterr().err


def test_the_manifest_comes_last(archive: Path) -> None:
    assert names_in(archive)[-2] == MANIFEST


# Made again and again, in a container beside the service.


def running(folder: AllianceFolder, service: str) -> DataFolder:
    """Return the data folder of a service as the service holds it."""
    genesis = Genesis.parse(folder.genesis_file.read_bytes())
    return DataFolder(folder.member(MEMBER).data(service), genesis.chain_id, genesis.digest)


def test_a_database_whose_service_cannot_be_seen_is_not_touched(
    folder: AllianceFolder, tmp_path: Path
) -> None:
    for _ in range(2):  # without a lock at all, and with one that nobody holds
        with pytest.raises(errors.ServiceUnseen):
            make_backup(folder, MEMBER, tmp_path / "b.tar", ["identity"], running=True)
        with running(folder, "identity"):
            make_backup(folder, MEMBER, tmp_path / "b.tar", ["identity"], running=True)
        (tmp_path / "b.tar").unlink()
    assert not list(tmp_path.glob(".*"))


def test_dated_archives_are_kept_up_to_a_number_and_other_files_for_ever(
    folder: AllianceFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "archives"
    into.mkdir()
    others = {"hospital-a-compute-20260101T000000Z.tar", "hospital-a-identity-20260101T0000Z.tar"}
    for name in others:
        (into / name).touch()
    for moment in range(3):
        monkeypatch.setattr(time, "time", lambda moment=moment: 1_800_000_000.0 + moment)
        make_dated_backup(folder, MEMBER, into, ["identity"], keep=2)
    left = {f"hospital-a-identity-20270115T08000{n}Z.tar" for n in (1, 2)}
    assert files(into) == others | left
    assert newest_archive(into, MEMBER, ["identity"]).name == max(left)
    with pytest.raises(errors.ArchiveMissing):
        newest_archive(into, MEMBER, ["storage"])
    with pytest.raises(errors.ArchiveMissing):
        newest_archive(into, "hospital", ["identity"])


def test_what_a_killed_backup_left_goes_after_a_day(folder: AllianceFolder, tmp_path: Path) -> None:
    begin = f".{MEMBER}-identity-20260101T000000Z.tar"
    (tmp_path / f"{begin}.work").mkdir()
    (tmp_path / f"{begin}.partial").touch()
    (tmp_path / ".of-somebody-else.partial").touch()
    old = time.time() - 25 * 3600
    for path in (tmp_path / f"{begin}.work", tmp_path / ".of-somebody-else.partial"):
        os.utime(path, (old, old))
    make_dated_backup(folder, MEMBER, tmp_path, ["identity"], keep=1)
    assert {path.name for path in tmp_path.glob(".*")} == {
        ".of-somebody-else.partial",
        f"{begin}.partial",
    }


async def test_the_newest_archive_of_a_folder_is_put_back_and_what_was_there_lies_beside(
    folder: AllianceFolder, tmp_path: Path, view: View
) -> None:
    into, home = tmp_path / "archives", folder.member(MEMBER)
    into.mkdir()
    make_dated_backup(folder, MEMBER, into, ["storage"], keep=2)
    root = home.data("storage")
    (root / "storage.sqlite").write_bytes(b"damaged")
    before = files(root)
    found = await restore(folder, MEMBER, into, ["storage"], Placing(aside=True), see=view.see)
    assert found.archive.parent == into
    (beside,) = home.data("").glob("storage.before-*")
    keys = {"slot-keys/slot-key-0000000001"}  # they are no part of the store, and stay
    assert files(beside) == before - keys - {"lock"}
    assert (beside / "storage.sqlite").read_bytes() == b"damaged"
    assert keys | {"storage.sqlite", "chain-id", "bodies/0a/0a11"} <= files(root)
    with closing(sqlite3.connect(root / "storage.sqlite")) as connection:
        assert connection.execute("SELECT height FROM position").fetchone() == (HEIGHT,)


async def test_what_was_moved_aside_comes_back_if_the_restore_fails(
    folder: AllianceFolder, tmp_path: Path, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_backup(folder, MEMBER, tmp_path / "b.tar", ["identity", "compute"])
    root = folder.member(MEMBER).data("")
    before = files(root)
    rename = os.rename

    def fails_at_compute(source: Path, target: Path) -> None:
        if ".restore-" in str(source) and Path(target).parts[-1] == "compute":
            raise OSError(28, "no space")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails_at_compute)
    with pytest.raises(OSError, match="no space"):
        await restore(folder, MEMBER, tmp_path / "b.tar", (), Placing(aside=True), see=view.see)
    assert files(root) == before
    assert not list(root.glob("*.before-*"))


async def test_nothing_is_put_under_a_service_that_runs(
    folder: AllianceFolder, tmp_path: Path, view: View
) -> None:
    make_backup(folder, MEMBER, tmp_path / "b.tar", ["identity"])
    with running(folder, "identity"), pytest.raises(errors.ServiceRuns):
        await restore(folder, MEMBER, tmp_path / "b.tar", (), Placing(aside=True), see=view.see)


async def test_slot_keys_of_another_volume_come_back_there(
    folder: AllianceFolder, tmp_path: Path
) -> None:
    apart = tmp_path / "volume" / "keys"
    shutil.copytree(folder.member(MEMBER).data("storage") / "slot-keys", apart)
    make_backup(folder, MEMBER, tmp_path / "k.tar", ["slot-keys"], slot_keys=apart)
    (apart / "slot-key-0000000001").write_bytes(b"damaged")
    await restore(folder, MEMBER, tmp_path / "k.tar", (), Placing(apart, aside=True))
    assert (apart / "slot-key-0000000001").read_bytes() == b"secret of the slots"
    assert apart.stat().st_mode & 0o777 == 0o700
    (beside,) = apart.parent.glob("keys.before-*")
    assert (beside / "slot-key-0000000001").read_bytes() == b"damaged"


@pytest.mark.parametrize(
    ("mode", "foreign", "refused_with"),
    [
        (0o770, False, None),  # the private group of this user: a volume under fsGroup
        (0o770, True, errors.ArchiveExposed),
        (0o702, False, errors.ArchiveExposed),
    ],
)
async def test_a_folder_that_others_may_write_to_is_refused(
    folder: AllianceFolder,
    tmp_path: Path,
    view: View,
    mode: int,
    foreign: bool,
    refused_with: type[Exception] | None,
) -> None:
    make_backup(folder, MEMBER, tmp_path / "b.tar", ["identity"])
    root = folder.member(MEMBER).data("")
    shutil.rmtree(root / "identity")
    if foreign and os.getuid() != 0:
        pytest.skip("only root gives a folder to another group")
    os.chown(root, -1, os.getuid() + int(foreign))
    os.chmod(root, mode)
    again = restore(folder, MEMBER, tmp_path / "b.tar", see=view.see)
    if refused_with is None:
        await again
    else:
        with pytest.raises(refused_with):
            await again


def test_a_folder_of_archives_needs_the_stores_names(
    folder: AllianceFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["backup", "--data", str(folder.root), "--member", MEMBER]
    assert run([*common, "--into", str(tmp_path)]) == 2
    assert run([*common]) == 2
    assert "--into FOLDER with --store" in capsys.readouterr().err
    assert run([*common, "--into", str(tmp_path), "--store", "identity", "--running"]) == 1
    assert "BACKUP_SERVICE_UNSEEN" in capsys.readouterr().err
