"""The commands about shared keys, emergencies, erasure and templates, against real services."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cipherward_chain.genesis import Genesis
from cipherward_chain.receipts import verify_receipt
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.cli.commands import run

CONTENT = b'{"resourceType":"Bundle","type":"collection","entry":[]}'
HOSPITALS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")


class Terminal:
    """Somebody at a terminal, with a wallet if they are named."""

    def __init__(self, root: Path, capsys: Any, folder: Path, name: str = "") -> None:
        self._capsys = capsys
        self._options = ["--alliance", str(root)]
        if name:
            passphrase = folder / f"{name}.passphrase"
            passphrase.write_text("a passphrase\n")
            self._options += ["--passphrase-file", str(passphrase)]
            wallet = str(folder / f"{name}.wallet")
            self.run("wallet", "create", wallet)
            self._options += ["--wallet", wallet]

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run a command that must succeed, and return its document."""
        status = run([*arguments, *self._options, "--json"])
        told = self._capsys.readouterr()
        assert status == 0, told.out + told.err
        return json.loads(told.out)

    def refused(self, *arguments: str) -> str:
        """Run a command that must fail, and return its reason."""
        assert run([*arguments, *self._options, "--json"]) == 1
        return json.loads(self._capsys.readouterr().out)["error"]["reason"]

    def enrolled(self, hospital: str, role: str) -> Terminal:
        """Get a credential."""
        self.run("wallet", "enroll", "--hospital", hospital, "--role", role)
        return self


@pytest.fixture
def terminal(folder: AllianceFolder, capsys: Any, tmp_path: Path) -> Any:
    """Return who makes terminals."""
    return lambda name="": Terminal(folder.root, capsys, tmp_path, name)


def put(patient: Terminal, tmp_path: Path) -> str:
    file = tmp_path / "record.json"
    file.write_bytes(CONTENT)
    return patient.run("record", "put", str(file), "--hospital", "hospital-a")["record"]


def test_the_glass_is_broken_told_of_and_looked_into(terminal: Any, tmp_path: Path) -> None:
    patient = terminal("patient").enrolled("hospital-a", "patient")
    clinician = terminal("clinician").enrolled("hospital-c", "clinician")
    officer = terminal("officer").enrolled("hospital-a", "dpo")
    record, out = put(patient, tmp_path), tmp_path / "seen.json"
    wanted = ["emergency", "open", record, "--out", str(out), "--reason"]
    assert clinician.refused(*wanted, "curiosity") == "TERMS_MALFORMED"
    opened = clinician.run(*wanted, "unconscious")
    assert out.read_bytes() == CONTENT
    assert out.stat().st_mode & 0o777 == 0o600
    told = patient.run("notices", "--record", record)["notices"]
    assert sorted(one["kind"] for one in told) == ["emergency", "review-due"]
    assert {one["contract"] for one in told} == {opened["emergency"]}
    heard = terminal().run("notices", "--member", "hospital-a")["notices"]
    assert [one for one in heard if one["contract"] == opened["emergency"]] == told
    assert clinician.refused(*wanted, "unconscious") == "FILE_EXISTS"
    clinician.run("emergency", "close", opened["emergency"])
    found = officer.run("emergency", "review", opened["emergency"], "justified")
    assert found["finding"] == "justified"
    assert terminal().refused("notices") == "LISTENER_MISSING"
    nobody = terminal().refused("emergency", "review", opened["emergency"], "justified")
    assert nobody == "REVIEWER_MISSING"


def test_an_erasure_leaves_receipts_that_verify_offline(
    terminal: Any, folder: AllianceFolder, tmp_path: Path
) -> None:
    patient = terminal("patient").enrolled("hospital-a", "patient")
    record, receipts = put(patient, tmp_path), tmp_path / "receipts"
    options = ["--wait", "90", "--receipts", str(receipts)]
    erased = patient.run("record", "erase", record, *options)
    assert erased["erased"]
    written = {path.stem: path.read_bytes() for path in receipts.iterdir()}
    assert set(written) == {"order", *erased["statements"]}
    root = Genesis.parse(folder.genesis_file.read_bytes()).trust_root()
    for name, receipt in written.items():
        height = erased["height"] if name == "order" else erased["statements"][name]["height"]
        assert verify_receipt(receipt, root).height == height
    assert patient.refused("record", "erase", record) == "RECORD_ERASED"


def test_members_share_a_key_anew_by_their_votes(terminal: Any) -> None:
    member = terminal()
    before = member.run("key", "show", "opening")
    assert (before["threshold"], len(before["holders"])) == (3, 4)
    epoch = str(before["key_epoch"])
    proposed = member.run("key", "propose", "opening", "--renew", epoch, "--member", "hospital-a")
    decided = [
        member.run("key", "vote", proposed["ceremony"], "--member", one)["decided"]
        for one in HOSPITALS[:3]
    ]
    assert decided == [False, False, True]
    made = member.run("key", "wait", proposed["ceremony"], "--member", "hospital-b")
    assert (made["public_key"], made["sharing"]) == (before["public_key"], before["sharing"] + 1)
    assert member.refused("key", "show", "record", "--epoch", "77") == "GROUP_KEY_UNKNOWN"


def test_a_template_is_proposed_and_turned_down(terminal: Any, tmp_path: Path) -> None:
    member, file = terminal(), tmp_path / "template.yaml"
    file.write_text("name: broken\nprobability: 0.5\n")
    said = member.refused("contract", "propose", str(file), "--member", "hospital-a")
    assert said == "TEMPLATE_MALFORMED"
    shipped = member.run("contract", "get", "consent")
    assert (shipped["name"], shipped["version"]) == ("consent", 1)
    assert member.refused("contract", "get", "gossip") == "TEMPLATE_UNKNOWN"


def test_an_owner_allows_a_template_and_is_represented(terminal: Any, tmp_path: Path) -> None:
    patient = terminal("patient").enrolled("hospital-a", "patient")
    parent = terminal("parent").enrolled("hospital-b", "patient")
    record, out = put(patient, tmp_path), tmp_path / "seen.json"
    assert patient.refused("record", "allow", record, "gossip/1") == "TEMPLATE_UNKNOWN"
    key = parent.run("consent", "represent", record)["key"]
    purposes = ["--purpose", "TREAT", "--purpose", "CAREMGT"]
    given = patient.run(
        "consent", "grant", record, "--to", "hospital-b", *purposes, "--representative", key
    )
    assert given["purposes"] == ["CAREMGT", "TREAT"]
    parent.run("record", "get", record, "--grant", given["consent"], "--out", str(out))
    assert out.read_bytes() == CONTENT
    parent.run("consent", "revoke", given["consent"], "--record", record)
    shown = patient.run("consent", "show", given["consent"])
    assert (shown["state"], shown["representative"]) == ("revoked", key)


def test_members_suspend_one_of_them_and_bring_it_back(terminal: Any) -> None:
    member = terminal()

    def power(name: str) -> int:
        listed = member.run("member", "list", "--member", "hospital-a")["members"]
        return next(one["voting_power"] for one in listed if one["member"] == name)

    before = power("hospital-d")
    proposed = member.run(
        "member", "suspend", "hospital-d", "--days", "2", "--member", "hospital-a"
    )
    change = proposed["change"]
    decided = [member.run("member", "vote", change, "--member", one) for one in HOSPITALS[:3]]
    assert [(one["kind"], one["decided"]) for one in decided] == [
        ("suspension", False),
        ("suspension", False),
        ("suspension", True),
    ]
    assert power("hospital-d") == 0
    assert member.refused("member", "reinstate", change, "--member", "hospital-d") == (
        "MEMBER_SUSPENDED"
    )
    against = member.run("member", "reinstate", change, "--no", "--member", "hospital-a")
    assert not against["decided"]
    back = [member.run("member", "reinstate", change, "--member", one) for one in HOSPITALS[:3]]
    assert back[-1]["decided"]
    assert power("hospital-d") == before


def test_a_record_is_put_without_emergency_access(terminal: Any, tmp_path: Path) -> None:
    patient = terminal("patient").enrolled("hospital-a", "patient")
    clinician = terminal("clinician").enrolled("hospital-c", "clinician")
    file = tmp_path / "record.json"
    file.write_bytes(CONTENT)
    options = ["--hospital", "hospital-a", "--without-emergency-access"]
    stored = patient.run("record", "put", str(file), *options)
    assert stored["release_templates"] == ["consent/1"]
    opening = ["emergency", "open", stored["record"], "--reason", "unconscious"]
    assert clinician.refused(*opening) == "TEMPLATE_NOT_ALLOWED"
