"""Where a member's services are reached, and the file that says it of all members (alliance.json).

Addresses lead somewhere and prove nothing: whoever answers there shows a certificate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from cipherward_chain.endpoints import Endpoint, Endpoints, EndpointsMalformed
from cipherward_client.alliance.layout import CHAIN_SERVICES, MEMBER_SERVICES, AllianceFolder
from cipherward_client.alliance.parts import COMETBFT, SOLO
from cipherward_client.alliance.plans import endpoints_document
from cipherward_client.alliance.ports import HOST, assign_endpoints
from cipherward_kit.datafolder import write_atomically

Services: TypeAlias = Mapping[str, Endpoint]

SERVICE: Final = "{service}"  # stands in a pattern for the name of each service
# The chart's own ports: where each service has a host of its own, they are the same everywhere.
LISTEN, HOLDER, METRICS, P2P = 7000, 7001, 7003, 26656


def services_at(
    member: str, host: str, port_base: int | None, *, chain: bool, node: bool
) -> dict[str, Endpoint]:
    """Return where a member's services listen.

    Args:
        host: a name or address; with SERVICE in it, each service has a host of its own and the
            chart's ports, else all are on one host, on ports counted up from `port_base`.
        port_base: None: free ports of this machine.
        chain: it runs a ledger and a contract.
        node: its ledger has a consensus node.

    Raises:
        PortBaseTooHigh: the last port would be above 65535.
    """
    names = (*(CHAIN_SERVICES if chain else ()), *MEMBER_SERVICES)
    if SERVICE not in host:
        engine = COMETBFT if node else SOLO
        named = assign_endpoints([(member, name) for name in names], engine, port_base, host)
        return {service: endpoint for (_, service), endpoint in named.items()}
    found: dict[str, Endpoint] = {}
    for name in names:
        own = host.replace(SERVICE, name)
        found[name] = Endpoint(f"{own}:{LISTEN}", f"{own}:{HOLDER}", metrics=f"{own}:{METRICS}")
        if node and name == "ledger":
            found[name] = replace(found[name], p2p=f"{own}:{P2P}")
    return found


def is_chosen(host: str, port_base: int | None) -> bool:
    """Say whether somebody chose these addresses: else they are whatever ports are free here."""
    return host != HOST or port_base is not None


def for_others(services: Services) -> dict[str, Endpoint]:
    """Return the addresses without those of probes and metrics, which are nobody else's."""
    return {name: replace(one, health="", metrics="") for name, one in services.items()}


def read_places(folder: AllianceFolder) -> dict[str, Services]:
    """Return what the folder's alliance.json says by member; nothing where there is none.

    Raises:
        EndpointsMalformed: it is damaged.
    """
    try:
        return dict(Endpoints.parse(folder.endpoints_file.read_bytes()).by_member)
    except FileNotFoundError:
        return {}


def write_places(folder: AllianceFolder, chain_id: str, places: Mapping[str, Services]) -> None:
    """Write alliance.json, in the order of `places`; services that run read it by themselves.

    Raises:
        EndpointsMalformed: nobody has a ledger.
    """
    if not any("ledger" in services for services in places.values()):
        raise EndpointsMalformed("no member's ledger is known")
    flat = {
        (member, service): endpoint
        for member, services in places.items()
        for service, endpoint in services.items()
    }
    write_atomically(folder.endpoints_file, endpoints_document(chain_id, flat, folder), 0o644)
