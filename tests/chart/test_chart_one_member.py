"""What the development tool prints is what the rendered chart mounts."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from cipherward_chain.genesis import Genesis
from cipherward_kit.tls import Identity, TrustRegistry
from tools.one_member import manifests

RENDERED = Path(__file__).resolve().parents[2] / "deploy/helm/rendered/embedded.yaml"


@pytest.mark.slow
def test_an_embedded_release_finds_every_key_certificate_and_the_genesis(tmp_path: Path) -> None:
    made = {one["metadata"]["name"]: one for one in manifests(tmp_path, "cw-cipherward")}
    asked: dict[str, set[str]] = {}
    rendered: list[Any] = [one for one in yaml.safe_load_all(RENDERED.read_text()) if one]
    for one in rendered:
        if one["kind"] != "StatefulSet":
            continue
        for volume in one["spec"]["template"]["spec"]["volumes"]:
            if "secret" in volume:
                asked.setdefault(volume["secret"]["secretName"], set()).update(
                    {"tls.crt", "tls.key"}
                )
            for source in volume.get("projected", {}).get("sources", []):
                if "secret" not in source:
                    continue
                keys = {item["key"] for item in source["secret"]["items"]}
                asked.setdefault(source["secret"]["name"], set()).update(keys)
    assert len(asked) == 7
    for name, keys in asked.items():
        assert keys <= set(made[name]["data"]), name
    genesis = Genesis.parse(made["cipherward-alliance"]["data"]["genesis.json"].encode())
    registry = TrustRegistry({"hospital-a": genesis.members["hospital-a"].ca_certificate.encode()})
    shown = made["cw-cipherward-tls-ledger"]["data"]
    certificate = base64.b64decode(shown["tls.crt"])
    identity = Identity(certificate, base64.b64decode(shown["tls.key"]))
    assert identity.caller().service == "ledger"
    registry.verify_peer(certificate, "spiffe://hospital-a/ledger")


@pytest.mark.slow
def test_the_authoritys_own_key_stays_in_the_folder_and_nothing_is_made_twice(
    tmp_path: Path,
) -> None:
    first = manifests(tmp_path, "cipherward")
    authority = {
        base64.b64encode(path.read_bytes()).decode()
        for path in (tmp_path / "hospital-a/keys").glob("*.ca.key")
    }
    assert authority
    shown = {value for one in first if one["kind"] == "Secret" for value in one["data"].values()}
    assert not authority & shown
    assert manifests(tmp_path, "cipherward") == first
