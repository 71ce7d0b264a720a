"""Risk scores: a treating hospital scores its own patients by a model over stored columns.

The hospital proposes a model, the members grant it for so many uses. At each use its own compute
service asks the chain, all members compute under encryption, and the hospital alone reads scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cipherward.compute.v1 import compute_service_pb2 as compute_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import NotCanonical, decode_map, encode
from cipherward_chain.fields import Fields
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.contract_acts import begin, take, vote_on
from cipherward_client.sdk.contract_reads import failure_of, read_contract
from cipherward_client.sdk.data_keys import DataKey, show_data_key
from cipherward_client.sdk.document_files import read_document
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.retries import patiently
from cipherward_studies.models import Model

TEMPLATE, VERSION = "risk-score", 1
DAY_SECONDS = 86_400
LIFE_DAYS = 365
USES = 100  # each takes three releases of the data key
STEP_SECONDS = 600  # a step computes over columns of some ten MB of each member
TEXT_SECONDS = 30.0


class ModelUnreadable(CheckFailed):
    """A file describes no risk model."""

    reason = "MODEL_UNREADABLE"


class ModelDiffers(CheckFailed):
    """A contract, or a member's service, names another model than was given."""

    reason = "MODEL_DIFFERS"


class RiskScoreUnreadable(CheckFailed):
    """What a contract service answers for a risk score is none."""

    reason = "RISK_SCORE_UNREADABLE"


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """What a risk score is to be; its hospital is who proposes it.

    seconds: from now until it expires. approvals: how many members must vote yes; 0 means as many
    as must take part to decrypt.
    """

    model: Model
    data_key: bytes
    uses_max: int = USES
    seconds: int = LIFE_DAYS * DAY_SECONDS
    step_seconds: int = STEP_SECONDS
    approvals: int = 0

    def terms(self, hospital: str, key: DataKey, now: int) -> bytes:
        """Return the canonical terms over a data key; `now` is Unix time."""
        return encode(
            {
                "source": key.data_key,
                "hospital": [hospital],
                "data_set": key.data_set,
                "key_releases_max": key.releases_max,
                "key_digest": key.key_digest,
                "members": key.holders.members,
                "threshold": key.holders.threshold,
                "approvals": self.approvals or key.holders.threshold,
                "minimum": key.minimum,
                "model_digest": self.model.digest,
                "uses_max": self.uses_max,
                "expires": now + self.seconds,
                "step_seconds": self.step_seconds,
            }
        )


@dataclass(frozen=True, slots=True)
class ProposedScore:
    """A risk score on the chain that waits for the members' votes."""

    risk_score: bytes
    act: ProvenAct


@dataclass(frozen=True, slots=True)
class RiskScore:
    """A risk score as a contract service says that it stands; `expires` is Unix time.

    failure: why its newest use came to no scores; empty if it did, or there was none.
    """

    risk_score: bytes
    state: str
    hospital: str
    data_key: bytes
    members: tuple[str, ...]
    model_digest: bytes
    uses: int
    uses_max: int
    expires: int
    failure: str = ""


def read_model(path: Path) -> Model:
    """Return the model that a YAML or JSON file describes, its numbers as they are written.

    Raises:
        OSError: the file cannot be read.
        ModelUnreadable: it is no YAML or JSON.
        DraftInvalid: it describes no model; every fault is named.
    """
    return Model.from_document(read_document(path, ModelUnreadable))


async def propose_score(hospital: Hospital, request: ScoreRequest) -> ProposedScore:
    """Propose a risk score as the hospital that will ask, and hand its model to all members.

    Raises:
        ActRefused: the terms are out of bounds, or the data key does not serve them.
        ClientError: the data key is not ready, or a member does not take the model.
    """
    with explaining():
        alliance = hospital.alliance
        key = await show_data_key(hospital, request.data_key)
        key.require_ready()
        request.model.check_members(key.members)
        terms = request.terms(hospital.member, key, int(alliance.now()))
        risk_score, act = await begin(alliance, hospital.signer, TEMPLATE, VERSION, terms)
        await hand_over_model(alliance, key.holders.members, request.model)
        return ProposedScore(risk_score, act)


async def hand_over_model(alliance: Alliance, members: Sequence[str], model: Model) -> None:
    """Give the text of a model to members' services; the same again changes nothing.

    Raises:
        ClientError: one does not take it, or stores another.
    """
    request = compute_pb.PutModelRequest(model=model.to_bytes())
    with explaining():
        for member in members:
            compute = alliance.compute_of(member)
            answer = await patiently(
                lambda left, compute=compute: compute.PutModel(request, timeout=left), TEXT_SECONDS
            )
            if answer.digest != model.digest:
                raise ModelDiffers(f"{member} has stored another model")


async def vote_score(
    hospital: Hospital, risk_score: bytes, approve: bool = True, model: Model | None = None
) -> ProvenAct:
    """Say a member's yes or no to a proposed risk score.

    Args:
        model: what the member has read: held against the contract, and given to its own service.

    Raises:
        ActRefused: it is decided already, or the member holds nothing of its key.
        ClientError: the contract is for another model (MODEL_DIFFERS).
    """
    with explaining():
        if model is not None:
            found = await show_score(hospital, risk_score)
            if found.model_digest != model.digest:
                raise ModelDiffers("the contract names another model than this file")
            await hand_over_model(hospital.alliance, (hospital.member,), model)
        return await vote_on(hospital, risk_score, "grant", approve)


async def end_score(hospital: Hospital, risk_score: bytes) -> ProvenAct:
    """End a risk score as any of its members.

    Raises:
        ActRefused: it has ended, or the member is none of its own.
    """
    with explaining():
        return await take(hospital.alliance, hospital.signer, risk_score, "give_up")


async def show_score(hospital: Hospital, risk_score: bytes) -> RiskScore:
    """Return a risk score to one of its members.

    Raises:
        ClientError: there is none, or it is not this one's to see.
    """
    with explaining():
        return score_of(await read_contract(Asker.member(hospital), risk_score))


def score_of(contract: pb.Contract) -> RiskScore:
    """Return the risk score that a contract is.

    Raises:
        RiskScoreUnreadable: it is another contract, or out of form.
    """
    if contract.template != TEMPLATE:
        raise RiskScoreUnreadable(f"the contract is a {contract.template}, and no risk score")
    try:
        fields = Fields(decode_map(contract.terms))
        variables = Fields(decode_map(contract.variables))
        (hospital,) = fields.texts("hospital")
        return RiskScore(
            contract.instance_id,
            contract.state,
            hospital=hospital,
            data_key=fields.octets("source"),
            members=fields.texts("members"),
            model_digest=fields.octets("model_digest"),
            uses=variables.integer("uses") if variables.has("uses") else 0,
            uses_max=fields.integer("uses_max"),
            expires=fields.integer("expires"),
            failure=failure_of(contract),
        )
    except (NotCanonical, ValueError) as error:
        raise RiskScoreUnreadable(f"the risk score is out of form: {error}") from error
