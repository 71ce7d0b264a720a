"""The form of a newcomer's registration: rules of our own, the same on every machine.

No parser of X.509 is asked: what it accepts changes with its version, and two answers on one chain
would be a fork. Each function returns what is wrong, or "".
"""

from __future__ import annotations

import re

from cipherward_chain.acts import MEMBER_ID
from cipherward_chain.canonical import Value
from cipherward_chain.certificates import (
    CERTIFICATE_CHARACTERS_MAX,
    CertificatesMalformed,
    certificate_octets,
    parse_certificates,
)
from cipherward_chain.sealing import SealingKeyRefused, check_sealing_key
from cipherward_chain.signatures import KeyRefused, check_public_key

NAME_CHARACTERS_MAX = 64  # one line on a screen
# What a name would hide behind: controls, and characters without width or against the direction.
# Listed here, because Python's own tables change with its version.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


def member_id_fault(value: Value) -> str:
    """Return why a value is no member's id, or ""."""
    fits = isinstance(value, str) and MEMBER_ID.fullmatch(value)
    return "" if fits else "not an id: lower-case letters, digits and hyphens, 2 to 31"


def name_fault(value: Value) -> str:
    """Return why a value is no institution's name, or ""."""
    if not isinstance(value, str) or not 0 < len(value) <= NAME_CHARACTERS_MAX:
        return f"not a name of 1 to {NAME_CHARACTERS_MAX} characters"
    if value != value.strip(" ") or _HIDDEN.search(value):
        return "a name with hidden characters"
    return ""


def certificate_fault(value: Value) -> str:
    """Return why a value is not one certificate in PEM, or ""."""
    if not isinstance(value, str) or len(value) > CERTIFICATE_CHARACTERS_MAX:
        return f"not PEM of at most {CERTIFICATE_CHARACTERS_MAX} characters"
    try:
        certificate_octets(value)
    except CertificatesMalformed as error:
        return str(error)
    return ""


def certificates_fault(value: Value) -> str:
    """Return why a value is not the certificates of a member's authorities, or ""."""
    try:
        parse_certificates(value if isinstance(value, str) else "")
    except CertificatesMalformed as error:
        return str(error)
    return ""


def public_key_fault(value: Value) -> str:
    """Return why a value is no Ed25519 key that may be registered, or ""."""
    try:
        check_public_key(value if isinstance(value, bytes) else b"")
    except KeyRefused as error:
        return str(error)
    return ""


def sealing_key_fault(value: Value) -> str:
    """Return why nothing can be sealed to a value, or ""."""
    try:
        check_sealing_key(value if isinstance(value, bytes) else b"")
    except SealingKeyRefused as error:
        return str(error)
    return ""
