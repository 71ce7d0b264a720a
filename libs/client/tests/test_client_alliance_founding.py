"""A genesis from registrations, and the commands that make both: what does not fit is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from cipherward_chain.genesis import Genesis, TemplateDocument
from cipherward_client.alliance.create import KeysExist, begin_chain, establish, shipped_templates
from cipherward_client.alliance.founding import (
    ChainNameMalformed,
    ChainPlan,
    EngineUnfit,
    KeyTaken,
    MemberTaken,
    found_chain,
    require_unused,
)
from cipherward_client.alliance.invitation import Invitation
from cipherward_client.alliance.layout import MEMBER_KEY, AllianceFolder
from cipherward_client.alliance.parts import COMETBFT, SOLO
from cipherward_client.alliance.places import read_places, services_at
from cipherward_client.cli.commands import run
from cipherward_client.sdk.registration import Registration

TIME_NS = 1_790_000_000_000_000_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Registration]:
    """Registrations of three members that run nodes, each made in a folder of its own."""
    names = ("hospital-a", "hospital-b", "hospital-c")
    return [
        establish(
            AllianceFolder(tmp_path_factory.mktemp(name)), name, name, consensus=True, node=True
        )
        for name in names
    ]


@pytest.fixture(scope="module")
def templates() -> list[TemplateDocument]:
    return shipped_templates()


@pytest.fixture
def plan(templates: list[TemplateDocument]) -> ChainPlan:
    return ChainPlan("nord", COMETBFT, templates)


def test_members_are_numbered_in_the_order_of_their_registrations(
    made: list[Registration], plan: ChainPlan
) -> None:
    genesis = Genesis.parse(found_chain(plan, list(reversed(made)), TIME_NS))
    assert [(m.id, m.index) for m in genesis.members.values()] == [
        ("hospital-c", 0),
        ("hospital-b", 1),
        ("hospital-a", 2),
    ]
    keys = {one.public_key for one in genesis.validators.validators}
    assert keys == {one.member.consensus_public_key for one in made}
    assert {one.public_key for one in genesis.issuers} == {one.issuer.public_key for one in made}


def test_one_name_twice_is_named(made: list[Registration], plan: ChainPlan) -> None:
    same = dataclasses.replace(made[1], member=dataclasses.replace(made[1].member, id="hospital-a"))
    with pytest.raises(MemberTaken, match="hospital-a"):
        found_chain(plan, [made[0], same], TIME_NS)


@pytest.mark.parametrize(
    "key",
    [
        "public_key",
        "custodian_public_key",
        "ca_certificate",
        "consensus_public_key",
        "node_id",
        "issuer",
    ],
)
def test_a_key_of_another_member_is_named(
    made: list[Registration], plan: ChainPlan, key: str
) -> None:
    if key == "issuer":
        stolen = dataclasses.replace(made[1], issuer=made[0].issuer)
    else:
        taken: Any = getattr(made[0].member, key)
        member = dataclasses.replace(made[1].member, **{key: taken})
        stolen = dataclasses.replace(made[1], member=member)
    with pytest.raises(KeyTaken, match="hospital-b"):
        found_chain(plan, [made[0], stolen], TIME_NS)


def test_a_key_that_serves_twice_is_named(made: list[Registration]) -> None:
    member = dataclasses.replace(made[0].member, consensus_public_key=made[0].member.public_key)
    with pytest.raises(KeyTaken):
        require_unused(dataclasses.replace(made[0], member=member), ())


def test_members_of_another_engine_do_not_fit(
    made: list[Registration], plan: ChainPlan, tmp_path: Path
) -> None:
    with pytest.raises(EngineUnfit, match="hospital-a"):
        found_chain(dataclasses.replace(plan, engine=SOLO), made, TIME_NS)
    alone = establish(AllianceFolder(tmp_path), "hospital-d", "D", consensus=True, node=False)
    with pytest.raises(EngineUnfit, match="hospital-d"):
        found_chain(plan, [*made, alone], TIME_NS)


def test_a_chain_of_another_kind_of_name_is_refused(
    made: list[Registration], plan: ChainPlan
) -> None:
    with pytest.raises(ChainNameMalformed):
        found_chain(dataclasses.replace(plan, chain_id="Nord"), made, TIME_NS)


def test_a_chain_that_cannot_begin_leaves_no_file(
    made: list[Registration], plan: ChainPlan, tmp_path: Path
) -> None:
    folder = AllianceFolder(tmp_path)
    with pytest.raises(MemberTaken):
        begin_chain(folder, plan, [made[0], made[0]])
    assert not list(tmp_path.iterdir())


def test_keys_are_made_once_and_whole(tmp_path: Path) -> None:
    folder = AllianceFolder(tmp_path)
    first = establish(folder, "hospital-a", "A", consensus=True, node=True)
    key = folder.member("hospital-a").key(MEMBER_KEY).read_bytes()
    assert establish(folder, "hospital-a", "another name", consensus=True, node=True) == first
    assert folder.member("hospital-a").key(MEMBER_KEY).read_bytes() == key
    assert [one.name for one in tmp_path.iterdir()] == ["hospital-a"]


def test_something_that_is_not_whole_is_left_as_it_is(tmp_path: Path) -> None:
    folder = AllianceFolder(tmp_path)
    key = folder.member("hospital-a").key(MEMBER_KEY)
    key.parent.mkdir(parents=True)
    key.write_bytes(b"somebody's key")
    with pytest.raises(KeysExist):
        establish(folder, "hospital-a", "A", consensus=True, node=True)
    assert key.read_bytes() == b"somebody's key"
    assert [one.name for one in tmp_path.iterdir()] == ["hospital-a"]


def test_a_pattern_gives_each_service_a_host_and_the_charts_ports() -> None:
    pattern = "cipherward-{service}.hospital-a.svc"
    found = services_at("hospital-a", pattern, None, chain=True, node=True)
    assert found["ledger"].listen == "cipherward-ledger.hospital-a.svc:7000"
    assert found["ledger"].holder == "cipherward-ledger.hospital-a.svc:7001"
    assert found["ledger"].p2p == "cipherward-ledger.hospital-a.svc:26656"
    assert found["storage"].p2p == ""


def test_one_host_has_its_ports_counted() -> None:
    found = services_at("hospital-a", "a.example.org", 7000, chain=True, node=True)
    assert found["contract"].listen == "a.example.org:7000"
    assert found["ledger"].holder == "a.example.org:7005"
    assert found["ledger"].p2p == "a.example.org:7020"


class Person:
    """Somebody at the command line, with a folder of their own."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self._capsys = capsys

    def runs(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        self._capsys.readouterr()
        ended = run(["alliance", *arguments, "--alliance", str(self.root), "--json"])
        printed = self._capsys.readouterr().out
        assert ended == status, printed
        return json.loads(printed)

    def is_refused(self, *arguments: str) -> str:
        return self.runs(*arguments, status=1)["error"]["reason"]


@pytest.fixture
def person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Person:
    return Person(tmp_path / "mine", capsys)


def test_a_founder_begins_a_chain_and_invites(
    person: Person, made: list[Registration], tmp_path: Path
) -> None:
    other = tmp_path / "b.json"
    other.write_bytes(dataclasses.replace(made[1], endpoints={}).to_bytes())
    host = ("--host", "a.example.org")
    begun = person.runs("init", "hospital-a", "--chain", "nord", "--with", str(other), *host)
    assert begun["members"] == ["hospital-a", "hospital-b"]
    folder = AllianceFolder(person.root)
    assert list(read_places(folder)) == ["hospital-a"]
    text = person.runs("invite", "--member", "hospital-a", "--days", "3")["invitation"]
    invitation = Invitation.parse(text)
    assert invitation.address == "a.example.org:7005"
    assert bytes.fromhex(begun["genesis"]).startswith(invitation.genesis)
    for secret in folder.member("hospital-a").key("").glob("*.key"):
        assert secret.read_bytes().hex() not in text
    assert person.is_refused("init", "hospital-a", "--chain", "nord") == "CHAIN_BEGUN"


def test_the_same_registration_twice_is_one_founder(
    person: Person, made: list[Registration], tmp_path: Path
) -> None:
    other = tmp_path / "b.json"
    other.write_bytes(dataclasses.replace(made[1], endpoints={}).to_bytes())
    own = person.runs("init", "hospital-a")["registration"]
    given = ("--with", str(other), "--with", str(other), "--with", own)
    begun = person.runs("init", "hospital-a", "--chain", "nord", *given)
    assert begun["members"] == ["hospital-a", "hospital-b"]


def test_only_a_member_whose_keys_are_here_invites(person: Person) -> None:
    person.runs("init", "hospital-a", "--chain", "nord")
    for member in ("hospital-z", "../a", ""):
        assert person.is_refused("invite", "--member", member) == "MEMBER_NOT_HERE"


def test_a_folder_is_one_members(person: Person) -> None:
    person.runs("init", "hospital-a")
    assert person.is_refused("init", "hospital-b") == "FOLDER_OF_ANOTHER_MEMBER"
    assert person.is_refused("join", "--member", "hospital-b") == "FOLDER_OF_ANOTHER_MEMBER"
    assert not (person.root / "hospital-b").exists()


def test_addresses_are_told_anew_and_the_keys_stay(person: Person) -> None:
    first = person.runs("init", "hospital-a")
    moved = person.runs("init", "hospital-a", "--host", "a.example.org")
    assert moved["fingerprint"] == first["fingerprint"]
    registration = Registration.from_bytes(Path(moved["registration"]).read_bytes())
    assert registration.endpoints["contract"].listen == "a.example.org:7000"
    person.runs("init", "hospital-a")  # chooses nothing
    assert Path(moved["registration"]).read_bytes() == registration.to_bytes()


def test_commands_name_what_is_wrong(person: Person, tmp_path: Path) -> None:
    assert person.is_refused("init", "../a") == "MEMBER_ID_MALFORMED"
    assert person.is_refused("join", "--member", "hospital-a") == "INVITATION_MISSING"
    file = tmp_path / "file"
    file.write_text("cipherward invitation 1\nchain nord\n")
    assert person.is_refused("join", str(file), "--member", "hospital-a") == "INVITATION_MALFORMED"
    assert person.is_refused("init", "hospital-a", "--with", str(file), "--chain", "nord") == (
        "REGISTRATION_MALFORMED"
    )
    assert person.is_refused("admit", str(file), "--member", "a") == "REGISTRATION_MALFORMED"
    assert person.is_refused("invite", "--member", "hospital-a") == "ALLIANCE_MISSING"
    assert not person.root.exists()


def test_a_registration_says_where_the_services_are_and_keeps_probes_to_itself(
    person: Person,
) -> None:
    told = person.runs("init", "hospital-a", "--host", "a.example.org", "--port-base", "8000")
    registration = Registration.from_bytes(Path(told["registration"]).read_bytes())
    assert registration.digest.hex() == told["fingerprint"]
    ledger = registration.endpoints["ledger"]
    assert (ledger.listen, ledger.health, ledger.metrics) == ("a.example.org:8004", "", "")
    assert dataclasses.replace(registration, endpoints={}).digest == registration.digest
