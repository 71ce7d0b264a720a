"""`cipherward doctor` names what is wrong in a folder, and mends nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.endpoints import SERVICES, Endpoint, Endpoints
from cipherward_client.alliance.create import AlliancePlan, create_alliance, hospitals
from cipherward_client.alliance.layout import CUSTODIAN_KEY, MEMBER_KEY, AllianceFolder
from cipherward_client.alliance.parts import SOLO, Parts, remember
from cipherward_client.alliance.plans import endpoints_document, services_of
from cipherward_client.alliance.ports import assign_endpoints
from cipherward_client.cli.canary import canary_settings
from cipherward_client.cli.commands import run
from cipherward_client.doctor.alliance import BEHIND_MAX, compare, look_at_peers
from cipherward_client.doctor.checks import CHECKS, Problem, checks_for
from cipherward_client.doctor.examine import in_order
from cipherward_client.doctor.files import (
    look_at_certificate,
    look_at_disk,
    look_at_genesis,
    look_at_keys,
    look_at_ports,
    look_at_servers,
)
from cipherward_client.doctor.pages import CONDITIONS, Page, look_at_pages
from cipherward_client.doctor.targets import Target, targets_of
from cipherward_kit.devca import DevAuthority, save_identity

PAGE = Path(__file__).resolve().parents[3] / "docs" / "doctor.md"
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> AllianceFolder:
    """An alliance of one hospital that was never started."""
    folder = AllianceFolder(tmp_path_factory.mktemp("made"))
    genesis = create_alliance(folder, AlliancePlan("dev-doctor", hospitals(1)))
    members = tuple(genesis.members)
    places = assign_endpoints(services_of(members, SOLO), SOLO, None)
    folder.endpoints_file.write_bytes(endpoints_document(genesis.chain_id, places, folder))
    remember(folder, Parts(), members)
    return folder


@pytest.fixture
def folder(made: AllianceFolder, tmp_path: Path) -> AllianceFolder:
    """A copy, which the test may spoil."""
    shutil.copytree(made.root, tmp_path / "alliance")
    return AllianceFolder(tmp_path / "alliance")


def target_of(folder: AllianceFolder, service: str, **changed: str) -> Target:
    """Return a process of the copy, some of its settings changed."""
    found = next(one for one in targets_of(folder) if one.service == service)
    more = {f"CIPHERWARD_{name}": value for name, value in changed.items()}
    return Target(found.member, found.service, {**found.settings, **more})


def told(look: Callable[[Target], Iterator[Problem]], target: Target) -> str:
    """Return all that a look says, joined."""
    return "\n".join(one.problem for one in look(target))


LOOKS = (look_at_genesis, look_at_certificate, look_at_keys, look_at_disk, look_at_ports)


@pytest.mark.parametrize("look", [*LOOKS, look_at_servers])
def test_a_new_folder_has_no_problem(
    folder: AllianceFolder, look: Callable[[Target], Iterator[Problem]]
) -> None:
    targets = targets_of(folder)
    assert [one.service for one in targets] == [
        "contract",
        "ledger",
        "identity",
        "storage",
        "compute",
    ]
    assert [problem for target in targets for problem in look(target)] == []


def test_a_genesis_of_another_chain_is_named(folder: AllianceFolder, tmp_path: Path) -> None:
    other = AllianceFolder(tmp_path / "other")
    other.root.mkdir()
    create_alliance(other, AlliancePlan("dev-other", hospitals(1)))
    target = target_of(folder, "storage", GENESIS_FILE=str(other.genesis_file))
    assert "is of the chain dev-doctor, not dev-other" in told(look_at_genesis, target)
    target = target_of(folder, "storage", GENESIS_FILE=str(tmp_path / "none"))
    assert "cannot be read" in told(look_at_genesis, target)


def test_every_fault_of_a_certificate_is_named(folder: AllianceFolder) -> None:
    home, target = folder.member("hospital-a"), target_of(folder, "storage")
    authority = DevAuthority.load(home.key(""), "hospital-a")
    certificate, key = home.certificate("storage")

    save_identity(DevAuthority.create("hospital-a").issue("storage"), home.tls, "storage")
    assert "was not issued by the authority of hospital-a" in told(look_at_certificate, target)
    save_identity(authority.issue("storage", days=3), home.tls, "storage")
    assert "runs out at" in told(look_at_certificate, target)
    save_identity(authority.issue("compute"), home.tls, "storage")
    found = told(look_at_certificate, target)
    assert "the name spiffe://hospital-a/storage" in found
    assert "the name storage.hospital-a.cipherward.internal" in found
    save_identity(authority.issue("storage"), home.tls, "storage")
    key.chmod(0o604)
    assert told(look_at_certificate, target) == f"{key} is open to everybody"
    key.unlink()
    assert f"cannot read {key}" in told(look_at_certificate, target)
    shutil.copy(home.certificate("compute")[1], key)
    assert f"{key} is not the key of {certificate}" in told(look_at_certificate, target)


def test_an_authority_that_runs_out_before_long_or_before_its_certificates_is_named(
    folder: AllianceFolder,
) -> None:
    home, target = folder.member("hospital-a"), target_of(folder, "storage")
    for days, words in ((89.0, "runs out at"), (91.0, "its authority ends at")):
        authority = DevAuthority.create("hospital-a", days=days)
        genesis = json.loads(folder.genesis_file.read_bytes())
        genesis["app_state"]["members"][0]["ca_certificate"] = authority.certificate_pem.decode()
        folder.genesis_file.write_text(json.dumps(genesis))
        save_identity(authority.issue("storage", days=days - 30), home.tls, "storage")
        early = told(look_at_certificate, target)
        assert ("the authority of its member runs out at" in early) == (days < 90)
        save_identity(authority.issue("storage", days=days + 1), home.tls, "storage")
        assert words in told(look_at_certificate, target)


def test_every_fault_of_a_key_is_named_and_no_key_is_shown(folder: AllianceFolder) -> None:
    home, target = folder.member("hospital-a"), target_of(folder, "storage")
    member, custodian = home.key(MEMBER_KEY), home.key(CUSTODIAN_KEY)
    custodian.chmod(0o640)
    member.write_bytes(b"\x07" * 32)
    found = list(look_at_keys(target))
    assert [one.problem for one in found] == [
        f"{custodian} is open to others",
        f"{member} is not the key of hospital-a that the genesis names",
    ]
    member.chmod(0o644)
    custodian.unlink()
    found = list(look_at_keys(target))
    assert "cannot be read" in found[0].problem
    assert "open to others" in found[1].problem
    member.write_bytes(b"\x07" * 31)
    assert "has not 32 bytes" in told(look_at_keys, target)
    assert "07" * 4 not in "".join(one.problem + one.fix for one in found)


def test_a_port_that_is_taken_is_named(folder: AllianceFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        (found,) = look_at_ports(target_of(folder, "storage", HOLDER_LISTEN=where))
    assert found.problem == f"{where} cannot be bound: {os.strerror(98)}"
    assert "CIPHERWARD_HOLDER_LISTEN" in found.fix


def test_a_disk_that_is_nearly_full_is_named(folder: AllianceFolder) -> None:
    look = partial(look_at_disk, bytes_min=1 << 62)
    assert "MiB left" in told(look, target_of(folder, "storage"))


def test_a_folder_that_cannot_be_written_is_named(folder: AllianceFolder) -> None:
    target = target_of(folder, "storage", DATA_DIR="/proc/1/data")  # nobody can write there
    assert "/proc/1 cannot be written" in told(partial(look_at_disk, bytes_min=-1), target)


def test_servers_that_nobody_runs_are_named(folder: AllianceFolder, tmp_path: Path) -> None:
    uri = tmp_path / "mongo.uri"
    uri.write_text("mongodb://user:secret@127.0.0.1:9/x")
    target = target_of(
        folder,
        "storage",
        COMETBFT_BINARY=str(tmp_path / "none"),
        KAFKA_BOOTSTRAP="127.0.0.1:9",
        STORE="mongo",
        MONGO_URI_FILE=str(uri),
    )
    found = list(look_at_servers(target))
    assert [one.check for one in found] == ["consensus program", "kafka", "mongodb"]
    assert "secret" not in "".join(one.problem + one.fix for one in found)
    uri.unlink()
    assert "cannot be read" in told(look_at_servers, target)


@pytest.fixture
def told_by_environment(
    folder: AllianceFolder, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Mapping[str, str]], None]:
    """Give this process the settings of the copy's storage; "" takes one away."""

    def tell(changed: Mapping[str, str]) -> None:
        for name in [name for name in os.environ if name.startswith("CIPHERWARD_")]:
            monkeypatch.delenv(name)
        for name, value in target_of(folder, "storage", **changed).settings.items():
            if value:
                monkeypatch.setenv(name, value)

    return tell


@pytest.mark.slow
def test_a_service_says_all_that_is_wrong_with_its_settings(
    told_by_environment: Callable[[Mapping[str, str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    told_by_environment({"CUSTODIAN_KEY_FILE": "", "LISTEN": "nowhere", "GRACE_SECONDS": "-1"})
    assert run(["doctor", "--service", "storage", "--before", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert {one["check"] for one in document["problems"]} == {"settings"}
    assert {one["problem"].split(":")[0] for one in document["problems"]} == {
        "CIPHERWARD_CUSTODIAN_KEY_FILE",
        "CIPHERWARD_LISTEN",
        "CIPHERWARD_GRACE_SECONDS",
    }
    assert all(one["where"] == "hospital-a/storage" and one["fix"] for one in document["problems"])


@pytest.mark.slow
def test_what_does_not_run_is_named_and_what_is_right_is_ok(
    told_by_environment: Callable[[Mapping[str, str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    told_by_environment({})
    assert run(["doctor", "--service", "storage"]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"^settings +ok *$", shown, re.MULTILINE)
    assert re.search(r"^services +hospital-a/storage: nobody answers at", shown, re.MULTILINE)
    assert re.search(r"^consensus +hospital-a: its ledger does not answer", shown, re.MULTILINE)
    assert re.search(r"^peers +hospital-a/", shown, re.MULTILINE)


@pytest.fixture
def in_a_release(folder: AllianceFolder, monkeypatch: pytest.MonkeyPatch) -> AllianceFolder:
    """Give this process the settings of the copy's canaries, as a pod of a release has them."""
    for name in [name for name in os.environ if name.startswith("CIPHERWARD_")]:
        monkeypatch.delenv(name)
    settings = canary_settings(folder, "hospital-a", None)
    for name, value in (settings | {"CIPHERWARD_METRICS_LISTEN": "127.0.0.1:1"}).items():
        monkeypatch.setenv(name, value)
    return folder


def test_a_release_is_looked_at_from_a_pod_of_its_own_systems(
    in_a_release: AllianceFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    in_a_release.member("hospital-a").key(MEMBER_KEY).write_bytes(b"\x07" * 32)
    assert run(["doctor", "--release", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["checks"] == [one.name for one in CHECKS if not one.inside]
    services = ("client", "contract", "ledger", "identity", "storage", "compute")
    silent = [one["where"] for one in document["problems"] if one["check"] == "services"]
    assert silent == [f"hospital-a/{service}" for service in services]
    assert {one["check"] for one in document["problems"]} == {
        "keys",
        "services",
        "peers",
        "consensus",
    }


@pytest.mark.parametrize("missing", ["CIPHERWARD_TLS_CERTIFICATE", "CIPHERWARD_ENDPOINTS_FILE"])
def test_another_pod_is_told_where_to_look_at_a_release(
    in_a_release: AllianceFolder,
    missing: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv(missing)
    assert run(["doctor", "--release", "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["reason"], missing in error["detail"]) == ("NOT_IN_A_RELEASE", True)


async def test_own_systems_reach_their_members_services_and_what_they_call_of_others() -> None:
    nobody = "127.0.0.1:1"
    services = {service: Endpoint(nobody, p2p=nobody) for service in SERVICES}
    endpoints = Endpoints("chain", "hospital-a", {"hospital-a": services, "hospital-b": services})
    seen = [one.where for one in await look_at_peers(endpoints, "hospital-a")]
    others = [f"hospital-b/{service}" for service in ("compute", "storage")]
    assert seen == [f"hospital-a/{service}" for service in SERVICES] + others
    assert len(await look_at_peers(endpoints)) == 2 * 2 * len(SERVICES)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--service", "kitchen"], "SERVICE_UNKNOWN"),
        (["--member", "hospital-z"], "MEMBER_NOT_HERE"),
    ],
)
def test_what_is_not_there_cannot_be_looked_at(
    folder: AllianceFolder,
    arguments: list[str],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["doctor", "--data", str(folder.root), *arguments, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["reason"] == reason


def test_a_damaged_folder_is_named(
    folder: AllianceFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.parts_file.write_text("{")
    assert run(["doctor", "--data", str(folder.root), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["reason"] == "FOLDER_DAMAGED"


def page_of(text: str, service: str = "ledger") -> Page:
    return Page.parse(Target("hospital-a", service, {}), text)


@pytest.mark.parametrize("condition", sorted(CONDITIONS))
def test_a_condition_that_does_not_hold_is_named_with_what_to_do(condition: str) -> None:
    page = page_of(
        f'# HELP x\ncipherward_service_ready{{condition="{condition}"}} 0.0\n'
        'cipherward_service_ready{condition="other"} 1.0\n'
    )
    (found,) = look_at_pages([page], NOW, 30)
    assert (found.check, found.fix) == CONDITIONS[condition]
    assert condition in found.problem


@pytest.mark.parametrize(("age", "says"), [(31, "31 s old"), (-31, "31 s in the future")])
def test_a_newest_block_of_another_time_is_named(age: int, says: str) -> None:
    sample = "cipherward_ledger_block_timestamp_seconds"
    (found,) = look_at_pages([page_of(f"{sample} {NOW - age}\n")], NOW, 30)
    assert (found.check, says in found.problem) == ("clock", True)
    assert look_at_pages([page_of(f"{sample} {NOW - age}\n")], NOW, 32) == []


def test_processes_of_several_releases_are_named() -> None:
    pages = [
        page_of(f'cipherward_build_info{{process="{service}",version="{version}"}} 1.0', service)
        for service, version in (("ledger", "1.2.0"), ("contract", "1.2.0"), ("storage", "1.1.0"))
    ]
    (found,) = look_at_pages(pages, NOW, 30)
    assert (found.check, found.where) == ("releases", "hospital-a/storage")
    assert look_at_pages(pages[:2], NOW, 30) == []


def status(height: int, app_hash: bytes = b"root", **more: Any) -> pb.GetStatusResponse:
    return pb.GetStatusResponse(height=height, app_hash=app_hash, **more)


def test_ledgers_that_agree_have_no_problem() -> None:
    assert compare({"a": status(9), "b": status(9), "c": status(9 - BEHIND_MAX, b"older")}) == []
    assert compare({}) == []


def test_a_ledger_that_is_behind_is_named() -> None:
    found = compare({"a": status(9), "b": status(8 - BEHIND_MAX), "c": status(2, catching_up=True)})
    assert [(one.check, one.where) for one in found] == [("consensus", "b"), ("consensus", "c")]


def test_members_with_different_states_at_one_height_are_named() -> None:
    found = compare({"a": status(9), "b": status(9, b"another"), "c": status(8, b"before")})
    assert [(one.check, one.problem) for one in found] == [
        ("contract engines", "a and b have different states at 9")
    ]


def test_the_same_problem_of_several_is_told_once_and_in_the_order_of_the_list() -> None:
    problems = [Problem("kafka", "a/ledger", "no", "x"), Problem("kafka", "a/storage", "no", "x")]
    found = in_order([*problems, Problem("settings", "", "bad", "y")], before=True)
    assert [one.check for one in found] == ["settings", "kafka"]
    assert found[1].where == "a/ledger, a/storage"


def test_the_page_lists_every_check_as_it_is() -> None:
    rows = re.findall(r"^\| ([a-z ]+) \| (\w+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows[1:] == [(one.name, one.when, one.asks) for one in CHECKS]
    assert rows[0][0] == "check"


def test_ports_are_looked_at_before_and_processes_afterwards() -> None:
    before = {one.name for one in checks_for(before=True)}
    after = {one.name for one in checks_for(before=False)}
    assert before ^ after == {one.name for one in CHECKS if one.when != "always"}
    assert "ports" in before
    assert "services" in after
