"""Print what an embedded release needs, as manifests: an alliance of one member, for development.

    python -m tools.one_member FOLDER | kubectl -n NAMESPACE apply -f -

The first run makes keys, certificates and the genesis in FOLDER, as `cipherward alliance init`
does, unless that has made them there; a later one prints the same. The
certificates are of a development authority and last 90 days.
"""

from __future__ import annotations

import argparse
import base64
import sys
from pathlib import Path
from typing import Any

import yaml

from cipherward_client.alliance.create import begin_chain, establish, shipped_templates
from cipherward_client.alliance.founding import ChainPlan
from cipherward_client.alliance.layout import (
    CHAIN_SERVICES,
    CLIENT,
    MEMBER_SERVICES,
    AllianceFolder,
)
from cipherward_client.alliance.parts import SOLO

MEMBER = ("hospital-a", "Hospital A")  # the member and the chain of the chart's own values
CHAIN = "alliance"
KEYS, ALLIANCE = "cipherward-keys", "cipherward-alliance"
# The authority's own key certifies anybody as this member: it stays in the folder.
IN_CLUSTER = ".key"
AUTHORITY = ".ca.key"


def manifests(root: Path, release: str) -> list[dict[str, Any]]:
    """Return the Secrets and the ConfigMap; make the alliance first if the folder has none.

    Args:
        root: the alliance's folder.
        release: full name of the release: its certificates' Secrets begin with it.
    """
    folder = AllianceFolder(root)
    if not folder.genesis_file.exists():
        own = establish(folder, *MEMBER, consensus=True, node=False)
        begin_chain(folder, ChainPlan(CHAIN, SOLO, shipped_templates()), [own])
    home = folder.member(MEMBER[0])
    names = [path.name for path in home.key("").iterdir() if path.suffix == IN_CLUSTER]
    keys = {name: home.key(name) for name in names if not name.endswith(AUTHORITY)}
    found: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": ALLIANCE},
            "data": {"genesis.json": folder.genesis_file.read_text(encoding="utf-8")},
        },
        _secret(KEYS, "Opaque", keys),
    ]
    for service in (*CHAIN_SERVICES, *MEMBER_SERVICES, CLIENT):
        certificate, private_key = home.certificate(service)
        files = {"tls.crt": certificate, "tls.key": private_key}
        found.append(_secret(f"{release}-tls-{service}", "kubernetes.io/tls", files))
    return found


def _secret(name: str, kind: str, files: dict[str, Path]) -> dict[str, Any]:
    data = {key: base64.b64encode(path.read_bytes()).decode() for key, path in files.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": kind,
        "metadata": {"name": name},
        "data": dict(sorted(data.items())),
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="An alliance of one member, as manifests.")
    parser.add_argument("folder", type=Path, help="where keys and genesis are kept")
    parser.add_argument("--release", default="cipherward", help="full name of the release")
    options = parser.parse_args()
    yaml.safe_dump_all(manifests(options.folder, options.release), sys.stdout, sort_keys=False)


if __name__ == "__main__":
    main()
