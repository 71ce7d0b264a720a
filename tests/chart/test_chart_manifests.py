"""What `cipherward alliance manifests` prints of a member's folder is what its release mounts."""

from __future__ import annotations

import base64
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cipherward_chain.admission import FOLDER
from cipherward_chain.authorities import FOLDER as AUTHORITIES
from cipherward_chain.genesis import Genesis
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.manifests import ALLIANCE, KEYS, Manifest
from cipherward_client.cli.commands import run
from cipherward_kit.tls import Identity, TrustRegistry
from tools.chart import CHART, HELM, KUBERNETES, RENDERED

pytestmark = pytest.mark.slow  # keys of two members are made

MEMBER, OTHER = "hospital-a", "hospital-b"
HOST = "cipherward-{service}.%s.svc"
# What the member's folder has nothing to do with: the brokers', the database's, and the operator's
# own key of the workers (`openssl rand`).
OTHERS = frozenset(("cipherward-kafka", "cipherward-mongo"))
OPERATORS = "jobs.key"
THEIRS: Mapping[str, Any] = {
    "kafka": {"bootstrap": "kafka.kafka.svc:9093", "existingSecret": "cipherward-kafka"},
    "mongo": {"existingSecret": "cipherward-mongo"},
}


@dataclass(frozen=True)
class Person:
    """Somebody at the command line, in the folder of a member."""

    root: Path
    capsys: pytest.CaptureFixture[str]

    def says(self, *arguments: str, status: int = 0) -> str:
        self.capsys.readouterr()
        ended = run(["alliance", *arguments, "--alliance", str(self.root)])
        printed = self.capsys.readouterr()
        assert ended == status, printed.err
        return printed.err if status else printed.out

    def manifests(self, *arguments: str) -> dict[str, Manifest]:
        printed = self.says("manifests", "--member", MEMBER, *arguments)
        found: list[Manifest] = list(yaml.safe_load_all(printed))
        return {one["metadata"]["name"]: one for one in found}

    def values(self, *arguments: str) -> Manifest:
        return yaml.safe_load(self.says("manifests", "--member", MEMBER, "--values", *arguments))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of who has gathered another founder's registration, and begun a chain with it."""
    theirs, mine = (tmp_path_factory.mktemp(name) for name in ("theirs", "mine"))

    def does(folder: Path, *arguments: str) -> None:
        assert run(["alliance", "init", *arguments, "--alliance", str(folder)]) == 0

    does(theirs, OTHER, "--host", HOST % OTHER)
    registration = AllianceFolder(theirs).member(OTHER).registration_file
    does(mine, MEMBER, "--chain", "nord", "--with", str(registration), "--host", HOST % MEMBER)
    return mine


@pytest.fixture
def founder(begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Person:
    """That founder, with a copy of the folder."""
    shutil.copytree(begun, tmp_path / "mine")
    return Person(tmp_path / "mine", capsys)


def mounted(text: str) -> dict[str, set[str]]:
    """Return the keys of every Secret and ConfigMap that rendered pods mount, by its name."""
    found: dict[str, set[str]] = {}
    for one in yaml.safe_load_all(text):
        if not one or one["kind"] not in ("StatefulSet", "Deployment", "Pod"):
            continue
        spec = one["spec"] if one["kind"] == "Pod" else one["spec"]["template"]["spec"]
        for volume in spec["volumes"]:
            if "secret" in volume:
                files = found.setdefault(volume["secret"]["secretName"], set())
                files |= {"tls.crt", "tls.key"}
            for source in [volume, *volume.get("projected", {}).get("sources", [])]:
                for kind in ("configMap", "secret"):
                    named = source.get(kind, {})
                    if "items" in named and not named.get("optional"):
                        files = found.setdefault(named["name"], set())
                        files |= {item["key"] for item in named["items"]}
    return found


def places(text: str) -> dict[str, str]:
    """Return the keys of the alliance's ConfigMap that every service mounts, by their path."""
    found: list[dict[str, str]] = []
    for one in yaml.safe_load_all(text):
        if one and one["kind"] == "StatefulSet":
            volumes = {each["name"]: each for each in one["spec"]["template"]["spec"]["volumes"]}
            sources = volumes["alliance"]["projected"]["sources"]
            items = [item for source in sources for item in source["configMap"]["items"]]
            found.append({item["path"]: item["key"] for item in items})
    assert found
    assert all(one == found[0] for one in found)
    return found[0]


def over(defaults: Manifest, given: Manifest) -> Manifest:
    """Return the values that Helm checks: the chart's own, with those that are given over them."""
    merged = dict(defaults)
    for key, value in given.items():
        both = all(isinstance(one, dict) for one in (value, merged.get(key)))
        merged[key] = over(merged[key], value) if both else value
    return merged


def require_given(made: Mapping[str, Manifest], asked: Mapping[str, set[str]]) -> None:
    assert KEYS in asked
    assert ALLIANCE in asked
    for name, files in asked.items():
        if name not in OTHERS:
            assert files - {OPERATORS} <= set(made[name]["data"]), name


def test_a_production_release_finds_the_keys_and_the_genesis(founder: Person) -> None:
    made = founder.manifests("--namespace", "hospital-a", "--cert-manager")
    asked = mounted((RENDERED / "production.yaml").read_text())
    certificates = {name for name in asked if "-tls-" in name}
    assert len(certificates) == 6  # the chart has cert-manager write these
    require_given(made, {name: files for name, files in asked.items() if name not in certificates})
    assert set(made) == {KEYS, ALLIANCE}
    assert {one["metadata"]["namespace"] for one in made.values()} == {"hospital-a"}
    genesis = Genesis.parse(made[ALLIANCE]["data"]["genesis.json"].encode())
    assert list(genesis.members) == [MEMBER, OTHER]


def test_the_certificates_are_the_members_services_by_the_authority_of_the_genesis(
    founder: Person,
) -> None:
    made = founder.manifests("--release", "cw-cipherward")
    genesis = Genesis.parse(made[ALLIANCE]["data"]["genesis.json"].encode())
    registry = TrustRegistry({MEMBER: genesis.members[MEMBER].ca_certificate.encode()})
    services = [name for name in made if name.startswith("cw-cipherward-tls-")]
    assert len(services) == 6
    for name in services:
        files = {key: base64.b64decode(value) for key, value in made[name]["data"].items()}
        service = name.removeprefix("cw-cipherward-tls-")
        assert made[name]["type"] == "kubernetes.io/tls"
        assert Identity(files["tls.crt"], files["tls.key"]).caller().service == service
        registry.verify_peer(files["tls.crt"], f"spiffe://{MEMBER}/{service}")


def test_the_authoritys_own_key_and_passwords_are_in_no_manifest(founder: Person) -> None:
    home = AllianceFolder(founder.root).member(MEMBER)
    home.key("mongo.uri").write_text("mongodb://user:secret@db")
    shown = [
        base64.b64decode(value)
        for one in founder.manifests().values()
        if one["kind"] == "Secret"
        for value in one["data"].values()
    ]
    kept = [*home.key("").glob("*.ca.key"), home.key("mongo.uri")]
    assert len(kept) == 2
    assert not {path.read_bytes() for path in kept} & set(shown)


def test_the_values_name_the_alliance_as_the_chart_takes_them(founder: Person) -> None:
    values = founder.values()
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.validate(over(yaml.safe_load((CHART / "values.yaml").read_text()), values), schema)
    assert (values["profile"], values["chain"]["id"]) == ("production", "nord")
    assert values["tls"] == {"mode": "existingSecret", "existingSecretPrefix": "cipherward-tls"}
    (peer,) = values["alliance"]["peers"]
    assert peer["member"] == OTHER
    assert peer["services"]["ledger"] == {
        "listen": f"cipherward-ledger.{OTHER}.svc:7000",
        "holder": f"cipherward-ledger.{OTHER}.svc:7001",
        "p2p": f"cipherward-ledger.{OTHER}.svc:26656",
    }


def test_helm_takes_the_values_and_mounts_what_was_printed(founder: Person) -> None:
    if not HELM.exists():
        pytest.skip("Helm is not built: `make check-chart` builds it")
    given = founder.root / "values.yaml"
    given.write_text(yaml.safe_dump({**founder.values(), **THEIRS}))
    asked = [f"--kube-version={KUBERNETES}", "--values", given]
    command = [HELM, "template", "cipherward", CHART, *asked]
    rendered = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    assert not rendered.returncode, rendered.stderr
    require_given(founder.manifests(), mounted(rendered.stdout))


def test_who_was_admitted_later_brings_the_proof(founder: Person) -> None:
    """The folder's own proof, and those of others, whatever the chain's genesis says."""
    proofs = founder.root / FOLDER
    proofs.mkdir()
    (proofs / "hospital-e.json").write_text("a proof")
    assert founder.manifests()[ALLIANCE]["data"]["hospital-e.json"] == "a proof"


def test_who_changed_its_authority_brings_the_proof_where_pods_look_for_it(
    founder: Person,
) -> None:
    proofs = founder.root / AUTHORITIES
    proofs.mkdir()
    (proofs / f"{MEMBER}.json").write_text("a proof")
    made = founder.manifests()[ALLIANCE]["data"]
    items = places((RENDERED / "production.yaml").read_text())
    assert made[items[f"authorities/{MEMBER}.json"]] == "a proof"


def test_who_has_not_joined_yet_has_nothing_to_install(founder: Person, tmp_path: Path) -> None:
    later = Person(tmp_path / "later", founder.capsys)
    later.says("init", "hospital-e")
    folder, given = AllianceFolder(later.root), AllianceFolder(founder.root)
    for file, known in (
        (folder.genesis_file, given.genesis_file),
        (folder.endpoints_file, given.endpoints_file),
    ):
        file.write_bytes(known.read_bytes())
    refused = later.says("manifests", "--member", "hospital-e", status=1)
    assert refused.startswith("MEMBER_NOT_ADMITTED: ")
    refused = later.says("manifests", "--member", OTHER, "--values", status=1)
    assert refused.startswith("MEMBER_KEYS_MISSING: ")


def test_a_folder_that_lacks_a_key_is_not_half_printed(founder: Person) -> None:
    AllianceFolder(founder.root).member(MEMBER).key("node.key").unlink()
    refused = founder.says("manifests", "--member", MEMBER, status=1)
    assert refused.startswith("RELEASE_FILES_MISSING: ")
    assert "node.key" in refused


def test_secrets_are_not_printed_on_a_terminal(founder: Person) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cipherward_client.cli", "alliance", "manifests"]
    arguments = ["--member", MEMBER, "--alliance", str(founder.root)]
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "wb") as terminal:
        ended = subprocess.run(
            [*command, *arguments], stdout=terminal, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith(b"SECRETS_ON_SCREEN: ")
