"""What each process of an alliance on this machine is told at its start."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cipherward_chain.endpoints import Endpoint, services_document
from cipherward_client.alliance import layout
from cipherward_client.alliance.layout import AllianceFolder, MemberFolder
from cipherward_client.alliance.parts import EMBEDDED, GRPC, SOLO, Parts
from cipherward_client.alliance.supervisor import ProcessPlan

# A development alliance stops at once: nobody balances load between its processes.
DRAIN_SECONDS = "0.1"
GRACE_SECONDS = "2"
# A snapshot of a development chain is some megabytes; whoever joins replays fewer blocks than this.
SNAPSHOT_BLOCKS = "200"
# A hospital keeps a slot key for a week; here somebody waits at the screen for an erasure to end.
SLOT_RENEWAL_SECONDS = "10"

# Which key files each service reads: its setting, and the file in the member's key folder.
KEY_FILES: Mapping[str, Mapping[str, str]] = {
    "contract": {},
    "ledger": {
        "VALIDATOR_KEY_FILE": layout.CONSENSUS_KEY,
        "MEMBER_KEY_FILE": layout.MEMBER_KEY,
    },
    "identity": {
        "ISSUER_KEY_FILE": layout.ISSUER_KEY,
        "MEMBER_KEY_FILE": layout.MEMBER_KEY,
    },
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


def services_of(members: Sequence[str], engine: str) -> list[tuple[str, str]]:
    """Return (member, service) of every process: those that others wait for first.

    Args:
        members: whose processes run; under solo the first runs the chain for all.
    """
    chained = members[:1] if engine == SOLO else members
    chain = [(member, service) for member in chained for service in layout.CHAIN_SERVICES]
    return chain + [(member, s) for member in members for s in layout.MEMBER_SERVICES]


def endpoints_document(
    chain_id: str, endpoints: Mapping[tuple[str, str], Endpoint], folder: AllianceFolder
) -> bytes:
    """Return alliance.json: where every service listens, and where certificates lie."""
    by_member: dict[str, dict[str, Endpoint]] = {}
    for (member, service), endpoint in endpoints.items():
        by_member.setdefault(member, {})[service] = endpoint
    document = {
        "chain_id": chain_id,
        "ledger_member": next(member for member, service in endpoints if service == "ledger"),
        "endpoints": {member: services_document(named) for member, named in by_member.items()},
        "genesis": str(folder.genesis_file),
        "members": {member: str(folder.root / member) for member in by_member},
    }
    return json.dumps(document, indent=1).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where an alliance runs: its folder, its chain and the parts that it is put together from."""

    folder: AllianceFolder
    chain_id: str
    parts: Parts

    def process_plan(self, name: tuple[str, str], endpoint: Endpoint) -> ProcessPlan:
        """Return what the process of one member's service is told."""
        member, service = name
        home = self.folder.member(member)
        certificate, private_key = home.certificate(service)
        settings = {
            "MEMBER": member,
            "DATA_DIR": str(home.data(service)),
            "GENESIS_FILE": str(self.folder.genesis_file),
            "TLS_CERTIFICATE": str(certificate),
            "TLS_PRIVATE_KEY": str(private_key),
            "LISTEN": endpoint.listen,
            "HOLDER_LISTEN": endpoint.holder,
            "HEALTH_LISTEN": endpoint.health,
            "METRICS_LISTEN": endpoint.metrics,
            "DRAIN_SECONDS": DRAIN_SECONDS,
            "GRACE_SECONDS": GRACE_SECONDS,
            **{key: str(home.key(file)) for key, file in KEY_FILES[service].items()},
            **self._engine_settings(home, service, endpoint),
            **self._feed_settings(service),
            **self._store_settings(home, service),
        }
        if service != "contract":  # it calls nobody
            settings["ENDPOINTS_FILE"] = str(self.folder.endpoints_file)
        return ProcessPlan(
            name=f"{member}/{service}",
            module=f"cipherward_{service}",
            environment={f"CIPHERWARD_{key}": value for key, value in settings.items()},
            health_address=endpoint.health,
            stage=STAGES.get(service, OTHERS_STAGE),
            # A member among several that stops is what consensus is for: the others go on.
            vital=self.parts.engine == SOLO,
        )

    def _engine_settings(
        self, home: MemberFolder, service: str, endpoint: Endpoint
    ) -> dict[str, str]:
        if self.parts.engine == SOLO:
            return {}
        if service == "contract":
            return {"SNAPSHOT_BLOCKS": SNAPSHOT_BLOCKS}
        if service == "ledger":
            return {
                "NODE_KEY_FILE": str(home.key(layout.NODE_KEY)),
                "P2P_LISTEN": endpoint.p2p,
                "COMETBFT_BINARY": self.parts.cometbft,
            }
        return {}

    def _feed_settings(self, service: str) -> dict[str, str]:
        if self.parts.feed == GRPC or service == "contract":
            return {}
        return {"FEED": self.parts.feed, "KAFKA_BOOTSTRAP": self.parts.kafka}

    def _store_settings(self, home: MemberFolder, service: str) -> dict[str, str]:
        if service != "storage":
            return {}
        renewal = {"SLOT_RENEWAL_SECONDS": SLOT_RENEWAL_SECONDS}
        if self.parts.store == EMBEDDED:
            return renewal
        return {
            **renewal,
            "STORE": self.parts.store,
            "MONGO_URI_FILE": str(home.key(layout.MONGO_URI)),
            "MONGO_DATABASE": f"cipherward_{self.chain_id}_{home.member}",
        }
