"""Patients' choices about studies: made with a wallet, or at the hospital; nothing is on the chain.

A choice counts at the member that it was told to, from the next study on whose counts are ordered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_anoncred.credential import Credential
from cipherward_anoncred.schema import parse_header
from cipherward_chain.opt_outs import Choice, OptOutStatement, care_scope, verify_statement
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.credentials import renew_credential
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.questions import Asker, ask
from cipherward_client.sdk.retries import patiently
from cipherward_client.sdk.signing import PresentationSigner
from cipherward_client.wallet.wallet import Wallet

OPT_OUT = "/cipherward.compute.v1.ComputeService/OptOut"
CHOICE_SECONDS = 30.0
CHOICES: dict[Choice, pb.OptOutChoice.ValueType] = {
    "out": pb.OPT_OUT_CHOICE_OUT,
    "in": pb.OPT_OUT_CHOICE_IN,
}


class OptOutReceiptDiffers(CheckFailed):
    """The member has signed for another choice than was made."""

    reason = "OPT_OUT_RECEIPT_DIFFERS"


@dataclass(frozen=True, slots=True)
class OptOutReceipt:
    """The member's signed statement, verified; `linked`: whether it knows which rows are meant.

    Of a choice made at the hospital the rows are always known.
    """

    statement: OptOutStatement
    octets: bytes
    authorization: bytes
    linked: bool = True


@dataclass(frozen=True, slots=True)
class OptOutCounts:
    """How many wallets and rows are out at a member, and how many wallets reach no row yet."""

    pseudonyms: int
    pseudonyms_unlinked: int
    references: int
    height: int


async def choose(
    alliance: Alliance, wallet: Wallet, member: str, choice: Choice = "out"
) -> OptOutReceipt:
    """Keep the wallet's holder out of studies at a member, or let it take part again.

    Raises:
        ClientError: the wallet has no patient's credential, or the member did not take it.
    """
    with explaining():
        wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
        scope = care_scope(member)
        credential = await _current(alliance, wallet, scope)
        signer = await asyncio.to_thread(PresentationSigner, credential, scope)
        compute = alliance.compute_of(member)
        answer = await ask(
            Asker(alliance, signer),
            OPT_OUT,
            choice.encode(),
            lambda read, left: compute.OptOut(pb.OptOutRequest(read=read), timeout=left),
        )
        pseudonym = await asyncio.to_thread(credential.pseudonym, scope.encode())
        return _receipt(alliance, member, answer.receipt, (pseudonym, choice), answer.linked)


async def put_opt_out(hospital: Hospital, reference: bytes, choice: Choice) -> OptOutReceipt:
    """Record what a patient without a wallet has chosen; the receipt is for the patient.

    Args:
        reference: of the patient's rows, 16 bytes.

    Raises:
        ClientError: the reference is out of form.
    """
    request = pb.PutOptOutRequest(reference=reference, choice=CHOICES[choice])
    with explaining():
        compute = hospital.alliance.compute_of(hospital.member)
        answer = await patiently(
            lambda left: compute.PutOptOut(request, timeout=left), CHOICE_SECONDS
        )
        made = (reference, choice)
        return _receipt(hospital.alliance, hospital.member, answer.receipt, made)


async def link_references(
    hospital: Hospital, pseudonym: bytes, references: Sequence[bytes]
) -> None:
    """Say which rows are those of a patient who is known by a wallet's pseudonym (48 bytes).

    Raises:
        ClientError: one of them is out of form.
    """
    request = pb.LinkReferencesRequest(pseudonym=pseudonym, references=references)
    with explaining():
        compute = hospital.alliance.compute_of(hospital.member)
        await patiently(lambda left: compute.LinkReferences(request, timeout=left), CHOICE_SECONDS)


async def count_opt_outs(hospital: Hospital) -> OptOutCounts:
    """Return how many are out at a member."""
    with explaining():
        compute = hospital.alliance.compute_of(hospital.member)
        request = pb.CountOptOutsRequest()
        found = await patiently(
            lambda left: compute.CountOptOuts(request, timeout=left), CHOICE_SECONDS
        )
        return OptOutCounts(
            found.pseudonyms, found.pseudonyms_unlinked, found.references, found.height
        )


async def _current(alliance: Alliance, wallet: Wallet, scope: str) -> Credential:
    credential = wallet.credential_for(scope)
    header = parse_header(credential.header)
    if header.epoch >= alliance.epoch():
        return credential
    return await renew_credential(alliance, wallet, header.issuer)


def _receipt(
    alliance: Alliance,
    member: str,
    receipt: pb.OptOutReceipt,
    made: tuple[bytes, Choice],
    linked: bool = True,
) -> OptOutReceipt:
    """Return the receipt if the member's key has signed for exactly that choice of that subject."""
    key = alliance.members[member].public_key
    statement = verify_statement(receipt.statement, receipt.authorization, key)
    said = (statement.chain_id, statement.member, statement.subject, statement.choice)
    if said != (alliance.chain_id, member, *made):
        raise OptOutReceiptDiffers(f"{member} has signed for another choice")
    return OptOutReceipt(statement, receipt.statement, receipt.authorization, linked)
