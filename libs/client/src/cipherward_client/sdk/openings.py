"""Who stands behind a pseudonym of staff: voted by the members, opened by enough of their services.

The chain shows the warrant and who answered. The shares are sealed to the recipient that the
warrant names, and the identity is known to who combines them, and to nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.identity.v1 import identity_service_pb2 as pb
from cipherward_chain.endpoints import EndpointUnknown
from cipherward_chain.group_keys import OPENING
from cipherward_chain.openings import OPEN_IDENTITY, Warrant
from cipherward_chain.orders import Order
from cipherward_chain.sealing import SealingKey
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.group_keys import group_key
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.opening_shares import OpeningShares
from cipherward_client.sdk.proposals import (
    CountedVote,
    ProposedChange,
    own_contract,
    propose,
    vote,
)
from cipherward_client.sdk.proven_orders import block_at, orders_at
from cipherward_client.sdk.retries import Patience, is_passing, patiently
from cipherward_kit.errors import reason_of
from cipherward_member.shared_keys import threshold_key

TEMPLATE, APPROVE = "opening", "approve"
GROUNDS = ("court-order", "emergency-unreviewed", "misuse")
ORDERED, ANSWERED = "opening", "answered"  # states in which shares are to be had
WEEK_SECONDS = 604_800  # to vote, and then to answer: people decide the one, services the other
# A guardian that was down makes its share when it is back; who collects can come again.
SHARE_SECONDS = 15.0
FIND_SECONDS = 15.0
NOT_YET = "WARRANT_UNKNOWN"


class OpeningNotOrdered(CheckFailed):
    """The members have not (or not yet) ordered the opening, or it was not answered in time."""

    reason = "OPENING_NOT_ORDERED"


class OpeningOutdated(CheckFailed):
    """The shares of the opening key were renewed after the warrant: a new one is needed."""

    reason = "OPENING_OUTDATED"


@dataclass(frozen=True, slots=True)
class OpenedIdentity:
    """What a warrant has opened.

    identity: the identity key (48 bytes) that the issuer registered the holder under. answered:
    whose shares came. wrong: whose shares were wrong; each is the signer of its own.
    """

    warrant: Warrant
    identity: bytes = field(repr=False)
    answered: tuple[str, ...]
    wrong: tuple[str, ...]


async def propose_opening(
    hospital: Hospital,
    scope: str,
    pseudonym: bytes,
    ground: str,
    *,
    recipient: str = "",
    recipient_key: bytes = b"",
) -> ProposedChange:
    """Ask the members to open who stands behind a pseudonym of staff.

    Args:
        scope: `duty:<member>:<epoch>`, as a disclosure shows it with the pseudonym (48 bytes).
        ground: of GROUNDS.
        recipient: the member that gets the shares; the proposer if empty.
        recipient_key: the sealing key that they are sealed to, 1,216 bytes; the recipient's
            registered one if empty. A key of one's own, used once, is better kept.

    Raises:
        ActRefused: a term is out of bounds.
        ClientError: the recipient is no member.
    """
    with explaining():
        to = recipient or hospital.member
        member = hospital.alliance.members.get(to)
        if member is None:
            raise EndpointUnknown(f"{to} is no member")
        return await propose(
            hospital,
            TEMPLATE,
            {
                "scope": scope,
                "pseudonym": pseudonym,
                "ground": ground,
                "recipient": to,
                "recipient_key": recipient_key or member.custodian_public_key,
                "vote_seconds": WEEK_SECONDS,
                "answer_seconds": WEEK_SECONDS,
            },
        )


async def vote_on_opening(hospital: Hospital, warrant: bytes, approve: bool = True) -> CountedVote:
    """Say the member's yes or no to an opening; the vote that decides it orders the shares.

    Raises:
        ActRefused: it is decided already, or nothing of that pseudonym can be opened.
    """
    return await vote(hospital, warrant, APPROVE, approve)


async def collect_opening(
    hospital: Hospital, warrant: bytes, key: SealingKey, *, seconds: float = SHARE_SECONDS
) -> OpenedIdentity:
    """Return the identity key that enough guardians' shares give, naming those that were wrong.

    Args:
        hospital: the recipient.
        key: the secret side of the warrant's recipient key.
        seconds: how long guardians are waited for.

    Raises:
        ClientError: OPENING_NOT_ORDERED: it is not decided, or was not answered;
            OPENING_OUTDATED: the opening key's shares were renewed since;
                SHARES_MISSING: too few right shares have come.
    """
    with explaining():
        alliance = hospital.alliance
        order = await _order(hospital, warrant)
        found = Warrant.of(order)
        entry = await group_key(alliance, OPENING, found.key_epoch, fresh=True)
        if (entry.sharing, entry.public_key) != (found.sharing, found.opening_key):
            raise OpeningOutdated(f"sharing {entry.sharing} is in force, {found.sharing} was asked")
        shares = OpeningShares(found, threshold_key(alliance.chain_id, entry), entry, key)
        identity = await shares.identity(
            lambda guardian: _share(alliance, warrant, guardian, seconds)
        )
        return OpenedIdentity(found, identity, shares.answered, shares.wrong)


async def find_holder(hospital: Hospital, opened: OpenedIdentity) -> str:
    """Return the admission (a UUID) that an opened identity's credential came from.

    The hospital's own staff file has the name: the desk chose the UUID when it admitted the person.

    Raises:
        ClientError: this hospital's identity service has registered nobody under that key.
    """
    request = pb.FindHolderRequest(warrant_id=opened.warrant.warrant, identity_key=opened.identity)
    with explaining():
        identity = hospital.alliance.identity_of(hospital.member)
        answer = await patiently(
            lambda left: identity.FindHolder(request, timeout=left), FIND_SECONDS
        )
        return answer.admission_id


async def _share(alliance: Alliance, warrant: bytes, guardian: str, seconds: float) -> bytes:
    """Return a guardian's sealed share; it makes it some ms after the block, or when it is back.

    Raises:
        AioRpcError: it does not answer, or has made none in time.
        EndpointUnknown: the endpoints do not name it.
    """
    identity = alliance.identity_of(guardian)
    request = pb.GetOpeningShareRequest(warrant_id=warrant)
    patience = Patience(seconds)
    while True:
        try:
            answer = await identity.GetOpeningShare(request, timeout=patience.left_seconds)
        except aio.AioRpcError as error:
            if not is_passing(error) and reason_of(error) != NOT_YET:
                raise
            await patience.pause(error)
        else:
            return answer.sealed_share


async def _order(hospital: Hospital, warrant: bytes) -> Order:
    """Return the proven order of an opening that was voted."""
    contract = await own_contract(hospital, warrant)
    if contract.template != TEMPLATE or contract.state not in (ORDERED, ANSWERED):
        raise OpeningNotOrdered(f"the contract is {contract.state}")
    alliance = hospital.alliance
    heights = {contract.changed_height}
    if contract.state == ANSWERED:  # by a report, which says where the order is
        heights = await _reported(alliance, contract.changed_height)
    for height in sorted(heights):
        for order in await orders_at(alliance, height):
            if order.instruction == OPEN_IDENTITY and order.instance == warrant:
                return order
    raise OpeningNotOrdered("the blocks show no such order")


async def _reported(alliance: Alliance, height: int) -> set[int]:
    """Return the heights of the orders that a block's transactions report on."""
    found: set[int] = set()
    for raw in (await block_at(alliance, height)).transactions:
        body = chain_pb.Transaction.FromString(raw).body
        for act in chain_pb.TransactionBody.FromString(body).acts:
            if act.WhichOneof("act") == "report":
                found.add(act.report.order.height)
    return found
