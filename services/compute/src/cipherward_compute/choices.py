"""Taking patients' choices about studies, from wallets and at the hospital's desk.

A wallet shows its pseudonym of the scope `care:<member>` to this member only. Giving up is easy:
an opt-out counts with a credential of any epoch and while the chain is silent; taking part again
needs a current credential and a living chain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.identity.v1 import identity_service_pb2 as identity_pb
from cipherward_chain.authorization import MemberSigner, PresentationClaim
from cipherward_chain.credentials import CredentialMalformed, parse_header
from cipherward_chain.opt_outs import (
    CHOICES,
    Choice,
    Kind,
    OptOutStatement,
    care_scope,
    sign_statement,
)
from cipherward_chain.reads import ReadGate
from cipherward_compute.errors import IdentityAway
from cipherward_compute.member import Member
from cipherward_compute.opt_outs import OptOutCounts, OptOuts
from cipherward_kit.errors import reason_of
from cipherward_member.errors import ReadMalformed, ReadRejected
from cipherward_member.reads import reader_of

PATIENT = "patient"
# One presentation takes identity some milliseconds.
VERIFY_SECONDS = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class VerifyPresentations(Protocol):
    """The method of our own identity service."""

    def __call__(
        self, request: identity_pb.VerifyPresentationsRequest, /, *, timeout: float
    ) -> Awaitable[identity_pb.VerifyPresentationsResponse]: ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """The member's signed statement: canonical octets, and its serialised Authorization."""

    statement: bytes
    authorization: bytes


@dataclass(frozen=True, slots=True)
class Epochs:
    """Which credentials are current, and whether the chain speaks.

    current: the epoch of the newest proven block. require_fresh: raises ChainStale.
    """

    current: Callable[[], int]
    require_fresh: Callable[[], None]


class Patients:
    """Turns an authorised choice into the pseudonym that has made it."""

    def __init__(
        self, gate: ReadGate, member: Member, verify: VerifyPresentations, epochs: Epochs
    ) -> None:
        """Describe the check.

        Args:
            gate: form, chain, time and replay.
            member: this one; its registry says whose credentials count.
            verify: asks our own identity.
            epochs: of the chain.
        """
        self._gate = gate
        self._member = member
        self._verify = verify
        self._epochs = epochs

    async def choice_of(self, read: chain_pb.AuthorizedRead, method: str) -> tuple[bytes, Choice]:
        """Return the pseudonym, and what it has chosen.

        Raises:
            ReadMalformed: out of form, or it chooses nothing.
            ReadRejected: not a patient's presentation to this member, or not a valid one.
            ChainStale: it wants to take part again, and the chain is silent.
            IdentityAway: nobody can say whether it is valid.
        """
        reader = reader_of(self._gate, read, method)
        choice = reader.object.decode("ascii", "replace")
        if choice not in CHOICES:
            raise ReadMalformed("the object of the read is neither `out` nor `in`")
        if choice == "in":
            self._epochs.require_fresh()
        scope = care_scope(self._member.id)
        (pseudonym,) = await self.shown([(reader.claim, scope)], current=choice == "in")
        return pseudonym, choice

    async def shown(
        self, claims: Sequence[tuple[PresentationClaim | None, str]], *, current: bool
    ) -> tuple[bytes, ...]:
        """Return the pseudonyms that patients have presented, each in the scope beside it.

        Args:
            current: whether only credentials of this epoch count.

        Raises:
            ReadRejected: one of them is no patient's valid presentation in its scope.
            IdentityAway: nobody can say whether they are valid.
        """
        ours = [
            claim
            for claim, scope in claims
            if claim is not None and self._is_ours(claim, scope, current=current)
        ]
        if len(ours) != len(claims) or not await self._are_valid(ours):
            raise ReadRejected
        return tuple(claim.presentation.pseudonym for claim in ours)

    def _is_ours(self, claim: PresentationClaim, scope: str, *, current: bool) -> bool:
        """Say whether it claims what counts here; its proof is looked at afterwards."""
        shown = claim.presentation
        if claim.scope != scope or shown.disclosed or shown.opening:
            return False
        for issuer in self._member.registry.issuers:
            if issuer.public_key == shown.issuer_public_key and PATIENT in issuer.schemas:
                epoch = _epoch_of(shown.header, issuer.member)
                return epoch is not None and (not current or epoch >= self._epochs.current())
        return False

    async def _are_valid(self, claims: Sequence[PresentationClaim]) -> bool:
        request = identity_pb.VerifyPresentationsRequest(
            presentations=[
                identity_pb.PresentationToVerify(
                    presentation=claim.presentation, context=claim.context
                )
                for claim in claims
            ]
        )
        try:
            answer = await self._verify(request, timeout=VERIFY_SECONDS)
        except aio.AioRpcError as error:
            log.warning("identity_away", status=error.code().name, reason=reason_of(error))
            raise IdentityAway("presentations are not verified now; try again") from None
        return list(answer.valid) == [True] * len(claims)


def _epoch_of(header: bytes, issuer: str) -> int | None:
    """Return the epoch of a patient credential's header by `issuer`; None if it is another's."""
    try:
        found = parse_header(header)
    except CredentialMalformed:
        return None
    return found.epoch if (found.schema, found.issuer) == (PATIENT, issuer) else None


class Choices:
    """Takes choices and links, and signs for them."""

    def __init__(self, member: Member, signer: MemberSigner, opt_outs: OptOuts) -> None:
        self._member = member
        self._signer = signer
        self._opt_outs = opt_outs

    async def take(self, kind: Kind, subject: bytes, choice: Choice) -> Receipt:
        """Take a choice and return its receipt, which is for the patient alone.

        Raises:
            OptOutMalformed: the subject is out of form.
        """
        height = await self._opt_outs.choose(kind, subject, choice)
        member = self._member
        statement = OptOutStatement(member.chain_id, member.id, kind, subject, choice, height)
        signed = await asyncio.to_thread(sign_statement, statement, self._signer)
        return Receipt(statement.to_bytes(), signed)

    async def is_linked(self, pseudonym: bytes) -> bool:
        """Say whether a choice of this pseudonym reaches any rows."""
        return await self._opt_outs.is_linked(pseudonym)

    async def link(self, pseudonym: bytes, references: Sequence[bytes]) -> None:
        """Let these references be the rows of a pseudonym, or raise OptOutMalformed."""
        await self._opt_outs.link(pseudonym, references)

    async def counts(self) -> OptOutCounts:
        """Return how many are out."""
        return await self._opt_outs.counts()
