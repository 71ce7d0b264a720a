"""A newcomer's registration: the same in the file and in the terms, and no secret in either."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cipherward_chain.genesis import Issuer, Member
from cipherward_client.alliance.create import create_member
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.cli.commands import run
from cipherward_client.sdk.registration import UNNUMBERED, Registration, RegistrationMalformed


@pytest.fixture
def registration(tmp_path: Path) -> Registration:
    home = AllianceFolder(tmp_path).member("hospital-e")
    return Registration(*create_member(home, "Hospital E", UNNUMBERED, consensus=True, node=True))


def test_the_file_says_what_the_terms_say(registration: Registration) -> None:
    again = Registration.from_bytes(registration.to_bytes())
    assert again == registration
    assert again.terms(60) == {**registration.fields(), "join_seconds": 60}


def test_no_key_file_is_in_the_registration(registration: Registration, tmp_path: Path) -> None:
    text = registration.to_bytes().decode()
    secrets = list((tmp_path / "hospital-e" / "keys").glob("*.key"))
    assert len(secrets) > 5
    assert not any(secret.read_bytes().hex() in text for secret in secrets)


def test_a_member_of_a_solo_alliance_registers_no_node(tmp_path: Path) -> None:
    home = AllianceFolder(tmp_path).member("hospital-e")
    member, issuer = create_member(home, "Hospital E", UNNUMBERED, consensus=False, node=False)
    assert (member.consensus_public_key, member.node_id) == (b"", b"")
    assert isinstance(member, Member)
    assert isinstance(issuer, Issuer)
    assert Registration.from_bytes(Registration(member, issuer).to_bytes()).member == member


@pytest.mark.parametrize(
    "change", [{"public_key": "00"}, {"name": 7}, {"more": ""}, {"node_id": None}]
)
def test_a_file_out_of_form_is_no_registration(
    registration: Registration, change: dict[str, object]
) -> None:
    document = {**json.loads(registration.to_bytes()), **change}
    with pytest.raises(RegistrationMalformed):
        Registration.from_bytes(json.dumps(document).encode())


def test_an_id_that_no_member_can_have_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = AllianceFolder(tmp_path)
    for file in (folder.genesis_file, folder.endpoints_file):
        file.write_text("{}")
    out = tmp_path / "registration.json"
    arguments = ["member", "prepare", "../e", "--out", str(out), "--alliance", str(tmp_path)]
    assert run(arguments) == 1
    assert capsys.readouterr().err.startswith("MEMBER_ID_MALFORMED: ")
    assert run(["dev", "join", str(tmp_path), "Hospital E"]) == 1
    assert capsys.readouterr().err.startswith("MEMBER_ID_MALFORMED: ")
    assert not out.exists()
