"""Data permits: what a researcher's institution may compute, granted by the members with the data.

A study begins only within a granted permit and ends with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import NotCanonical, decode_map, encode
from cipherward_chain.fields import Fields
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.contract_acts import begin, take, vote_on
from cipherward_client.sdk.contract_reads import read_contract
from cipherward_client.sdk.credentials import register_duty
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.study_requests import MINIMUM, rounds_of, threshold_of
from cipherward_client.wallet.errors import CredentialMissing
from cipherward_client.wallet.scopes import STAFF
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.spec import Draft

TEMPLATE, VERSION = "data-permit", 1
DAY_SECONDS = 86_400
YEAR_SECONDS = 365 * DAY_SECONDS
VOTE_SECONDS = 14 * DAY_SECONDS  # how long the holders have: people decide
RELEASES = 60  # thirty studies of one round, or two of all the rounds that Newton's method may take
# What a study may publish: the closed list of the contract's terms.
OUTPUTS = (
    "anova",
    "correlation",
    "count",
    "covariance",
    "cox",
    "histogram",
    "linear_regression",
    "logistic_regression",
    "mean",
    "product_sum",
    "quantiles",
    "risk_score",
    "standard_error",
    "sum",
    "survival",
    "t_test",
    "table",
    "variance",
)
PURPOSES = (
    "education",
    "innovation",
    "personalised-care",
    "policy",
    "public-health",
    "research",
    "statistics",
)


class PermitUnreadable(CheckFailed):
    """What a contract service answers for a permit is none."""

    reason = "PERMIT_UNREADABLE"


@dataclass(frozen=True, slots=True)
class PermitRequest:
    """What a permit is to allow; `holders` empty means all of the alliance.

    outputs: what studies may publish, of OUTPUTS. minimum: patients in every published cell.
    releases_max: of each data set, in all; a study takes one for its counts and one a round.
    seconds: how long from now. approvals: how many holders must vote yes; 0 means as many as must
    take part to decrypt.
    """

    purposes: tuple[str, ...]
    data_sets: tuple[str, ...]
    outputs: tuple[str, ...]
    minimum: int = MINIMUM
    releases_max: int = RELEASES
    seconds: int = YEAR_SECONDS
    holders: tuple[str, ...] = ()
    approvals: int = 0
    vote_seconds: int = VOTE_SECONDS

    @classmethod
    def for_study(cls, draft: Draft) -> PermitRequest:
        """Return the least permit for research under which one study can run once."""
        return cls(
            purposes=("research",),
            data_sets=(draft.data_set,),
            outputs=draft.outputs,
            minimum=draft.minimum,
            releases_max=1 + rounds_of(draft),
            seconds=DAY_SECONDS,
            holders=draft.members,
            approvals=draft.approvals,
        )

    def terms(self, user_member: str, holders: tuple[str, ...], now: int) -> bytes:
        """Return the canonical terms for every researcher of `user_member`; `now` is Unix time."""
        threshold = threshold_of(len(holders))
        return encode(
            {
                "purposes": sorted(self.purposes),
                "data_sets": sorted(self.data_sets),
                "user_member": user_member,
                "user_key": b"",
                "outputs": sorted(self.outputs),
                "minimum": self.minimum,
                "releases_max": self.releases_max,
                "expires": now + self.seconds,
                "holders": sorted(holders),
                "threshold": threshold,
                "approvals": self.approvals or threshold,
                "vote_seconds": self.vote_seconds,
            }
        )


@dataclass(frozen=True, slots=True)
class AppliedPermit:
    """A permit on the chain that waits for the holders' votes."""

    permit_id: bytes
    act: ProvenAct


@dataclass(frozen=True, slots=True)
class Permit:
    """A permit as a contract service says that it stands; `expires` is Unix time."""

    permit_id: bytes
    state: str
    purposes: tuple[str, ...]
    data_sets: tuple[str, ...]
    outputs: tuple[str, ...]
    user_member: str
    minimum: int
    releases_max: int
    expires: int
    holders: tuple[str, ...]


async def apply_for_permit(
    alliance: Alliance, wallet: Wallet, request: PermitRequest
) -> AppliedPermit:
    """Apply for a permit in the name of the wallet's institution.

    Raises:
        ActRefused: the terms are out of bounds, or the wallet is no researcher's.
        ClientError: the wallet has no staff credential.
    """
    with explaining():
        wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
        member = staff_member(wallet)
        holders = request.holders or tuple(sorted(alliance.present))
        terms = request.terms(member, holders, int(alliance.now()))
        signer = wallet.signer(await register_duty(alliance, wallet, member))
        permit_id, act = await begin(alliance, signer, TEMPLATE, VERSION, terms)
        return AppliedPermit(permit_id, act)


async def vote_permit(hospital: Hospital, permit_id: bytes, approve: bool = True) -> ProvenAct:
    """Say a holder's yes or no to a permit that was applied for.

    Raises:
        ActRefused: it is decided already, or the member holds none of its data.
    """
    with explaining():
        return await vote_on(hospital, permit_id, "grant", approve)


async def revoke_permit(hospital: Hospital, permit_id: bytes) -> ProvenAct:
    """End a permit as one of its holders; its running studies end in the same block.

    Raises:
        ActRefused: it has ended, or the member holds none of its data.
    """
    with explaining():
        return await take(hospital.alliance, hospital.signer, permit_id, "revoke")


async def surrender_permit(alliance: Alliance, wallet: Wallet, permit_id: bytes) -> ProvenAct:
    """Give a permit back, with the key that applied for it: in the same epoch.

    Raises:
        ActRefused: it has ended, or somebody else applied for it.
    """
    with explaining():
        scope = await register_duty(alliance, wallet, staff_member(wallet))
        return await take(alliance, wallet.signer(scope), permit_id, "surrender")


async def show_permit(alliance: Alliance, who: Wallet | Hospital, permit_id: bytes) -> Permit:
    """Return a permit to one of its users or to a member.

    Raises:
        ClientError: there is none, or it is not this one's to see.
    """
    with explaining():
        if isinstance(who, Hospital):
            asker = Asker.member(who)
        else:
            scope = await register_duty(alliance, who, staff_member(who))
            asker = Asker(alliance, who.signer(scope))
        return _permit(await read_contract(asker, permit_id))


def staff_member(wallet: Wallet) -> str:
    """Return the member whose staff the wallet's holder is, or raise `CredentialMissing`."""
    issuers = sorted(issuer for schema, issuer in wallet.credentials if schema == STAFF)
    if not issuers:
        raise CredentialMissing("no staff credential in the wallet")
    return issuers[0]


def _permit(contract: pb.Contract) -> Permit:
    try:
        fields = Fields(decode_map(contract.terms))
        found = Permit(
            contract.instance_id,
            contract.state,
            purposes=fields.texts("purposes"),
            data_sets=fields.texts("data_sets"),
            outputs=fields.texts("outputs"),
            user_member=fields.text("user_member"),
            minimum=fields.integer("minimum"),
            releases_max=fields.integer("releases_max"),
            expires=fields.integer("expires"),
            holders=fields.texts("holders"),
        )
    except NotCanonical as error:
        raise PermitUnreadable(f"the permit is out of form: {error}") from error
    if contract.template != TEMPLATE:
        raise PermitUnreadable(f"the contract is a {contract.template}, and no data permit")
    return found
