"""Issuance: a holder asks, an issuer signs what it cannot see, and signs again each epoch.

One secret per patient.  The first issuer adds entropy to the secret that the wallet drew
(`request_first`); every later issuer takes the same secret, proven equal to that of an earlier
credential (`request_same_secret`), and adds none, so pseudonyms are the same whichever credential
is shown.  An issuer knows a patient by `secret * B(issuer)`, on a base of its own: two registries
cannot be joined.  Staff it knows by `secret * G`: the key that an opening by the members gives.
"""

from __future__ import annotations

from cipherward_anoncred.holder import (
    HolderSecret,
    PendingRequest,
    request_first,
    request_same_secret,
)
from cipherward_anoncred.issuer import (
    Grant,
    IssuerRecord,
    grant_first,
    grant_same_secret,
    renew,
)

__all__ = [
    "Grant",
    "HolderSecret",
    "IssuerRecord",
    "PendingRequest",
    "grant_first",
    "grant_same_secret",
    "renew",
    "request_first",
    "request_same_secret",
]
