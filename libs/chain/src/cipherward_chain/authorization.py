"""Who signed a body: making and checking authorizations, without the state.

Checked here is that the authorization is by the key that it carries. Whether that key is a member's
or registered is the contract's question. All failures look the same to whoever sent it.

A transaction's body names its authorizer, so that nobody who sees a body can have it remembered
under an authorization of their own (docs/adr/0008-a-body-names-its-authorizer.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import MEMBER_ID
from cipherward_chain.domains import (
    member_authorizer,
    presentation_authorizer,
    pseudonym_authorizer,
)
from cipherward_chain.errors import ChainError
from cipherward_chain.signatures import (
    KEY_BYTES,
    SIGNATURE_BYTES,
    KeyRefused,
    SignatureRejected,
    SigningKey,
    verify_signature,
)
from cipherward_chain.wire import NotExact, exact_bytes, parse_exact

ISSUER_KEY_BYTES: Final = 96  # a BBS public key, a point of G2
HEADER_BYTES_MAX: Final = 1_024  # schema, issuer and epoch
ATTRIBUTES_MAX: Final = 16
ATTRIBUTE_BYTES_MAX: Final = 256
SCOPE_BYTES_MAX: Final = 256  # as the credential library bounds it
PROOF_BYTES_MAX: Final = 16_384  # a batchable presentation is below 2 KiB
PSEUDONYM_BYTES: Final = 48  # a compressed point of G1
# None, or a key (a point) and the two points encrypted under it.
OPENING_BYTES: Final = ((0, 0), (48, 96))


class AuthorizationMalformed(ChainError):
    """An authorization is out of form."""

    reason = "AUTHORIZATION_MALFORMED"


class AuthorizationRejected(ChainError):
    """An authorization does not authorise the body; why is not said."""

    reason = "AUTHORIZATION_REJECTED"


class Signer(Protocol):
    """Authorises octets. Adapters: `MemberSigner`, `PseudonymSigner`, a wallet's presentations."""

    @property
    def authorizer(self) -> bytes:
        """How a transaction's body names this signer, 32 bytes: `authorizer_of` what it signs."""
        ...

    def authorize(self, context: bytes) -> bytes:
        """Return a serialised Authorization over `context`: the domain tag and the body."""
        ...


class MemberSigner:
    """Signs as a member of the registry, with the key of `seed` (32 bytes)."""

    def __init__(self, member_id: str, seed: bytes) -> None:
        self._member_id = member_id
        self._key = SigningKey(seed)

    @property
    def authorizer(self) -> bytes:
        """How a body names this member and key."""
        return member_authorizer(self._member_id, self._key.public_key)

    def authorize(self, context: bytes) -> bytes:
        """Return a serialised Authorization by the member's key."""
        signature = pb.MemberSignature(
            member_id=self._member_id,
            public_key=self._key.public_key,
            signature=self._key.sign(context),
        )
        return exact_bytes(pb.Authorization(member=signature))


class PseudonymSigner:
    """Signs as a registered pseudonym, with the key of `seed` (32 bytes)."""

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.public_key = self._key.public_key

    @property
    def authorizer(self) -> bytes:
        """How a body names this key."""
        return pseudonym_authorizer(self.public_key)

    def authorize(self, context: bytes) -> bytes:
        """Return a serialised Authorization by the pseudonym's key."""
        signature = pb.PseudonymSignature(
            public_key=self._key.public_key, signature=self._key.sign(context)
        )
        return exact_bytes(pb.Authorization(pseudonym=signature))


@dataclass(frozen=True, slots=True)
class PresentationClaim:
    """A presentation that identity must still verify; until then it authorises nothing.

    `context` are the octets that the presentation is bound to.
    """

    presentation: pb.Presentation
    context: bytes

    @property
    def scope(self) -> str:
        """The scope of its pseudonym."""
        return self.presentation.scope


def parse_authorization(raw: bytes) -> pb.Authorization:
    """Return the authorization that `raw` is, or raise `AuthorizationMalformed`."""
    try:
        message = parse_exact(pb.Authorization, raw)
    except NotExact as error:
        raise AuthorizationMalformed(str(error)) from error
    kind = message.WhichOneof("kind")
    if kind == "member":
        in_form = (
            MEMBER_ID.fullmatch(message.member.member_id) is not None
            and len(message.member.public_key) == KEY_BYTES
            and len(message.member.signature) == SIGNATURE_BYTES
        )
    elif kind == "pseudonym":
        in_form = (
            len(message.pseudonym.public_key) == KEY_BYTES
            and len(message.pseudonym.signature) == SIGNATURE_BYTES
        )
    else:
        in_form = kind == "presentation" and _presentation_in_form(message.presentation)
    if not in_form:
        raise AuthorizationMalformed("an authorization is out of form")
    return message


def _presentation_in_form(presentation: pb.Presentation) -> bool:
    indexes = [attribute.index for attribute in presentation.disclosed]
    values = [len(attribute.value) for attribute in presentation.disclosed]
    return (
        len(presentation.issuer_public_key) == ISSUER_KEY_BYTES
        and 0 < len(presentation.header) <= HEADER_BYTES_MAX
        and indexes == sorted(set(indexes))
        and len(indexes) <= ATTRIBUTES_MAX
        and all(0 < length <= ATTRIBUTE_BYTES_MAX for length in values)
        and 0 < len(presentation.scope.encode()) <= SCOPE_BYTES_MAX
        and 0 < len(presentation.proof) <= PROOF_BYTES_MAX
        and len(presentation.pseudonym) == PSEUDONYM_BYTES
        and (len(presentation.opening_key), len(presentation.opening)) in OPENING_BYTES
    )


def authorizer_of(authorization: pb.Authorization) -> bytes:
    """Return how a body must name (32 bytes) whoever an authorization in form claims to be by."""
    kind = authorization.WhichOneof("kind")
    if kind == "member":
        return member_authorizer(authorization.member.member_id, authorization.member.public_key)
    if kind == "pseudonym":
        return pseudonym_authorizer(authorization.pseudonym.public_key)
    return presentation_authorizer(authorization.presentation.pseudonym)


def check_signed(authorization: pb.Authorization, context: bytes) -> PresentationClaim | None:
    """Verify a signature over `context`; a presentation is handed back as a claim to verify
    elsewhere.

    Raises:
        AuthorizationRejected: the signature is not by the key that the authorization carries.
    """
    kind = authorization.WhichOneof("kind")
    if kind == "presentation":
        return PresentationClaim(authorization.presentation, context)
    signed = authorization.member if kind == "member" else authorization.pseudonym
    check_signature(signed.public_key, context, signed.signature)
    return None


def check_signature(public_key: bytes, octets: bytes, signature: bytes) -> None:
    """Raise `AuthorizationRejected` unless `signature` is by `public_key` over `octets`."""
    try:
        verify_signature(public_key, octets, signature)
    except (KeyRefused, SignatureRejected):
        raise AuthorizationRejected("the authorization is not valid") from None
