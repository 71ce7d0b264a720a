"""Certificates of authorities as the chain reads them: rules of our own, the same on every machine.

No parser of X.509 is asked: what it accepts changes with its version, and two answers on one chain
would be a fork. Whether TLS can use a certificate is for those who vote on it to see.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

CERTIFICATE_CHARACTERS_MAX: Final = 4_096  # an RSA-4096 authority takes about 2,000
# A member that changes its authority has the old and the new one for a while; twice that is room.
CERTIFICATES_MAX: Final = 4
_PEM: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----\n((?:[A-Za-z0-9+/=]{1,64}\n)+)-----END CERTIFICATE-----\n"
)
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0  # the first field of a certificate, which version 1 leaves out
# After it: serial number, algorithm, issuer and period stand before the subject (RFC 5280, 4.1).
_BEFORE_SUBJECT: Final = 4


class CertificatesMalformed(ValueError):
    """A text is not one to four distinct certificates in PEM; says what is wrong."""


def split_certificates(text: str) -> tuple[str, ...]:
    """Return the certificates of a text as they stand in it, or none if it holds anything else."""
    found = tuple(one[0] for one in _PEM.finditer(text))
    return found if "".join(found) == text else ()


def certificate_octets(text: str) -> bytes:
    """Return the DER of one certificate in PEM: one SEQUENCE of 128 bytes to 64 KiB.

    Raises:
        CertificatesMalformed: it is none.
    """
    found = _PEM.fullmatch(text) if len(text) <= CERTIFICATE_CHARACTERS_MAX else None
    try:
        octets = base64.b64decode(found[1].replace("\n", ""), validate=True) if found else b""
    except binascii.Error:
        octets = b""
    if not _is_one_sequence(octets):
        raise CertificatesMalformed("not one certificate in PEM")
    return octets


def parse_certificates(text: str) -> dict[bytes, bytes]:
    """Return the subjects of a text's certificates, each as it stands in DER, by their DER.

    Raises:
        CertificatesMalformed: not one to CERTIFICATES_MAX of them, one twice, or one without a
            subject.
    """
    parts = split_certificates(text[: CERTIFICATE_CHARACTERS_MAX * CERTIFICATES_MAX + 1])
    if not 0 < len(parts) <= CERTIFICATES_MAX:
        raise CertificatesMalformed(f"not 1 to {CERTIFICATES_MAX} certificates in PEM")
    found = {octets: _subject(octets) for octets in map(certificate_octets, parts)}
    if len(found) != len(parts):
        raise CertificatesMalformed("a certificate stands there twice")
    return found


def _is_one_sequence(octets: bytes) -> bool:
    if octets[:2] == b"\x30\x81":
        return len(octets) == 3 + octets[2] if len(octets) > 2 else False
    return octets[:2] == b"\x30\x82" and len(octets) == 4 + int.from_bytes(octets[2:4], "big")


def _subject(certificate: bytes) -> bytes:
    """Return a certificate's subject, a SEQUENCE with its tag and length."""
    _, at, end = _element(certificate, 0, len(certificate))
    _, at, end = _element(certificate, at, end)
    tag, _, _ = _element(certificate, at, end)
    for _ in range(_BEFORE_SUBJECT + (tag == _VERSION)):
        _, _, at = _element(certificate, at, end)
    tag, _, after = _element(certificate, at, end)
    if tag != _SEQUENCE:
        raise CertificatesMalformed("a certificate has no subject")
    return certificate[at:after]


def _element(octets: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Return the tag of the DER element at a place, and where its content begins and ends."""
    head = octets[at : min(end, at + 4)]
    extra = head[1] - 0x80 if len(head) > 1 and head[1] >= 0x80 else 0
    begin = at + 2 + extra
    if len(head) < 2 or extra > 2 or begin > end or (head[1] == 0x80):
        raise CertificatesMalformed("a certificate is not DER")
    length = int.from_bytes(octets[at + 2 : begin], "big") if extra else head[1]
    if begin + length > end:
        raise CertificatesMalformed("a certificate is not DER")
    return head[0], begin, begin + length
