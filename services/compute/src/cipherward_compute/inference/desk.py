"""Asking for scores: who is scored is found here, and the chain hears only that somebody is.

The transition of the contract names 32 bytes that say nothing about whom, and the digest of a key
that was made for this use alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.acts import ID_BYTES
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.canonical import encode
from cipherward_chain.domains import INFERENCE_REQUEST
from cipherward_chain.transactions import build_transaction, parse_transaction
from cipherward_compute.arithmetic.inference import public_key_of
from cipherward_compute.column_keys import PROFILE
from cipherward_compute.columns import Layout
from cipherward_compute.columns_flags import OwnFlags
from cipherward_compute.datasets_form import NAME_BYTES
from cipherward_compute.enrolments import Enrolments
from cipherward_compute.errors import (
    InferenceMalformed,
    PatientNotEnrolled,
    RiskScoreNotReady,
    RiskScoreUnknown,
    StepFailed,
)
from cipherward_compute.framing import digest_of
from cipherward_compute.inference.steps import ScoreSources
from cipherward_compute.inference.use import Asking, Contract, Secret, Use
from cipherward_compute.member import Member
from cipherward_compute.opt_outs import REFERENCE_BYTES, OptOuts
from cipherward_studies.scores import ScorePlan

REFERENCES_MAX = 4096
# As reports: half of what the chain allows, so that neither clocks apart nor a slow block refuse.
EXPIRY_SECONDS = 300
SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Finds the slots of this member's patients."""

    enrolments: Enrolments
    opt_outs: OptOuts
    flags: OwnFlags

    async def slots(self, layout: Layout, references: Sequence[bytes]) -> tuple[int, ...]:
        """Return the slot of each reference.

        Raises:
            PatientNotEnrolled: one is of nobody who can be scored here.
            ColumnsUnverified: this member has encrypted no columns.
        """
        places = await self.enrolments.places(layout.slots)
        flags = await self.flags.find(layout.data_key.id, len(layout.slots.pseudonyms))
        found: list[int] = []
        for number, reference in enumerate(references, 1):
            slot = places.get(self.opt_outs.name("reference", reference)[:NAME_BYTES])
            if slot is None or not flags[slot]:
                first = layout.data_key.text.names[0]
                raise PatientNotEnrolled(
                    f"reference {number} of the request is of nobody who enrolled here, takes part"
                    f" now and had a value of {first} when the columns were fixed",
                    number=number,
                )
            found.append(slot)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Asker:
    """How this member asks the chain. block_seconds: time of the newest proven block.

    require_fresh: raises ChainStale while the chain is silent. wake: says that there is a
    transaction to send.
    """

    signer: MemberSigner
    block_seconds: Callable[[], int]
    require_fresh: Callable[[], None]
    wake: Callable[[], None]


class InferenceDesk:
    """Begins uses of risk scores, and answers what came of them."""

    def __init__(
        self, member: Member, sources: ScoreSources, patients: Enrolled, asker: Asker
    ) -> None:
        self._member = member
        self._from = sources
        self._patients = patients
        self._asker = asker

    async def infer(self, request_id: str, study: bytes, references: Sequence[bytes]) -> bytes:
        """Begin a use; return its id. The same request again changes nothing.

        Raises:
            InferenceMalformed: out of form.
            RequestIdReused: the request id was for something else.
            RiskScoreUnknown: there is no such risk score of this member.
            RiskScoreNotReady: it cannot be used now.
            PatientNotEnrolled: a reference is of nobody who can be scored.
            ChainStale: the chain is silent.
        """
        _check(request_id, study, references)
        name = self._from.uses.name(study, references)
        known = await self._from.uses.of_request_id(request_id, name)
        if known:
            return known
        self._asker.require_fresh()
        contract = await self._from.uses.contract(study)
        if contract is None or contract.hospital != self._member.id:
            raise RiskScoreUnknown("no such risk score is this member's")
        layout, plan = await self._usable(contract)
        try:
            slots = await self._patients.slots(layout, references)
        except StepFailed as error:
            raise RiskScoreNotReady(str(error)) from None
        secret = Secret(secrets.token_bytes(SEED_BYTES), tuple(references), slots)
        public_key = await self._member.pool.run(public_key_of, PROFILE, secret.seed)
        digest = hashlib.sha256(public_key).digest()
        request = digest_of(INFERENCE_REQUEST, study, name, secrets.token_bytes(SEED_BYTES))
        act = chain_pb.Transition(
            instance_id=study,
            transition="infer",
            arguments=encode({"request": request, "requester_key_digest": digest}),
        )
        expires = self._asker.block_seconds() + EXPIRY_SECONDS
        raw = await asyncio.to_thread(
            lambda: build_transaction(
                [chain_pb.Act(transition=act)],
                chain_id=self._member.chain_id,
                expires_at=expires,
                signer=self._asker.signer,
            )
        )
        asking = Asking(
            request[:ID_BYTES],
            request_id,
            name,
            study,
            request,
            len(plan.terms),
            parse_transaction(raw).id,
            raw,
            expires,
        )
        begun = await self._from.uses.begin(asking, secret)
        self._asker.wake()
        return begun

    async def find(self, inference: bytes) -> Use:
        """Return what came of a use.

        Raises:
            InferenceMalformed: it is no id.
            InferenceUnknown: there is no such use, or not any more.
        """
        if len(inference) != ID_BYTES:
            raise InferenceMalformed(f"the id of a use has {ID_BYTES} bytes")
        return await self._from.uses.find(inference)

    async def _usable(self, contract: Contract) -> tuple[Layout, ScorePlan]:
        if (await self._from.studies.known(contract.id)).ended:
            raise RiskScoreNotReady("the risk score has ended: propose another one")
        try:
            return await self._from.planned(contract.source, contract.model)
        except StepFailed as error:
            raise RiskScoreNotReady(str(error)) from None


def _check(request_id: str, study: bytes, references: Sequence[bytes]) -> None:
    try:
        canonical = str(uuid.UUID(request_id)) == request_id
    except ValueError:
        canonical = False
    if not canonical:
        raise InferenceMalformed("the request id is no UUID")
    if len(study) != ID_BYTES:
        raise InferenceMalformed(f"the id of a risk score has {ID_BYTES} bytes")
    if not 1 <= len(references) <= REFERENCES_MAX or len(set(references)) < len(references):
        raise InferenceMalformed(f"a use is of 1 to {REFERENCES_MAX} different references")
    if any(len(reference) != REFERENCE_BYTES for reference in references):
        raise InferenceMalformed(f"a reference has {REFERENCE_BYTES} bytes")
