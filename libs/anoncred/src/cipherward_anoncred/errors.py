"""What this library refuses, one class per cause.

All are `ValueError`s: the library is pure, a service maps them to its own errors.  Refusals that a
stranger can provoke (`RequestRejected`, `PresentationRejected`) say nothing about the reason, so
that they are no oracle.
"""

from __future__ import annotations


class AnoncredError(ValueError):
    """The common base, for a caller that treats all of them alike."""


class Malformed(AnoncredError):
    """Octets are not the canonical encoding of what was expected."""


class LengthMismatch(AnoncredError):
    """Two lists that belong together have different lengths."""


class KeyMaterialTooShort(AnoncredError):
    """Key material has fewer than the 32 octets that the draft asks for."""


class DisclosureInvalid(AnoncredError):
    """Indexes to disclose are not ascending, or name something that is never disclosed."""


class ScopeInvalid(AnoncredError):
    """A scope is empty or longer than 256 octets."""


class SessionInvalid(AnoncredError):
    """A session nonce has fewer than 16 or more than 256 octets."""


class SchemaUnknown(AnoncredError):
    """A header names a schema that the caller does not have."""


class SchemaMismatch(AnoncredError):
    """Attributes are not those that the schema fixes."""


class OpeningInvalid(AnoncredError):
    """An opening is asked of a credential that has none, or to octets that are no key."""


class HeaderMismatch(AnoncredError):
    """A header names another issuer or another schema than the one at hand."""


class SignatureRejected(AnoncredError):
    """A BBS signature does not verify."""


class ProofRejected(AnoncredError):
    """A proof of the IETF drafts does not verify."""


class CommitmentRejected(AnoncredError):
    """The proof that comes with a commitment does not verify."""


class CredentialInvalid(AnoncredError):
    """A credential's signature does not cover its header, attributes and secret."""


class GrantRejected(AnoncredError):
    """An issuer's answer is not a credential for the request that the holder made."""

    def __init__(self) -> None:
        super().__init__("the grant is not a credential for this request")


class RequestRejected(AnoncredError):
    """A credential request does not prove what it must (one refusal for every reason)."""

    def __init__(self) -> None:
        super().__init__("credential request rejected")


class PresentationRejected(AnoncredError):
    """A presentation does not prove its claim (one refusal for every reason)."""

    def __init__(self) -> None:
        super().__init__("presentation rejected")
