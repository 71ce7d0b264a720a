"""What others know and a newcomer does not: the genesis, and where everybody is.

Whoever answers is believed in nothing. The genesis has the fingerprint that the invitation names,
and the server's certificate is of the authority that the invitation and the chain name.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from cryptography import x509
from grpc import aio

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward_chain.admission import Admission
from cipherward_chain.endpoints import SERVICES, Endpoint, is_address
from cipherward_chain.genesis import Genesis, GenesisMalformed
from cipherward_client.alliance.invitation import Invitation, genesis_fingerprint
from cipherward_client.alliance.inviter import Inviter, find_inviter, is_named
from cipherward_client.alliance.places import Services
from cipherward_client.alliance.proofs import FETCH_SECONDS
from cipherward_client.sdk.connection import MESSAGE_BYTES_MAX, Alliance
from cipherward_client.sdk.errors import CheckFailed
from cipherward_client.sdk.ledger_calls import from_any_ledger
from cipherward_kit.channels import open_channel
from cipherward_kit.tls import (
    CertificateUnreadable,
    PeerNotTrusted,
    TrustRegistry,
    only_uri,
    server_name,
)

LEDGER: Final = "ledger"


class InviterAway(CheckFailed):
    """Nobody answers at the address in the invitation."""

    reason = "INVITER_AWAY"


class OtherGenesis(CheckFailed):
    """The genesis is not the one that was invited to."""

    reason = "GENESIS_NOT_INVITED"


class OtherAuthority(CheckFailed):
    """Who answers has no certificate of the authority that the invitation names."""

    reason = "AUTHORITY_NOT_INVITED"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A genesis that is the invitation's, byte for byte in `document`, and where everybody is.

    admission: proves that who invites joined later; None of whom the genesis names.
    """

    genesis: Genesis
    document: bytes
    places: dict[str, Services]
    admission: Admission | None = None


async def fetch_alliance(invitation: Invitation) -> Fetched:
    """Fetch what an invitation leads to.

    Raises:
        InviterAway: nobody answers there.
        OtherGenesis: it is another genesis.
        OtherAuthority: who answers is not the member that the invitation names.
        InviterUnproven, InviterRemoved, StateUnproven, StateTooOld: see `find_inviter`.
    """
    host, _, port = invitation.address.rpartition(":")
    name = server_name(invitation.member, LEDGER)
    try:
        leaf = await asyncio.to_thread(_certificate, host.strip("[]"), int(port), name)
        _require_name(invitation, leaf)
        answer = await _ask(invitation, leaf)
        genesis = _invited(invitation, answer.genesis)
        inviter = await find_inviter(invitation, genesis, leaf, answer)
    except (OSError, aio.AioRpcError) as error:
        raise InviterAway(f"{invitation.address}: {_words(error)}") from error
    except CertificateUnreadable as error:
        raise OtherAuthority(f"{invitation.address} shows no usable certificate") from error
    _require_authority(invitation, inviter, leaf)
    return Fetched(genesis, answer.genesis, _places(answer), inviter.admission)


async def fetch_places(alliance: Alliance) -> dict[str, Services]:
    """Return where the services of everybody are, as the first ledger that answers knows it.

    Raises:
        AioRpcError: none does.
    """
    request = pb.GetGenesisRequest()
    answer = await from_any_ledger(
        alliance, lambda ledger, left: ledger.GetGenesis(request, timeout=left), FETCH_SECONDS
    )
    return _places(answer)


def _spiffe_id(member: str) -> str:
    """Return the name of a member's ledger in its certificate."""
    return f"spiffe://{member}/{LEDGER}"


def _certificate(host: str, port: int, name: str) -> bytes:
    """Return the certificate (PEM) of whoever answers; it is judged when the genesis is known."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # whose authority it is, only the genesis will say
    context.set_alpn_protocols(["h2"])  # what gRPC speaks
    with (
        socket.create_connection((host, port), FETCH_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
    return ssl.DER_cert_to_PEM_cert(shown or b"").encode()


def _require_name(invitation: Invitation, leaf: bytes) -> None:
    try:
        found = only_uri(x509.load_pem_x509_certificate(leaf))
    except ValueError as error:  # PeerNotTrusted among them
        raise OtherAuthority(f"{invitation.address} shows no service's certificate") from error
    if found != _spiffe_id(invitation.member):
        raise OtherAuthority(f"{invitation.address} is {found}")


async def _ask(invitation: Invitation, leaf: bytes) -> pb.GetGenesisResponse:
    """Ask whoever holds the key of that certificate. Nothing secret is said."""
    channel = open_channel(
        invitation.address,
        identity=None,
        registry=TrustRegistry({invitation.member: leaf}),
        peer_member=invitation.member,
        peer_service=LEDGER,
        message_bytes_max=MESSAGE_BYTES_MAX,
    )
    async with channel:
        stub = LedgerServiceStub(channel)
        request = pb.GetGenesisRequest(member=invitation.member)
        return await stub.GetGenesis(request, timeout=FETCH_SECONDS)


def _invited(invitation: Invitation, document: bytes) -> Genesis:
    found = genesis_fingerprint(hashlib.sha256(document).digest())
    if found != invitation.genesis:
        raise OtherGenesis(f"{invitation.address} has a genesis of another fingerprint")
    try:
        genesis = Genesis.parse(document)
    except GenesisMalformed as error:
        raise OtherGenesis(str(error)) from error
    if genesis.chain_id != invitation.chain_id:
        raise OtherGenesis("the genesis has another chain id")
    return genesis


def _require_authority(invitation: Invitation, inviter: Inviter, leaf: bytes) -> None:
    if not is_named(invitation, inviter.ca_certificate):
        raise OtherAuthority(f"the chain has another authority of {invitation.member}")
    registry = TrustRegistry({invitation.member: inviter.ca_certificate.encode()})
    try:
        registry.verify_peer(leaf, _spiffe_id(invitation.member))
    except PeerNotTrusted as error:
        raise OtherAuthority(f"{invitation.address}: {error}") from error


def _places(answer: pb.GetGenesisResponse) -> dict[str, Services]:
    """Return the addresses by member and service, the member whose ledger serves others first."""
    found: dict[str, dict[str, Endpoint]] = {answer.ledger_member: {}}
    for one in answer.addresses:
        if one.service in SERVICES and is_address(one.listen):
            endpoint = Endpoint(one.listen, *_usable([one.holder]))
            endpoint = replace(endpoint, p2p=next(iter(_usable([one.p2p])), ""))
            found.setdefault(one.member, {})[one.service] = endpoint
    return {member: services for member, services in found.items() if services}


def _usable(addresses: Iterable[str]) -> list[str]:
    return [address for address in addresses if is_address(address)]


def _words(error: OSError | aio.AioRpcError) -> str:
    return error.strerror or "no answer" if isinstance(error, OSError) else error.code().name
