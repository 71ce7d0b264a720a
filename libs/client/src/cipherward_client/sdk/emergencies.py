"""Break-glass: staff open a record at once, without its owner's word, and answer for it.

The chain releases the key in the same block, tells the owner and both hospitals, and asks for a
review within 72 hours; without one the clinician's key is suspended.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cipherward_chain.authorization import Signer
from cipherward_chain.canonical import Value, encode
from cipherward_chain.sealing import SealingKey
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.contract_acts import begin, take
from cipherward_client.sdk.credentials import owners_signer, register_duty
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import Progress, ProvenAct
from cipherward_client.sdk.opened import OpenedRecord, fetch_released
from cipherward_client.wallet.errors import CredentialMissing
from cipherward_client.wallet.scopes import STAFF
from cipherward_client.wallet.wallet import Wallet

TEMPLATE, VERSION = "emergency-access", 1
PURPOSE = "ETREAT"  # HL7 PurposeOfUse: what every emergency is accounted for as
CLOSE, REVIEW, REVIEW_LATE, REVOKE = "close", "review", "review_late", "revoke"
REASONS = ("life-threatening", "public-safety", "transfer-of-care", "unconscious")
JUSTIFIED, NOT_JUSTIFIED = "justified", "not-justified"


@dataclass(frozen=True, slots=True)
class Emergency:
    """A record that was opened in an emergency; `emergency_id` is the contract that accounts for
    it.
    """

    emergency_id: bytes
    opened: OpenedRecord


async def open_in_emergency(
    alliance: Alliance,
    wallet: Wallet,
    record_id: bytes,
    reason: str,
    *,
    member: str = "",
    visit_seconds: int = 3600,
    progress: Progress | None = None,
) -> Emergency:
    """Open a record without its owner's consent: everybody concerned is told.

    Args:
        wallet: of a clinician.
        reason: of the template's closed list.
        member: whose staff the clinician acts as; by default the first that the wallet is of.
        visit_seconds: 60..14400, how long the ciphertext may be fetched.
        progress: told "open" and "download" with done and total.

    Raises:
        ActRefused: the record does not allow it, or the clinician is suspended.
        ClientError: the members refused, or sent something else than was anchored.
    """
    with explaining():
        wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
        signer = wallet.signer(await register_duty(alliance, wallet, member or _member(wallet)))
        key = await asyncio.to_thread(SealingKey.generate)
        terms = encode(
            {
                "record": record_id,
                "reader_key": key.public_key,
                "reason": reason,
                "visit_seconds": visit_seconds,
            }
        )
        emergency_id, act = await begin(alliance, signer, TEMPLATE, VERSION, terms)
        if progress is not None:
            progress("open", 1, 1)
        opened = await fetch_released(alliance, act, record_id, signer, key, progress)
        return Emergency(emergency_id, opened)


async def close_emergency(
    alliance: Alliance, wallet: Wallet, emergency_id: bytes, *, member: str = ""
) -> ProvenAct:
    """End the visit of an emergency that this clinician began; the review stays due.

    Raises:
        ActRefused: it has ended, or somebody else began it.
    """
    with explaining():
        scope = await register_duty(alliance, wallet, member or _member(wallet))
        return await take(alliance, wallet.signer(scope), emergency_id, CLOSE)


async def review_emergency(
    alliance: Alliance,
    reviewer: Wallet | Hospital,
    emergency_id: bytes,
    *,
    justified: bool,
    late: bool = False,
    member: str = "",
) -> ProvenAct:
    """Say what came out when an emergency was looked into, once its visit has ended.

    Reviewed in time, its clinician is not suspended for it.

    Args:
        reviewer: a data-protection officer of the record's custodian or author, or one of these
            hospitals itself; never who began it.
        late: the time for the review is over, and the clinician suspended.
        member: whose officer the wallet is; by default the first that it is staff of.

    Raises:
        ActRefused: the reviewer may not, or the visit has not ended.
    """
    with explaining():
        if isinstance(reviewer, Hospital):
            signer: Signer = reviewer.signer
        else:
            scope = await register_duty(alliance, reviewer, member or _member(reviewer))
            signer = reviewer.signer(scope)
        transition = REVIEW_LATE if late else REVIEW
        finding: dict[str, Value] = {"finding": JUSTIFIED if justified else NOT_JUSTIFIED}
        return await take(alliance, signer, emergency_id, transition, finding)


async def end_emergency(
    alliance: Alliance, wallet: Wallet, record_id: bytes, emergency_id: bytes
) -> ProvenAct:
    """End an emergency's visit as the record's owner; the review stays due.

    Raises:
        ActRefused: it has ended.
        ClientError: the record is not this wallet's.
    """
    with explaining():
        signer = await owners_signer(alliance, wallet, record_id)
        return await take(alliance, signer, emergency_id, REVOKE)


def _member(wallet: Wallet) -> str:
    members = sorted(issuer for schema, issuer in wallet.credentials if schema == STAFF)
    if not members:
        raise CredentialMissing("no staff credential in the wallet")
    return members[0]
