"""The command line without a network: usage, errors, wallets and receipts."""

from __future__ import annotations

import fcntl
import io
import json
import shutil
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.genesis import Genesis
from cipherward_chain.testing import TestChain as Chain
from cipherward_chain.testing import TestKeys as ChainKeys
from cipherward_chain.testing import make_genesis
from cipherward_chain.transactions import build_transaction
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.cli import faults
from cipherward_client.cli.commands import run
from cipherward_client.cli.faults import CliFault
from cipherward_client.cli.output import refusal_of
from cipherward_client.sdk.receipts import write_receipt
from cipherward_client.wallet.file import save_wallet
from cipherward_client.wallet.wallet import Wallet

PASSPHRASE = "correct horse battery staple"
SOME_ID = "00112233445566778899aabbccddeeff"


@dataclass(frozen=True, slots=True)
class Place:
    """An alliance's folder whose services do not run, and a passphrase file."""

    folder: AllianceFolder
    passphrase_file: Path
    chain: Chain
    member_seeds: Mapping[str, bytes]

    @property
    def options(self) -> list[str]:
        return ["--alliance", str(self.folder.root), *self.passphrase]

    @property
    def passphrase(self) -> list[str]:
        return ["--passphrase-file", str(self.passphrase_file)]


@pytest.fixture(scope="module")
def founded() -> tuple[Genesis, ChainKeys]:
    return make_genesis()


@pytest.fixture
def place(
    founded: tuple[Genesis, ChainKeys], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Place:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "stdin", io.StringIO())  # no terminal
    folder = AllianceFolder(tmp_path / "alliance")
    folder.root.mkdir()
    genesis, keys = founded
    folder.genesis_file.write_bytes(keys.document)
    document: dict[str, object] = {
        "chain_id": genesis.chain_id,
        "ledger_member": "hospital-a",
        "endpoints": {"hospital-a": {}},
    }
    folder.endpoints_file.write_text(json.dumps(document))
    passphrase_file = tmp_path / "passphrase"
    passphrase_file.write_text(f"{PASSPHRASE}\n")
    return Place(folder, passphrase_file, Chain(genesis, keys), keys.member_seeds)


@pytest.fixture(scope="module")
def made(founded: tuple[Genesis, ChainKeys], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wallet, made once: the work on its passphrase takes longer than most commands here."""
    path = tmp_path_factory.mktemp("made") / "my.wallet"
    genesis, _ = founded
    save_wallet(path, Wallet.create(genesis.chain_id, genesis.digest), PASSPHRASE)
    return path


@pytest.fixture
def wallet(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy2(made, tmp_path / made.name))


def error_of(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return the one JSON document of a failed command; it printed nothing else."""
    shown = capsys.readouterr()
    assert shown.err == ""
    return json.loads(shown.out)["error"]


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    shown = capsys.readouterr()
    for command in ("dev", "demo", "wallet", "record", "consent", "emergency", "notices", "key"):
        assert command in shown.out
    for command in ("contract", "study", "audit", "receipt"):
        assert command in shown.out


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["consent", "grant", "--help"]) == 0
    assert "--visits" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["dev", "--colour", "red"],
        ["dev", "--port-base", "80"],
        ["receipt", "verify", "some.receipt"],
        ["consent", "grant", SOME_ID, "--wallet", "w", "--to", "hospital-b", "--days", "0"],
    ],
)
def test_a_wrong_command_line_has_a_cause_a_fix_and_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("USAGE: ")
    assert "--help" in shown.err
    assert run([*arguments, "--json"]) == 2
    error = error_of(capsys)
    assert error["reason"] == "USAGE"
    assert error["cause"]
    assert "--help" in error["fix"]


def test_a_folder_without_an_alliance_is_said_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["wallet", "create", str(tmp_path / "w"), "--alliance", str(tmp_path)]
    assert run(arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("ALLIANCE_MISSING: ")
    assert "\n  fix: " in shown.err


def test_a_new_wallet_is_private_and_belongs_to_the_alliance(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new.wallet"
    assert run(["wallet", "create", str(path), *place.options, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {"wallet": str(path), "chain_id": place.chain.genesis.chain_id}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_wallet_is_never_overwritten(
    place: Place, wallet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = wallet.read_bytes()
    assert run(["wallet", "create", str(wallet), *place.options, "--json"]) == 1
    assert error_of(capsys)["reason"] == "WALLET_EXISTS"
    assert wallet.read_bytes() == before


def test_a_wallet_shows_what_it_holds_and_no_secret(
    place: Place, wallet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["wallet", "show", str(wallet), *place.passphrase, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "wallet": str(wallet),
        "chain_id": place.chain.genesis.chain_id,
        "credentials": [],
        "records": [],
        "consents": [],
        "studies": [],
    }


def test_a_backup_opens_with_its_own_passphrase_alone(
    place: Place, wallet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, copy = tmp_path / "other", tmp_path / "copy.wallet"
    other.write_text("another passphrase\n")
    backup = ["wallet", "backup", str(wallet), str(copy), *place.passphrase]
    assert run([*backup, "--new-passphrase-file", str(other)]) == 0
    assert run(["wallet", "show", str(copy), "--passphrase-file", str(other)]) == 0
    capsys.readouterr()
    assert run(["wallet", "show", str(copy), *place.passphrase, "--json"]) == 1
    assert error_of(capsys)["reason"] == "WALLET_PASSPHRASE_WRONG"


def test_without_a_terminal_the_passphrase_must_be_in_a_file(
    place: Place, wallet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["wallet", "show", str(wallet), "--json"]) == 1
    error = error_of(capsys)
    assert error["reason"] == "PASSPHRASE_MISSING"
    assert "CIPHERWARD_PASSPHRASE_FILE" in error["fix"]


def test_a_missing_passphrase_file_is_named(
    place: Place, wallet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "nowhere"
    arguments = ["wallet", "show", str(wallet), "--passphrase-file", str(missing), "--json"]
    assert run(arguments) == 1
    error = error_of(capsys)
    assert error["reason"] == "FILE_UNREADABLE"
    assert str(missing) in error["detail"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["record", "get", "xyz"], "ID_MALFORMED"),
        (["record", "get", "00ff"], "ID_MALFORMED"),
        (["record", "get", SOME_ID], "GRANT_MISSING"),
        (["consent", "revoke", "00ff"], "ID_MALFORMED"),
        (["consent", "revoke", SOME_ID], "ENTRY_UNKNOWN"),
        (["consent", "grant", SOME_ID, "--to", "hospital-b/12"], "GRANTEE_MALFORMED"),
        (["consent", "grant", SOME_ID, "--to", "b", "--purpose", "GOSSIP"], "PURPOSE_UNKNOWN"),
        (["consent", "grant", SOME_ID, "--to", "hospital-b"], "ENTRY_UNKNOWN"),
        (["wallet", "enroll", "--hospital", "hospital-z"], "MEMBER_NOT_HERE"),
        (["wallet", "enroll", "--hospital", ".."], "MEMBER_NOT_HERE"),
        (["wallet", "enroll", "--hospital", "hospital-a", "--role", "king"], "ROLE_UNKNOWN"),
        (
            ["consent", "grant", SOME_ID, "--to", "b", "--representative", "12"],
            "GRANTEE_MALFORMED",
        ),
        (["emergency", "open", "00ff", "--reason", "unconscious"], "ID_MALFORMED"),
        (["emergency", "open", SOME_ID, "--reason", "unconscious"], "CREDENTIAL_MISSING"),
        (["emergency", "close", SOME_ID], "CREDENTIAL_MISSING"),
        (["record", "erase", SOME_ID], "ENTRY_UNKNOWN"),
        (["record", "allow", SOME_ID, "consent/2"], "ENTRY_UNKNOWN"),
        (["notices", "--record", SOME_ID], "ENTRY_UNKNOWN"),
        (["notices"], "LISTENER_MISSING"),
        (["contract", "upgrade", SOME_ID, "2"], "ENTRY_UNKNOWN"),
        (["audit", SOME_ID], "ENTRY_UNKNOWN"),
        (["study", "show", SOME_ID], "ENTRY_UNKNOWN"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anybody_is_asked(
    arguments: list[str],
    reason: str,
    place: Place,
    wallet: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = wallet.read_bytes()
    assert run([*arguments, "--wallet", str(wallet), *place.options, "--json"]) == 1
    error = error_of(capsys)
    assert error["reason"] == reason
    assert error["cause"]
    assert error["fix"]
    assert wallet.read_bytes() == before


def test_a_wallet_that_another_command_holds_is_left_alone(
    place: Place, wallet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with wallet.with_name(f".{wallet.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        arguments = ["record", "list", "--wallet", str(wallet), *place.passphrase, "--json"]
        assert run(arguments) == 1
        assert error_of(capsys)["reason"] == "WALLET_IN_USE"
    assert run(arguments) == 0


def test_a_missing_wallet_leaves_nothing_behind(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "empty" / "my.wallet"
    missing.parent.mkdir()
    arguments = ["record", "list", "--wallet", str(missing), *place.passphrase, "--json"]
    assert run(arguments) == 1
    assert error_of(capsys)["reason"] == "WALLET_FILE_MISSING"
    assert list(missing.parent.iterdir()) == []


def receipt_of(place: Place, path: Path) -> Path:
    """Write the receipt of a real transaction of the chain."""
    genesis = place.chain.genesis
    member = next(iter(genesis.members))
    raw = build_transaction(
        [some_act()],
        chain_id=genesis.chain_id,
        expires_at=genesis.time_ns // 10**9 + 60,
        signer=MemberSigner(member, place.member_seeds[member]),
    )
    height = place.chain.next_height()
    place.chain.append([raw])
    write_receipt(path, place.chain.receipt(height, 0))
    return path


def some_act() -> pb.Act:
    """Return an act that any member may sign: a vote on a study."""
    return pb.Act(vote=pb.Vote(instance_id=bytes.fromhex(SOME_ID), transition="approve"))


def test_a_receipt_verifies_offline(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = receipt_of(place, tmp_path / "a.receipt")
    genesis = str(place.folder.genesis_file)
    assert run(["receipt", "verify", str(path), "--genesis", genesis, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verified"] is True
    assert document["chain_id"] == place.chain.genesis.chain_id
    assert document["acts"][0]["act"] == "vote"
    assert run(["receipt", "verify", str(path), "--genesis", genesis]) == 0
    assert "solo" in capsys.readouterr().out


def test_a_receipt_with_one_flipped_bit_is_refused(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = receipt_of(place, tmp_path / "a.receipt")
    raw = bytearray(path.read_bytes())
    for place_of_bit in range(0, 8 * len(raw), 997):
        forged = bytearray(raw)
        forged[place_of_bit // 8] ^= 1 << place_of_bit % 8
        path.write_bytes(forged)
        arguments = ["receipt", "verify", str(path), "--genesis", str(place.folder.genesis_file)]
        assert run([*arguments, "--json"]) == 1
        assert error_of(capsys)["reason"] == "RECEIPT_REJECTED"


def test_a_crash_is_logged_without_values_and_told_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    secret = bytes(range(32)).hex()

    def crash(key: str) -> None:
        raise RuntimeError(f"{len(key)} digits")

    with pytest.raises(RuntimeError) as crashed:
        crash(secret)
    refusal = refusal_of(crashed.value)
    assert refusal.reason == "INTERNAL"
    log = next(path for path in tmp_path.rglob("crashes.log"))
    assert str(log) in refusal.fix
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert "RuntimeError" in log.read_text()
    assert secret not in log.read_text()


def test_every_fault_has_its_own_reason_one_cause_and_one_fix() -> None:
    found = [
        kind
        for kind in vars(faults).values()
        if isinstance(kind, type) and issubclass(kind, CliFault) and kind is not CliFault
    ]
    assert len({kind.reason for kind in found}) == len(found) > 10
    for kind in found:
        assert kind.cause.endswith(".")
        assert kind.cause.count(". ") == 0
        assert kind.fix


def test_a_story_that_cannot_be_told_leaves_a_report_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, report = tmp_path / "file", tmp_path / "report.json"
    file.write_text("no folder")
    assert run(["demo", "--data", str(file / "below"), "--json", str(report)]) == 1
    assert "Traceback" not in capsys.readouterr().err
    checks = json.loads(report.read_text())["checks"]
    assert [check["passed"] for check in checks] == [False]


def test_the_demonstration_is_never_played_over_other_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis").write_text("the only copy")
    assert run(["demo", "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("FILE_EXISTS: ")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]
