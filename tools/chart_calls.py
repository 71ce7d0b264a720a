"""Write who may call whom into the chart, from the `Callers:` lines of the protos (`make chart`).

The chart's NetworkPolicies are made from deploy/helm/cipherward/files/calls.yaml; a test holds it
to the code.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import yaml

from cipherward.rpc_rules import RULES

TARGET = Path(__file__).resolve().parents[1] / "deploy/helm/cipherward/files/calls.yaml"
HEAD = (
    "# Who may call whom, of the protos' `Callers:` lines; written by `make chart`.\n"
    "# own: of the member itself; client: its own systems. peers: of other members.\n"
)

SERVICES = ("compute", "contract", "identity", "ledger", "storage")
CLIENT = "client"
EVERY_OWN = (CLIENT, *SERVICES)
# (callers among the member's own, callers among other members') of each line that protos may have.
CALLERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "anyone": (EVERY_OWN, ()),
    "own ledger": (("ledger",), ()),
    "own member's services": (EVERY_OWN, ()),
    "any member's services": (EVERY_OWN, SERVICES),
    "any member's compute": (("compute",), ("compute",)),
    "any member's storage": (("storage",), ("storage",)),
}


def calls() -> dict[str, dict[str, list[str] | bool]]:
    """Return, by service, who may call it, and whether holders may."""
    own: defaultdict[str, set[str]] = defaultdict(set)
    peers: defaultdict[str, set[str]] = defaultdict(set)
    holders: set[str] = set()
    for path, rule in RULES.items():
        service = path.split(".")[1]
        near, far = CALLERS[rule.callers]
        own[service].update(near)
        peers[service].update(far)
        if rule.callers == "anyone":
            holders.add(service)
    return {
        service: {
            "own": sorted(own[service]),
            "peers": sorted(peers[service]),
            "holders": service in holders,
        }
        for service in sorted(own)
    }


def document() -> str:
    """Return files/calls.yaml as it must be."""
    return HEAD + yaml.safe_dump(calls(), sort_keys=True, default_flow_style=None, width=100)


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
