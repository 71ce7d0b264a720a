"""Consents: an owner's word on the chain about who may open a record, for what, until when."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.acts import ID_BYTES
from cipherward_chain.canonical import Value, decode_map, encode
from cipherward_chain.fields import Fields
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.contract_acts import take
from cipherward_client.sdk.credentials import owners_signer, register_pseudonym
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.ledger import ProvenAct, Submitter
from cipherward_client.sdk.proven_contracts import proven_contract
from cipherward_client.sdk.questions import Asker, ask, every_page
from cipherward_client.wallet.entries import GivenGrant
from cipherward_client.wallet.scopes import record_scope
from cipherward_client.wallet.wallet import Wallet

TEMPLATE, VERSION = "consent", 1
PAGE_CONTRACTS = 100  # the most that a page has
LIST_CONTRACTS = "/cipherward.contract.v1.ContractService/ListContracts"


@dataclass(frozen=True, slots=True)
class ConsentTerms:
    """What an owner allows.

    `grantee_key`: the registered key (32 bytes) of the one clinician; empty: any of the member's.
    `representative_key`: of whoever may open and revoke like the owner: a child's parent, a ward's
    guardian; empty: nobody. `purposes`: codes of the template's closed list, sorted. `expires`:
    Unix seconds. `visits_max`: 1..1000 openings, each good for `visit_seconds`: 60..86400.
    """

    record_id: bytes
    grantee_member: str
    expires: int
    grantee_key: bytes = b""
    representative_key: bytes = b""
    purposes: tuple[str, ...] = ("TREAT",)
    visits_max: int = 10
    visit_seconds: int = 3600

    def to_bytes(self) -> bytes:
        """Return the canonical terms of an instance."""
        terms: dict[str, Value] = {
            "record": self.record_id,
            "grantee_member": self.grantee_member,
            "grantee_key": self.grantee_key,
            "representative_key": self.representative_key,
            "purposes": list(self.purposes),
            "expires": self.expires,
            "visits_max": self.visits_max,
            "visit_seconds": self.visit_seconds,
        }
        return encode(terms)

    @classmethod
    def from_bytes(cls, raw: bytes) -> ConsentTerms:
        """Return the terms of an instance, or raise NotCanonical."""
        fields = Fields(decode_map(raw))
        return cls(
            record_id=fields.octets("record"),
            grantee_member=fields.text("grantee_member"),
            grantee_key=fields.octets("grantee_key"),
            representative_key=fields.octets("representative_key"),
            purposes=fields.texts("purposes"),
            expires=fields.integer("expires"),
            visits_max=fields.integer("visits_max"),
            visit_seconds=fields.integer("visit_seconds"),
        )


@dataclass(frozen=True, slots=True)
class GrantedConsent:
    """A consent on the chain; `grant_id` is what the grantee must be told."""

    grant_id: bytes
    act: ProvenAct


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent as it stands: active, revoked or expired."""

    grant_id: bytes
    state: str
    terms: ConsentTerms
    created_height: int
    changed_height: int


async def grant_consent(alliance: Alliance, wallet: Wallet, terms: ConsentTerms) -> GrantedConsent:
    """Let somebody open a record of this wallet.

    Raises:
        ActRefused: the terms are out of bounds, or the record is not this owner's.
        ClientError: the wallet does not own the record, or the ledger did not take it.
    """
    with explaining():
        signer = await owners_signer(alliance, wallet, terms.record_id)
        grant_id = secrets.token_bytes(ID_BYTES)
        start = chain_pb.Instantiate(
            template=TEMPLATE, version=VERSION, instance_id=grant_id, terms=terms.to_bytes()
        )
        # Kept before it is sent: what may have been granted must be revocable.
        wallet.grants[grant_id] = GivenGrant(grant_id, terms.record_id, terms.grantee_member)
        act = await Submitter(alliance).submit([chain_pb.Act(instantiate=start)], signer)
        return GrantedConsent(grant_id, act)


async def representative_key(alliance: Alliance, wallet: Wallet, record_id: bytes) -> bytes:
    """Return the key (32 bytes) under which this wallet may represent a record's owner, registered.

    The owner names it in a consent; from then on the wallet opens and revokes under that consent.

    Raises:
        ActRefused, ClientError: it could not be registered.
    """
    with explaining():
        scope = record_scope(record_id)
        await register_pseudonym(alliance, wallet, scope)
        return wallet.public_key(scope)


async def revoke_consent(
    alliance: Alliance, wallet: Wallet, grant_id: bytes, *, record_id: bytes | None = None
) -> ProvenAct:
    """End a consent of this wallet; also when the owner's registration is of an earlier epoch.

    Args:
        record_id: given by a representative, whose wallet has not given the consent.

    Raises:
        ActRefused: it is revoked or expired already.
        ClientError: the wallet has not given it, or the ledger did not take it.
    """
    with explaining():
        wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
        about = wallet.grant(grant_id).record_id if record_id is None else record_id
        signer = wallet.signer(record_scope(about))
        return await take(alliance, signer, grant_id, "revoke")


async def show_consent(
    alliance: Alliance, wallet: Wallet, grant_id: bytes, *, record_id: bytes | None = None
) -> Consent:
    """Return a consent of this wallet as the chain proves it.

    Args:
        record_id: given by a representative, whose wallet has not given the consent.

    Raises:
        ClientError: the wallet has not given it, it is not on the chain, or it is not proven.
    """
    with explaining():
        about = wallet.grant(grant_id).record_id if record_id is None else record_id
        found = await proven_contract(await Asker.owner(alliance, wallet, about), grant_id)
        return Consent(
            grant_id=grant_id,
            state=found.state,
            terms=ConsentTerms.from_bytes(found.terms),
            created_height=found.created_height,
            changed_height=found.changed_height,
        )


async def list_consents(alliance: Alliance, wallet: Wallet, record_id: bytes) -> list[Consent]:
    """Return every consent about a record of this wallet, oldest first.

    Raises:
        ClientError: the wallet does not own the record.
    """
    with explaining():
        asker = await Asker.owner(alliance, wallet, wallet.record(record_id).record_id)

        def page(token: str) -> Awaitable[pb.ListContractsResponse]:
            return ask(
                asker,
                LIST_CONTRACTS,
                record_id,
                lambda read, left: alliance.contract.ListContracts(
                    pb.ListContractsRequest(read=read, page_size=PAGE_CONTRACTS, page_token=token),
                    timeout=left,
                ),
            )

        return [
            _consent(contract)
            async for found in every_page(page)
            for contract in found.contracts
            if contract.template == TEMPLATE
        ]


def _consent(contract: pb.Contract) -> Consent:
    return Consent(
        grant_id=contract.instance_id,
        state=contract.state,
        terms=ConsentTerms.from_bytes(contract.terms),
        created_height=contract.created_height,
        changed_height=contract.changed_height,
    )
