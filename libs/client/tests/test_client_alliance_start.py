"""`cipherward alliance start` runs one member's own services, and nobody else's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.one_member import AddressesMissing, running_member
from cipherward_client.alliance.parts import ALL_EMBEDDED, Remembered
from cipherward_client.alliance.places import read_places, write_places
from cipherward_client.cli.commands import run
from cipherward_kit.datafolder import DataFolderLocked

MEMBER, OTHER = "hospital-a", "hospital-b"


def does(root: Path, *arguments: str) -> None:
    assert run(["alliance", "init", *arguments, "--engine", "solo", "--alliance", str(root)]) == 0


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two founders have folders of their own: `a`, which runs the chain, and `b`."""
    root = tmp_path_factory.mktemp("founders")
    does(root / "b", OTHER)
    registration = AllianceFolder(root / "b").member(OTHER).registration_file
    does(root / "a", MEMBER, "--chain", "nord", "--with", str(registration))
    return root


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> AllianceFolder:
    """A copy of the first founder's folder."""
    shutil.copytree(begun / "a", tmp_path / "a")
    return AllianceFolder(tmp_path / "a")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the reason for which a command is refused."""
    capsys.readouterr()
    assert run(arguments) == 1
    printed = capsys.readouterr()
    if "--json" in arguments:
        error: dict[str, Any] = json.loads(printed.out)["error"]
        return error["reason"]
    return printed.err.partition(":")[0]


@pytest.mark.slow  # the five services of a member, once in all tests
async def test_a_members_own_services_run_where_the_others_expect_them(
    folder: AllianceFolder,
) -> None:
    expected, ready = folder.endpoints_file.read_bytes(), list[str]()

    def lost(name: str, words: str) -> None:
        raise AssertionError(f"{name}: {words}")

    async with running_member(folder, MEMBER, ALL_EMBEDDED, ready.append, lost) as supervisor:
        services = set(read_places(folder)[MEMBER])
        assert {f"{MEMBER}/{service}" for service in services} == set(ready)
        assert len(ready) == len(supervisor.pids) == 5
        with pytest.raises(DataFolderLocked):
            async with running_member(folder, MEMBER, ALL_EMBEDDED, ready.append, lost):
                pass
    assert folder.endpoints_file.read_bytes() == expected
    remembered = Remembered.read(folder)
    assert remembered is not None
    assert remembered.members == (MEMBER,)


async def test_where_nobody_knows_the_addresses_nothing_starts(folder: AllianceFolder) -> None:
    places = read_places(folder)
    write_places(folder, "nord", {OTHER: {**places[OTHER], "ledger": places[MEMBER]["ledger"]}})
    with pytest.raises(AddressesMissing):
        async with running_member(folder, MEMBER, ALL_EMBEDDED, print, print):
            pass
    assert not folder.logs.exists()


def test_another_members_services_are_not_started_here(
    folder: AllianceFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ("alliance", "start", "--alliance", str(folder.root), "--member")
    assert refused(capsys, *start, OTHER) == "MEMBER_KEYS_MISSING"


def test_who_is_not_admitted_yet_does_not_start(
    begun: Path, folder: AllianceFolder, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    later = AllianceFolder(tmp_path / "later")
    does(later.root, "hospital-e")
    later.genesis_file.write_bytes(folder.genesis_file.read_bytes())
    later.endpoints_file.write_bytes(folder.endpoints_file.read_bytes())
    start = ("alliance", "start", "--alliance", str(later.root), "--member", "hospital-e")
    assert refused(capsys, *start) == "MEMBER_NOT_ADMITTED"


def test_dev_does_not_play_members_whose_keys_are_elsewhere(
    folder: AllianceFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = folder.endpoints_file.read_bytes()
    dev = ("dev", "--data", str(folder.root), "--json")
    assert refused(capsys, *dev) == "MEMBERS_ELSEWHERE"
    assert folder.endpoints_file.read_bytes() == expected
