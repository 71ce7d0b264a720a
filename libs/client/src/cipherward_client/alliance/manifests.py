"""A member's folder as Kubernetes objects: what a release of the chart mounts, and its values.

Nothing is written. The authority's own key is in none of them: it certifies anybody as this member.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cipherward_chain.endpoints import services_document
from cipherward_client.alliance import layout
from cipherward_client.alliance.belonging import genesis_of
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.parts import SOLO
from cipherward_client.alliance.places import for_others, read_places
from cipherward_client.sdk.authority_files import authorities_file
from cipherward_client.sdk.connection import admission_file
from cipherward_client.sdk.errors import CheckFailed

KEYS, ALLIANCE = "cipherward-keys", "cipherward-alliance"  # as the chart's examples name them
KEY, AUTHORITY_KEY = ".key", ".ca.key"
# What every release mounts: without one of them its pods would not start.
NEEDED: Final = (
    layout.MEMBER_KEY,
    layout.CONSENSUS_KEY,
    layout.ISSUER_KEY,
    layout.CUSTODIAN_KEY,
    layout.CEREMONY_KEY,
    layout.DATA_SET_KEY,
)

Manifest = dict[str, Any]


class NoRelease(CheckFailed):
    """The folder lacks something that a release of that member mounts."""

    reason = "RELEASE_FILES_MISSING"


@dataclass(frozen=True, slots=True)
class Release:
    """Where a member's objects go.

    name: full name of the release, which the Secrets of the certificates begin with. namespace: ""
    leaves it to kubectl. certificates: whether the folder's are given, or cert-manager makes them.
    """

    name: str = "cipherward"
    namespace: str = ""
    certificates: bool = True

    @property
    def prefix(self) -> str:
        """What the Secrets of the certificates are named by: PREFIX-SERVICE."""
        return f"{self.name}-tls"


def manifests(folder: AllianceFolder, member: str, release: Release) -> list[Manifest]:
    """Return the ConfigMap and the Secrets of a member that has founded or joined.

    Raises:
        NoRelease: a key or a certificate is missing.
        KeysMissing, NotAdmitted, GenesisMalformed: see `genesis_of`.
    """
    genesis = genesis_of(folder, member)
    home = folder.member(member)
    keys = {
        path.name: path
        for path in sorted(home.key("").glob(f"*{KEY}"))
        if not path.name.endswith(AUTHORITY_KEY)
    }
    needed = NEEDED if genesis.engine == SOLO else (*NEEDED, layout.NODE_KEY)
    missing = [name for name in needed if name not in keys]
    if missing:
        raise NoRelease(f"{home.key('')} has no {', '.join(missing)}")
    found = [_config_map(folder, release), _secret(KEYS, "Opaque", keys, release)]
    if release.certificates:
        found += _certificates(folder, member, release)
    return found


def values(folder: AllianceFolder, member: str, release: Release) -> Manifest:
    """Return what the folder knows of a release's values: Kafka and MongoDB are not in it.

    Raises:
        KeysMissing, NotAdmitted, GenesisMalformed: see `genesis_of`.
        EndpointsMalformed: alliance.json is damaged.
    """
    genesis = genesis_of(folder, member)
    embedded = genesis.engine == SOLO
    alliance: Manifest = {"existingConfigMap": ALLIANCE}
    if member not in genesis.members:
        alliance["admitted"] = True
    alliance["peers"] = [
        {"member": other, "services": services_document(for_others(services))}
        for other, services in read_places(folder).items()
        if other != member
    ]
    tls: Manifest = {"mode": "certManager", "certManager": {"issuerRef": {"name": ""}}}
    if release.certificates:
        mode = "devSelfSigned" if embedded else "existingSecret"
        tls = {"mode": mode, "existingSecretPrefix": release.prefix}
    return {
        "profile": "embedded" if embedded else "production",
        "member": {"id": member},
        "chain": {"id": genesis.chain_id},
        "alliance": alliance,
        "keys": {"existingSecret": KEYS},
        "tls": tls,
    }


def _config_map(folder: AllianceFolder, release: Release) -> Manifest:
    admissions = admission_file(folder.endpoints_file, "x").parent.glob("*.json")
    changes = authorities_file(folder.endpoints_file, "x").parent.glob("*.json")
    files = {file.name: file for file in (folder.genesis_file, *sorted(admissions))}
    # No member's id has a dot: the two proofs of one have names of their own.
    files |= {f"{file.stem}.authorities.json": file for file in sorted(changes)}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(ALLIANCE, release),
        "data": {name: file.read_text(encoding="utf-8") for name, file in files.items()},
    }


def _certificates(folder: AllianceFolder, member: str, release: Release) -> Iterator[Manifest]:
    for service in (*layout.CHAIN_SERVICES, *layout.MEMBER_SERVICES, layout.CLIENT):
        certificate, private_key = folder.member(member).certificate(service)
        if not (certificate.exists() and private_key.exists()):
            raise NoRelease(f"{certificate.parent} has no certificate of {service}")
        files = {"tls.crt": certificate, "tls.key": private_key}
        yield _secret(f"{release.prefix}-{service}", "kubernetes.io/tls", files, release)


def _secret(name: str, kind: str, files: Mapping[str, Path], release: Release) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": kind,
        "metadata": _metadata(name, release),
        "data": {key: base64.b64encode(path.read_bytes()).decode() for key, path in files.items()},
    }


def _metadata(name: str, release: Release) -> Manifest:
    return {"name": name, **({"namespace": release.namespace} if release.namespace else {})}
