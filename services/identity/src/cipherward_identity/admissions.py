"""Admission: a desk has seen a person, and gives that person a code for one credential.

A code is HMAC(desk key; request id, salt): 160 bits, never stored, and the same again for the same
request id. At rest are its hash and the salt; without the desk key neither gives a code. The salt
goes when an unused admission expires, so that no code ever comes to life a second time.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import uuid
from collections.abc import Mapping

import grpc

from cipherward_anoncred.schema import SHIPPED_SCHEMAS, attribute
from cipherward_chain import domains
from cipherward_identity.desk_key import DeskKey
from cipherward_identity.follow import ChainClock
from cipherward_identity.issuer import OwnIssuer
from cipherward_identity.store import Admission, AdmissionConflict, IdentityStore, StoreFull
from cipherward_kit.errors import ServiceError

CODE_BYTES = 20  # 160 bits: nobody guesses one, and Base32 has no padding (32 characters)
CODE_GROUP = 4  # characters between hyphens: a person may have to type it
CODE_TEXT_MAX = 64  # far above 32 characters and 7 hyphens; bounds what is decoded
SALT_BYTES = 16
ADMISSION_SECONDS = 24 * 3600  # a code is handed over in person and used the same day
# Unused codes at once: the largest hospitals admit some thousands of people a day.
ADMISSIONS_OPEN_MAX = 10_000

ATTRIBUTE_KIND = "text"
STAFF_ROLES = frozenset(("clinician", "researcher", "dpo"))
PATIENT_ROLE = "patient"


class SchemaUnknown(ServiceError):
    """This issuer issues no credentials of that schema."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "SCHEMA_UNKNOWN"


class AttributesDiffer(ServiceError):
    """The attributes are not those of the schema, or a value is not in its closed list."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "ATTRIBUTES_DIFFER"


class RequestIdMalformed(ServiceError):
    """The request id is not a UUID in its canonical text form."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "REQUEST_ID_MALFORMED"


class RequestIdReused(ServiceError):
    """The request id stands for another admission."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "REQUEST_ID_REUSED"


class AdmissionsFull(ServiceError):
    """As many codes as the bound allows are out and unused; they expire within a day."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ADMISSIONS_FULL"


class AdmissionUnknown(ServiceError):
    """No admission has that request id: it never was, or its code expired unused."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "ADMISSION_UNKNOWN"


def format_code(code: bytes) -> str:
    """Return the text of a code: Base32 in lower case, in groups of four."""
    text = base64.b32encode(code).decode().lower()
    return "-".join(text[at : at + CODE_GROUP] for at in range(0, len(text), CODE_GROUP))


def hash_of_code(text: str) -> bytes | None:
    """Return under which hash the code of that text stands, or None if it is no code's text."""
    if len(text) > CODE_TEXT_MAX:
        return None
    try:
        code = base64.b32decode(text.replace("-", "").strip().upper())
    except ValueError:  # not Base32
        return None
    return _hash(code) if len(code) == CODE_BYTES else None


def parse_request_id(text: str) -> bytes:
    """Return the 16 bytes of a UUID in canonical text form, or raise `RequestIdMalformed`."""
    try:
        parsed = uuid.UUID(text)
    except ValueError:
        parsed = None
    if parsed is None or str(parsed) != text:
        raise RequestIdMalformed("request_id must be a UUID, in lower case and with hyphens")
    return parsed.bytes


def attributes_of(schema: str, given: Mapping[str, str], member: str) -> tuple[bytes, ...]:
    """Return the attribute octets that will be signed, by ascending index.

    Attributes with only one possible value (`member` of staff, `role` of patients) may be left out.

    Raises:
        AttributesDiffer: another attribute, or a value that the schema does not allow.
    """
    allowed = {
        "staff": {"member": frozenset((member,)), "role": STAFF_ROLES},
        "patient": {"role": frozenset((PATIENT_ROLE,))},
    }[schema]
    for name in given.keys() - allowed.keys():
        raise AttributesDiffer(f"schema {schema} has no attribute {name}", schema=schema)
    values: list[bytes] = []
    for name in SHIPPED_SCHEMAS[schema].attributes:
        choices = allowed[name]
        value = given.get(name, next(iter(choices)) if len(choices) == 1 else "")
        if value not in choices:
            listed = ", ".join(sorted(choices))
            raise AttributesDiffer(
                f"attribute {name} of schema {schema} must be one of: {listed}",
                schema=schema,
                attribute=name,
            )
        values.append(attribute(name, ATTRIBUTE_KIND, value))
    return tuple(values)


class Admissions:
    """Hands out codes."""

    def __init__(
        self,
        issuer: OwnIssuer,
        desk_key: DeskKey,
        store: IdentityStore,
        clock: ChainClock,
        *,
        open_max: int = ADMISSIONS_OPEN_MAX,
    ) -> None:
        self._issuer = issuer
        self._desk_key = desk_key
        self._store = store
        self._clock = clock
        self._open_max = open_max

    async def admit(self, request_id: str, schema: str, attributes: Mapping[str, str]) -> str:
        """Return the code of a new admission, or of the same one again.

        Raises:
            RequestIdMalformed, SchemaUnknown, AttributesDiffer: the request is not well formed.
            RequestIdReused: the id stands for an admission with another schema or attributes.
            AdmissionsFull: too many codes are out.
        """
        identifier = parse_request_id(request_id)
        if schema not in self._issuer.schemas:
            listed = ", ".join(sorted(self._issuer.schemas))
            raise SchemaUnknown(f"this issuer issues: {listed}", issuer=self._issuer.member)
        signed = attributes_of(schema, attributes, self._issuer.member)
        salt = secrets.token_bytes(SALT_BYTES)
        now = self._clock.now()
        wanted = Admission(
            request_id=identifier,
            salt=salt,
            code_hash=_hash(self._code(identifier, salt)),
            schema=schema,
            attributes=signed,
            expires_at=now + ADMISSION_SECONDS,
        )
        try:
            kept = await self._store.admit(wanted, now=now, open_max=self._open_max)
        except AdmissionConflict:
            raise RequestIdReused("this request_id stands for another admission") from None
        except StoreFull:
            raise AdmissionsFull(
                f"{self._open_max} codes are out and unused", open_max=self._open_max
            ) from None
        return format_code(self._code(identifier, kept.salt))

    def _code(self, request_id: bytes, salt: bytes) -> bytes:
        return self._desk_key.mac(domains.IDENTITY_ADMISSION_CODE, request_id, salt)[:CODE_BYTES]


def _hash(code: bytes) -> bytes:
    return hashlib.sha256(domains.IDENTITY_CODE_HASH + code).digest()
