"""What each process of an alliance on this machine is told at its start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from cipherward_chain.endpoints import Endpoint
from cipherward_chain.genesis import Genesis
from cipherward_client.alliance import layout
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.supervisor import ProcessPlan

# A development alliance stops at once: nobody balances load between its processes.
DRAIN_SECONDS = "0.1"
GRACE_SECONDS = "2"

# Which key files each service reads: its setting, and the file in the member's key folder.
KEY_FILES: Mapping[str, Mapping[str, str]] = {
    "contract": {},
    "ledger": {
        "VALIDATOR_KEY_FILE": layout.CONSENSUS_KEY,
        "MEMBER_KEY_FILE": layout.MEMBER_KEY,
    },
    "identity": {"ISSUER_KEY_FILE": layout.ISSUER_KEY},
    "storage": {
        "CUSTODIAN_KEY_FILE": layout.CUSTODIAN_KEY,
        "MEMBER_KEY_FILE": layout.MEMBER_KEY,
    },
    "compute": {
        "CEREMONY_KEY_FILE": layout.CEREMONY_KEY,
        "DATA_KEY_FILE": layout.DATA_SET_KEY,
        "MEMBER_KEY_FILE": layout.MEMBER_KEY,
    },
}
# Stops go from the highest to the lowest: everybody reports to the ledger, the ledger to contract.
STAGES = {"contract": 0, "ledger": 1}
OTHERS_STAGE = 2


def services_of(genesis: Genesis, ledger_member: str) -> list[tuple[str, str]]:
    """Return (member, service) of every process: the shared ones first."""
    shared = [(ledger_member, service) for service in layout.SHARED_SERVICES]
    own = [(member, s) for member in genesis.members for s in layout.MEMBER_SERVICES]
    return shared + own


def endpoints_document(
    genesis: Genesis,
    ledger_member: str,
    endpoints: Mapping[tuple[str, str], Endpoint],
    folder: AllianceFolder,
) -> bytes:
    """Return alliance.json: where every service listens, and where certificates lie."""
    by_member: dict[str, dict[str, dict[str, str]]] = {}
    for (member, service), endpoint in endpoints.items():
        by_member.setdefault(member, {})[service] = asdict(endpoint)
    document = {
        "chain_id": genesis.chain_id,
        "ledger_member": ledger_member,
        "endpoints": by_member,
        "genesis": str(folder.genesis_file),
        "members": {member: str(folder.root / member) for member in genesis.members},
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def process_plan(folder: AllianceFolder, name: tuple[str, str], endpoint: Endpoint) -> ProcessPlan:
    """Return what the process of one member's service is told."""
    member, service = name
    home = folder.member(member)
    certificate, private_key = home.certificate(service)
    settings = {
        "MEMBER": member,
        "DATA_DIR": str(home.data(service)),
        "GENESIS_FILE": str(folder.genesis_file),
        "TLS_CERTIFICATE": str(certificate),
        "TLS_PRIVATE_KEY": str(private_key),
        "LISTEN": endpoint.listen,
        "HOLDER_LISTEN": endpoint.holder,
        "HEALTH_LISTEN": endpoint.health,
        "METRICS_LISTEN": endpoint.metrics,
        "DRAIN_SECONDS": DRAIN_SECONDS,
        "GRACE_SECONDS": GRACE_SECONDS,
        **{name: str(home.key(file)) for name, file in KEY_FILES[service].items()},
    }
    if service != "contract":  # it calls nobody
        settings["ENDPOINTS_FILE"] = str(folder.endpoints_file)
    return ProcessPlan(
        name=f"{member}/{service}",
        module=f"cipherward_{service}",
        environment={f"CIPHERWARD_{key}": value for key, value in settings.items()},
        health_address=endpoint.health,
        stage=STAGES.get(service, OTHERS_STAGE),
    )
