"""Writing an invitation: what a member's own files say of its alliance."""

from __future__ import annotations

from typing import Final

from cipherward_chain.endpoints import Endpoints, is_address
from cipherward_chain.genesis import Genesis
from cipherward_client.alliance.invitation import (
    Invitation,
    authority_fingerprints,
    genesis_fingerprint,
)
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.sdk.errors import CheckFailed

DAY_SECONDS: Final = 86_400
MINUTE_SECONDS: Final = 60


class NotInTheGenesis(CheckFailed):
    """The member whose ledger is named joined later: a newcomer could not check its certificate."""

    reason = "INVITER_NOT_A_FOUNDER"


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
        NotInTheGenesis: the genesis does not name that member.
        InviterUnreachable: alliance.json has no such port, or `address` is none.
    """
    genesis = Genesis.parse(folder.genesis_file.read_bytes())
    endpoints = Endpoints.parse(folder.endpoints_file.read_bytes())
    home = endpoints.home(member)
    if home not in genesis.members:
        raise NotInTheGenesis(home)
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
        authority=authority_fingerprints(genesis.members[home].ca_certificate)[0],
    )
