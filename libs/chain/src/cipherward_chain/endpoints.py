"""Where the services of the alliance listen: alliance.json, written by whoever starts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from cipherward_chain.errors import ChainError
from cipherward_chain.json_fields import JsonFields, JsonMalformed

SERVICES: Final = ("identity", "ledger", "contract", "compute", "storage")


class EndpointsMalformed(ChainError):
    """An endpoints file is out of form; the text says where."""

    reason = "ENDPOINTS_MALFORMED"


class EndpointUnknown(ChainError):
    """The alliance has no such service, or it has no such port."""

    reason = "ENDPOINT_UNKNOWN"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The addresses (host:port) of one service; "" for a port that it does not have.

    `listen` is mutual TLS between services, `holder` TLS without client certificates, `health` and
    `metrics` are plaintext; `p2p` is where a ledger's consensus node meets the others'.
    """

    listen: str
    holder: str = ""
    health: str = ""
    metrics: str = ""
    p2p: str = ""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The endpoints of every member's services.

    With a consensus engine among the members each has a ledger and a contract of its own. Under
    solo `ledger_member` runs the alliance's only ones; with several it is the first of them.
    """

    chain_id: str
    ledger_member: str
    by_member: Mapping[str, Mapping[str, Endpoint]]

    @classmethod
    def parse(cls, raw: bytes) -> Endpoints:
        """Return the endpoints in the document `raw`, or raise `EndpointsMalformed`.

        Further members at the top are whoever's wrote them, as paths of certificates.
        """
        try:
            return _parse(raw)
        except JsonMalformed as error:
            raise EndpointsMalformed(str(error)) from error

    def of(self, member: str, service: str) -> Endpoint:
        """Return the endpoint of a member's service, or raise `EndpointUnknown`."""
        try:
            return self.by_member[member][service]
        except KeyError:
            raise EndpointUnknown(f"{member} runs no {service}") from None

    def home(self, member: str) -> str:
        """Return whose ledger and contract `member` uses: its own, or the alliance's only ones."""
        return member if "ledger" in self.by_member.get(member, {}) else self.ledger_member


def is_address(text: str) -> bool:
    """Say whether a text is host:port."""
    host, _, port = text.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit() and 0 < int(port) < 65_536


def _address(fields: JsonFields, name: str, *, required: bool = False) -> str:
    if not required and not fields.has(name):
        return ""
    text = fields.text(name)
    if not is_address(text):
        raise EndpointsMalformed(f"{fields.where}.{name} is not host:port")
    return text


def parse_services(services: JsonFields) -> dict[str, Endpoint]:
    """Take the endpoints of one member's services, by service.

    Raises:
        EndpointsMalformed, JsonMalformed: one is out of form.
    """
    found: dict[str, Endpoint] = {}
    for service in services.names():
        if service not in SERVICES:
            raise EndpointsMalformed(f"{services.where} has an unknown service {service}")
        item = services.object(service)
        found[service] = Endpoint(
            listen=_address(item, "listen", required=True),
            holder=_address(item, "holder"),
            health=_address(item, "health"),
            metrics=_address(item, "metrics"),
            p2p=_address(item, "p2p"),
        )
        item.end()
    return found


def services_document(services: Mapping[str, Endpoint]) -> dict[str, dict[str, str]]:
    """Return what `parse_services` reads."""
    return {
        service: {name: address for name, address in asdict(endpoint).items() if address}
        for service, endpoint in services.items()
    }


def _parse(raw: bytes) -> Endpoints:
    top = JsonFields.parse(raw, "alliance")
    chain_id, ledger_member = top.text("chain_id"), top.text("ledger_member")
    members = top.object("endpoints")
    by_member: dict[str, dict[str, Endpoint]] = {}
    for member in members.names():
        by_member[member] = parse_services(members.object(member))
    if ledger_member not in by_member:
        raise EndpointsMalformed("alliance.ledger_member has no endpoints")
    return Endpoints(chain_id, ledger_member, by_member)
