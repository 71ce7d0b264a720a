"""Credentials: the desk admits, the wallet obtains and renews, pseudonyms get their keys."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.identity.v1 import identity_service_pb2 as pb
from cipherward_anoncred.credential import Credential
from cipherward_anoncred.issuance import (
    HolderSecret,
    PendingRequest,
    request_first,
    request_same_secret,
)
from cipherward_anoncred.schema import parse_header
from cipherward_chain.acts import register_pseudonym as registration
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.group_keys import OPENING
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import ActRefused, explaining
from cipherward_client.sdk.group_keys import group_key, newest_group_key
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct, Submitter
from cipherward_client.sdk.retries import patiently
from cipherward_client.sdk.signing import PresentationSigner
from cipherward_client.wallet.entries import PendingCredential
from cipherward_client.wallet.scopes import PATIENT, duty_scope, record_scope
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.errors import reason_of

OPENING_REQUIRED = "OPENING_REQUIRED"
DESK_SECONDS = 30.0  # also while a service that has just started waits for its first block


async def admit_holder(
    hospital: Hospital, schema: str = PATIENT, *, role: str = "", request_id: str | None = None
) -> str:
    """Return the one-time code for a person who stands at the hospital's desk.

    Args:
        schema: patient or staff.
        role: of staff: clinician, researcher or dpo.
        request_id: UUID; the same one answers the same code.

    Raises:
        ClientError: the identity service refused.
    """
    request = pb.AdmitHolderRequest(
        request_id=request_id or str(uuid.uuid4()),
        schema=schema,
        attributes={"role": role} if role else {},
    )
    with explaining():
        identity = hospital.alliance.identity_of(hospital.member)
        response = await patiently(
            lambda left: identity.AdmitHolder(request, timeout=left), DESK_SECONDS
        )
    return response.admission_code


async def obtain_credential(
    alliance: Alliance,
    wallet: Wallet,
    member: str,
    code: str,
    *,
    saved: Callable[[], Awaitable[None]] | None = None,
) -> Credential:
    """Get the credential that a code is good for, and keep it in the wallet.

    A wallet that has a credential of the same schema from another issuer gets this one on the same
    secret, so that it is one person everywhere.

    Args:
        member: whose desk gave the code.
        saved: writes the wallet's backup. Called before the request is sent: if the answer is lost,
            `obtain_credential` with the same code sends the same request again.

    Raises:
        ClientError: the code is not good, or the answer is no credential.
    """
    with explaining():
        wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
        pending = wallet.pending.get(code)
        if pending is None:
            pending = await _begin(alliance, wallet, member, code)
            wallet.pending[code] = pending
            if saved is not None:
                await saved()
        credential = await _finish(alliance, wallet, pending)
        wallet.add_credential(credential)
        del wallet.pending[code]
        if saved is not None:
            await saved()
        return credential


async def _begin(alliance: Alliance, wallet: Wallet, member: str, code: str) -> PendingCredential:
    identity = alliance.identity_of(member)
    question = pb.BeginCredentialRequest(admission_code=code)
    offer = await patiently(
        lambda left: identity.BeginCredential(question, timeout=left), DESK_SECONDS
    )
    header = parse_header(offer.header)
    earlier = await _earlier(alliance, wallet, header.schema, header.issuer)
    made = await asyncio.to_thread(_request, offer, earlier)
    return PendingCredential(
        code=code,
        member=member,
        session=offer.session,
        request=made.octets,
        state=made.pending.to_octets(),
        public_key=offer.public_key,
        attributes=tuple(offer.attributes),
        earlier_public_key=b"" if earlier is None else earlier.public_key,
        earlier_header=b"" if earlier is None else earlier.header,
    )


@dataclass(frozen=True, slots=True)
class _Request:
    octets: bytes
    pending: PendingRequest


def _request(offer: pb.BeginCredentialResponse, earlier: Credential | None) -> _Request:
    """Make the blind request; about 5 ms."""
    issuer, header, session = offer.issuer, offer.header, offer.session
    if earlier is None:
        secret = HolderSecret.generate()
        made = request_first(secret, issuer=issuer, header=header, session=session)
    else:
        made = request_same_secret(earlier, issuer=issuer, header=header, session=session)
    return _Request(*made)


async def _earlier(
    alliance: Alliance, wallet: Wallet, schema: str, issuer: str
) -> Credential | None:
    """Return a current credential of the schema from another issuer, renewed if need be."""
    others = sorted(
        other for kind, other in wallet.credentials if kind == schema and other != issuer
    )
    if not others:
        return None
    return await _current(alliance, wallet, schema, others[0])


async def _finish(alliance: Alliance, wallet: Wallet, pending: PendingCredential) -> Credential:
    identity = alliance.identity_of(pending.member)
    request = pb.RequestCredentialRequest(
        admission_code=pending.code,
        session=pending.session,
        request=pending.request,
        earlier_public_key=pending.earlier_public_key,
        earlier_header=pending.earlier_header,
    )
    try:
        response = await patiently(
            lambda left: identity.RequestCredential(request, timeout=left), DESK_SECONDS
        )
    except aio.AioRpcError as error:
        if reason_of(error) == "CREDENTIAL_REJECTED":
            # The session may have ended: another try begins a new one. The code is not lost.
            wallet.pending.pop(pending.code, None)
        raise
    state = PendingRequest.from_octets(pending.state)
    return await asyncio.to_thread(
        state.accept, response.grant, pending.public_key, pending.attributes
    )


async def renew_credential(
    alliance: Alliance, wallet: Wallet, member: str, schema: str = PATIENT
) -> Credential:
    """Return the wallet's credential of that issuer for the current epoch; pseudonyms stay.

    Raises:
        ClientError: the wallet has none, or the issuer renews it no more.
    """
    with explaining():
        wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
        credential = wallet.credential(schema, member)
        request = pb.RenewCredentialRequest(identity=await asyncio.to_thread(credential.identity))
        identity = alliance.identity_of(member)
        response = await patiently(
            lambda left: identity.RenewCredential(request, timeout=left), DESK_SECONDS
        )
        renewed = await asyncio.to_thread(credential.renewed, response.signature, response.header)
        wallet.add_credential(renewed)
        return renewed


async def _current(alliance: Alliance, wallet: Wallet, schema: str, issuer: str) -> Credential:
    credential = wallet.credential(schema, issuer)
    if parse_header(credential.header).epoch >= alliance.epoch():
        return credential
    return await renew_credential(alliance, wallet, issuer, schema)


async def register_pseudonym(alliance: Alliance, wallet: Wallet, scope: str) -> ProvenAct | None:
    """Put the wallet's key behind its pseudonym of a scope, for the current epoch.

    Returns:
        The act, or None when the key is registered in this epoch already.

    Raises:
        ActRefused: the chain refused it.
        ClientError: the wallet has no credential for the scope, or the issuer renews it no more.
    """
    with explaining():
        wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
        epoch = alliance.epoch()
        if wallet.registered.get(scope, 0) >= epoch:
            return None
        held = parse_header(wallet.credential_for(scope).header)
        credential = await _current(alliance, wallet, held.schema, held.issuer)
        act = registration(alliance.chain_id, scope, wallet.pseudonym_seed(scope))
        try:
            done = await _register(alliance, act, credential, scope)
        except ActRefused as refused:
            # A restored backup has forgotten that its own key is registered.
            if refused.reason != "KEY_REGISTERED":
                raise
            done = None
        wallet.registered[scope] = epoch
        return done


async def _register(
    alliance: Alliance, act: chain_pb.Act, credential: Credential, scope: str
) -> ProvenAct:
    """Submit a registration; that of staff carries the identity, encrypted to the members."""
    accountable = parse_header(credential.header).accountable
    entry = await newest_group_key(alliance, OPENING) if accountable else None
    key = b"" if entry is None else entry.public_key
    submitter = Submitter(alliance)
    try:
        return await submitter.submit([act], PresentationSigner(credential, scope, key))
    except ActRefused as refused:
        if not accountable or refused.reason != OPENING_REQUIRED:
            raise
    # The members have made another opening key since this connection asked.
    entry = await group_key(alliance, OPENING, fresh=True)
    return await submitter.submit([act], PresentationSigner(credential, scope, entry.public_key))


async def register_duty(alliance: Alliance, wallet: Wallet, member: str) -> str:
    """Return the scope in which the wallet's staff credential of `member` acts now, registered.

    Raises:
        ActRefused, ClientError: as `register_pseudonym`.
    """
    scope = duty_scope(member, alliance.epoch())
    await register_pseudonym(alliance, wallet, scope)
    return scope


async def owners_signer(alliance: Alliance, wallet: Wallet, record_id: bytes) -> PseudonymSigner:
    """Return the key that acts for the owner of a record of this wallet, registered in this epoch.

    Raises:
        ActRefused, ClientError: as `register_pseudonym`.
        WalletError: the record is not this wallet's, or the wallet is of another alliance.
    """
    wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
    scope = record_scope(wallet.record(record_id).record_id)
    await register_pseudonym(alliance, wallet, scope)
    return wallet.signer(scope)


async def stop_renewal(hospital: Hospital, request_id: str) -> None:
    """Revoke: the holder that an admission led to gets no credential of the next epoch.

    Args:
        request_id: that of `admit_holder`.

    Raises:
        ClientError: there is no such admission.
    """
    request = pb.StopRenewalRequest(request_id=request_id)
    with explaining():
        identity = hospital.alliance.identity_of(hospital.member)
        await patiently(lambda left: identity.StopRenewal(request, timeout=left), DESK_SECONDS)
