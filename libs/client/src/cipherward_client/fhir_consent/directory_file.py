"""The directory as a file: what a hospital's system writes beside a FHIR Consent.

JSON: {"records": {reference: hex id}, "grantees": {reference: "MEMBER" or "MEMBER/HEX"},
"representatives": {reference: hex key}}; each part may be left out.
"""

from __future__ import annotations

from collections.abc import Collection

from cipherward_chain.json_fields import JsonFields, JsonMalformed
from cipherward_client.fhir_consent.directory import (
    KEY_BYTES,
    RECORD_ID_BYTES,
    Directory,
    Grantee,
)


class DirectoryMalformed(ValueError):
    """The file is not a directory; says where."""

    reason = "DIRECTORY_MALFORMED"


def parse_directory(octets: bytes, all_records: Collection[bytes]) -> Directory:
    """Return the directory in a file.

    Args:
        all_records: what a Consent without `data` is about.

    Raises:
        DirectoryMalformed: it is out of form.
    """
    try:
        top = JsonFields.parse(octets, "directory")
        found = Directory(
            records={name: _octets(text, RECORD_ID_BYTES) for name, text in _texts(top, "records")},
            grantees={name: _grantee(text) for name, text in _texts(top, "grantees")},
            representatives={
                name: _octets(text, KEY_BYTES) for name, text in _texts(top, "representatives")
            },
            all_records=frozenset(all_records),
        )
        top.end()
    except (JsonMalformed, ValueError) as error:
        raise DirectoryMalformed(str(error)) from error
    return found


def _texts(top: JsonFields, name: str) -> list[tuple[str, str]]:
    if not top.has(name):
        return []
    part = top.object(name)
    found = [(reference, part.text(reference)) for reference in part.names()]
    part.end()
    return found


def _octets(text: str, length: int) -> bytes:
    found = bytes.fromhex(text)
    if len(found) != length:
        raise DirectoryMalformed(f"{text!r} has not {length} bytes")
    return found


def _grantee(text: str) -> Grantee:
    member, _, digits = text.partition("/")
    return Grantee(member, _octets(digits, KEY_BYTES) if digits else b"")
