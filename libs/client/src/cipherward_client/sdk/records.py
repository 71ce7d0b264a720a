"""Records: put by a hospital for their owner, and opened by whoever a consent lets.

Putting a record is for two: the hospital seals, uploads and anchors it, the owner's wallet gives
the key that owns it and countersigns the anchor. The hospital keeps no key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from cipherward_chain.acts import anchor_record, countersign, parse_anchor
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.group_keys import RECORD
from cipherward_chain.receipts import verify_receipt
from cipherward_chain.sealing import SealingKey
from cipherward_client.records.sealing import RELEASE_TEMPLATES, Custody, seal_record
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.contract_acts import take
from cipherward_client.sdk.credentials import register_duty, register_pseudonym
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.group_keys import group_key
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import Progress, ProvenAct, Submitter
from cipherward_client.sdk.opened import OpenedRecord, fetch_released
from cipherward_client.sdk.uploads import Upload
from cipherward_client.wallet.entries import OwnedRecord
from cipherward_client.wallet.errors import CredentialMissing
from cipherward_client.wallet.scopes import STAFF, record_scope
from cipherward_client.wallet.wallet import Wallet
from cipherward_member.shared_keys import threshold_key

OWNERS_PURPOSE = "PATRQT"  # HL7 PurposeOfUse: the patient's own request


@dataclass(frozen=True, slots=True)
class Countersignature:
    """The owner's key for a record (Ed25519, 32 bytes), and its signature under the anchor."""

    public_key: bytes
    signature: bytes


class Owner(Protocol):
    """Owns what a hospital is about to anchor. Adapters: `WalletOwner`, a person far away."""

    async def countersign(self, anchor: bytes) -> Countersignature:
        """Register the record's pseudonym and sign the serialised anchor."""
        ...


class AnchorForeign(CheckFailed):
    """The anchor names members that the chain does not know: the wallet signs no such thing."""

    reason = "CUSTODIAN_UNKNOWN"


class TemplateUnwanted(CheckFailed):
    """The anchor lets a kind of contract release the record that its owner has not chosen."""

    reason = "TEMPLATE_UNWANTED"


class NotAnAnchor(CheckFailed):
    """The act that is to be claimed anchored no record."""

    reason = "RECEIPT_OF_ANOTHER"


class WalletOwner:
    """A wallet in this process as the owner of one record."""

    def __init__(
        self,
        alliance: Alliance,
        wallet: Wallet,
        label: str = "",
        *,
        release_templates: Collection[str] = RELEASE_TEMPLATES,
    ) -> None:
        """Describe it.

        Args:
            alliance: a holder's connection, so that nobody sees which hospital's system asks.
            label: the holder's own words for the record; they stay in the wallet.
            release_templates: the most that may release it, as `name/version`.
        """
        self._alliance = alliance
        self._wallet = wallet
        self._label = label
        self._release_templates = frozenset(release_templates)

    async def countersign(self, anchor: bytes) -> Countersignature:
        """Register the record's pseudonym, remember the record, and sign.

        Raises:
            ClientError: the pseudonym could not be registered, or the anchor is no anchor.
                TEMPLATE_UNWANTED: it lets more release the record than the owner chose.
        """
        with explaining():
            parsed = parse_anchor(anchor)
            if not {parsed.author, parsed.custodian} <= set(self._alliance.members):
                raise AnchorForeign("author or custodian is no member")
            if unwanted := set(parsed.release_templates) - self._release_templates:
                raise TemplateUnwanted(", ".join(sorted(unwanted)))
            scope = record_scope(parsed.record_id)
            await register_pseudonym(self._alliance, self._wallet, scope)
            self._wallet.records[parsed.record_id] = OwnedRecord(
                parsed.record_id, parsed.custodian, parsed.author, self._label
            )
            seed = self._wallet.pseudonym_seed(scope)
            signature = countersign(self._alliance.chain_id, anchor, seed)
            return Countersignature(self._wallet.public_key(scope), signature)


@dataclass(frozen=True, slots=True)
class RecordReceipt:
    """A record that is stored and anchored; `act` is the anchor's, with its receipt."""

    record_id: bytes
    custodian: str
    act: ProvenAct
    ciphertext_bytes: int


async def put_record(
    hospital: Hospital,
    content: bytes,
    owner: Owner | None,
    *,
    release_templates: Sequence[str] = RELEASE_TEMPLATES,
    progress: Progress | None = None,
) -> RecordReceipt:
    """Seal, store and anchor a record; when it returns, the chain proves it.

    Args:
        content: up to what fits memory three times; 64 MiB is fine.
        owner: who owns it; None leaves it unclaimed: an emergency opens it, if it may.
        release_templates: what may release it, as `name/version`, by the owner's choice; the owner
            may add to them later (`allow_template`), nobody takes one away.
        progress: told "seal", "upload" and "anchor" with done and total.

    Raises:
        ActRefused, ClientError: nothing was anchored; what was uploaded is deleted in a day.
            GROUP_KEY_UNKNOWN: the members have not made their record key yet.
    """
    with explaining():
        alliance = hospital.alliance
        custodian = alliance.members[hospital.member]
        custody = Custody(
            alliance.chain_id,
            hospital.member,
            custodian.id,
            custodian.custodian_public_key,
            threshold_key(alliance.chain_id, await group_key(alliance, RECORD)),
        )
        record = await asyncio.to_thread(
            seal_record, custody, content, release_templates=release_templates
        )
        _tell(progress, "seal")
        async with asyncio.TaskGroup() as group:
            group.create_task(Upload(hospital, record, progress).send())
            signing = None if owner is None else group.create_task(owner.countersign(record.anchor))
        signature = None if signing is None else signing.result()
        act = await _anchor(hospital, record.anchor, record.slot_digest, signature)
        _tell(progress, "anchor")
        return RecordReceipt(record.record_id, custodian.id, act, record.ciphertext_bytes)


async def claim_record(hospital: Hospital, anchored: ProvenAct, owner: Owner) -> ProvenAct:
    """Give an unclaimed record its owner, who showed the author who they are.

    Args:
        anchored: the act that anchored it, as `put_record` without an owner returned it.

    Raises:
        ActRefused: the record has an owner already.
        ClientError: the act anchored no record, or the owner's wallet could not countersign.
    """
    with explaining():
        transaction = verify_receipt(anchored.receipt, hospital.alliance.trust_root).transaction
        kind = transaction.body.acts[0].WhichOneof("act")
        if kind != "anchor_record":
            raise NotAnAnchor("the act anchored no record")
        act = transaction.body.acts[0].anchor_record
        signature = await owner.countersign(act.anchor)
        return await _anchor(hospital, act.anchor, act.custodian_slot_digest, signature)


async def _anchor(
    hospital: Hospital, anchor: bytes, slot_digest: bytes, signature: Countersignature | None
) -> ProvenAct:
    act = anchor_record(
        parse_anchor(anchor),
        slot_digest,
        b"" if signature is None else signature.public_key,
        b"" if signature is None else signature.signature,
    )
    return await Submitter(hospital.alliance).submit([act], hospital.signer)


def _tell(progress: Progress | None, stage: str) -> None:
    if progress is not None:
        progress(stage, 1, 1)


async def get_record(
    alliance: Alliance,
    wallet: Wallet,
    record_id: bytes,
    grant_id: bytes,
    *,
    purpose: str = "TREAT",
    progress: Progress | None = None,
) -> OpenedRecord:
    """Open a record under a consent: an act on the chain, and then its content.

    Args:
        wallet: of the record's owner, or of staff of the member that the consent names.
        grant_id: the consent's contract.
        purpose: as the consent says; an owner's is always PATRQT.
        progress: told "open" and "download" with done and total.

    Raises:
        ActRefused: the consent does not allow it: another member, role or purpose, revoked, over.
        ClientError: the custodian refused, or sent something else than was anchored.
    """
    with explaining():
        key = await asyncio.to_thread(SealingKey.generate)
        asked = await ask_to_open(alliance, wallet, record_id, grant_id, key, purpose=purpose)
        _tell(progress, "open")
        return await fetch_released(alliance, asked.act, record_id, asked.signer, key, progress)


@dataclass(frozen=True, slots=True)
class AskedToOpen:
    """The act that had a record released, and the reader who did it."""

    act: ProvenAct
    signer: PseudonymSigner


async def ask_to_open(
    alliance: Alliance,
    wallet: Wallet,
    record_id: bytes,
    grant_id: bytes,
    key: SealingKey,
    *,
    purpose: str = "TREAT",
) -> AskedToOpen:
    """Have a record released to a one-time key, under a consent; what is released is not fetched.

    Args:
        wallet, grant_id, purpose: see `get_record`.
        key: serves this one opening.

    Raises:
        ActRefused: the consent does not allow it.
        ClientError: the wallet has no credential for it.
    """
    with explaining():
        wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
        scope = await _reading_scope(alliance, wallet, record_id)
        owners = scope == record_scope(record_id)
        arguments = {
            "reader_key": key.public_key,
            "purpose": OWNERS_PURPOSE if owners else purpose,
        }
        signer = wallet.signer(scope)
        act = await take(alliance, signer, grant_id, "open", arguments)
        return AskedToOpen(act, signer)


async def _reading_scope(alliance: Alliance, wallet: Wallet, record_id: bytes) -> str:
    """Return the scope whose key opens the record, registered: the owner's, or the duty's."""
    own = record_scope(record_id)
    if record_id in wallet.records or own in wallet.registered:  # or who represents the owner
        await register_pseudonym(alliance, wallet, own)
        return own
    members = sorted(issuer for schema, issuer in wallet.credentials if schema == STAFF)
    if not members:
        raise CredentialMissing("no staff credential in the wallet, and the record is not its own")
    return await register_duty(alliance, wallet, members[0])
