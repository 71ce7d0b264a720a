"""Writing an invitation: what a member's own files say of its alliance."""

from __future__ import annotations

from typing import Final

from cipherward_chain.endpoints import Endpoints, is_address
from cipherward_chain.genesis import Genesis, Member
from cipherward_client.alliance.invitation import (
    Invitation,
    authority_fingerprints,
    genesis_fingerprint,
)
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.sdk.connection import read_admission
from cipherward_client.sdk.errors import CheckFailed
from cipherward_member.alliance_files import read_authorities

DAY_SECONDS: Final = 86_400
MINUTE_SECONDS: Final = 60


class AdmissionMissing(CheckFailed):
    """The member whose ledger is named joined later, and the proof of it is not in the folder."""

    reason = "ADMISSION_MISSING"


class InviterUnreachable(CheckFailed):
    """There is no address where a newcomer could ask."""

    reason = "INVITATION_ADDRESS_MISSING"


def invite(folder: AllianceFolder, member: str, address: str, now: float, days: int) -> Invitation:
    """Return an invitation to the alliance of a folder.

    Args:
        member: who invites; where it has no ledger of its own, the invitation names the member
            whose ledger it uses.
        address: host:port of that ledger for holders; "" takes what alliance.json says.
        now: Unix seconds.
        days: how long it holds.

    Raises:
        GenesisMalformed, EndpointsMalformed, EndpointUnknown: a file is damaged or lacks a ledger.
        AdmissionMissing, AdmissionRejected: neither the genesis nor a proof in the folder names
            that member.
        AuthoritiesRejected: a file in the folder proves no change of authorities.
        InviterUnreachable: alliance.json has no such port, or `address` is none.
    """
    genesis = Genesis.parse(folder.genesis_file.read_bytes())
    endpoints = Endpoints.parse(folder.endpoints_file.read_bytes())
    home = endpoints.home(member)
    changed = read_authorities(folder.endpoints_file, genesis.trust_root()).get(home)
    authorities = changed.authorities if changed else _member(folder, genesis, home).ca_certificate
    found = address or endpoints.of(home, "ledger").holder
    if not is_address(found):
        raise InviterUnreachable(f"the ledger of {home} has no port for holders: {found!r}")
    ends = int(now) + days * DAY_SECONDS
    return Invitation(
        chain_id=genesis.chain_id,
        member=home,
        address=found,
        until=ends - ends % MINUTE_SECONDS,
        genesis=genesis_fingerprint(genesis.digest),
        # The last one: while a member changes its authority, that is the one that stays.
        authority=authority_fingerprints(authorities)[-1],
    )


def _member(folder: AllianceFolder, genesis: Genesis, member: str) -> Member:
    if member in genesis.members:
        return genesis.members[member]
    try:
        admission = read_admission(folder.endpoints_file, member)
    except FileNotFoundError:
        raise AdmissionMissing(member) from None
    return admission.verify(genesis.trust_root(), member).member
