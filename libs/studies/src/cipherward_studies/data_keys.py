"""Which data key a study of stored columns is computed under, as its document names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from cipherward_chain.acts import DIGEST_BYTES, ID_BYTES
from cipherward_chain.canonical import Value
from cipherward_studies.errors import Fault
from cipherward_studies.forms import ABSENT, Form, Schema, Text, map_schema, read_map
from cipherward_studies.number_forms import Integer

_KEY: tuple[Form, ...] = (
    Text("id", f"[0-9a-f]{{{2 * ID_BYTES}}}", "the id of a data key in hexadecimal"),
    Text("key_digest", f"[0-9a-f]{{{2 * DIGEST_BYTES}}}", "the digest of a key in hexadecimal"),
    Integer("releases_max", 2, 10_000),
)


@dataclass(frozen=True, slots=True)
class NamedDataKey:
    """A data key as its members tell researchers of it; the chain holds them to it.

    Attributes:
        key_digest: of its public key. releases_max: as in its terms.
    """

    id: bytes
    key_digest: bytes
    releases_max: int


@dataclass(frozen=True, slots=True)
class DataKeyForm:
    """The entry that names a data key; None, or no entries, for a study over rows."""

    name: str
    default: Any = None

    def read(self, value: object, at: str, faults: list[Fault]) -> Any:
        """Return the key, or None."""
        if value is None or value == {}:
            return None
        before = len(faults)
        entries = read_map(_KEY, value, at, faults)
        if entries is None or len(faults) > before:
            return ABSENT
        return NamedDataKey(
            bytes.fromhex(entries["id"]),
            bytes.fromhex(entries["key_digest"]),
            entries["releases_max"],
        )

    def value(self, read: Any) -> Value:
        """Return the canonical map, empty for None."""
        key = cast("NamedDataKey | None", read)
        if key is None:
            return {}
        return {
            "id": key.id.hex(),
            "key_digest": key.key_digest.hex(),
            "releases_max": key.releases_max,
        }

    def schema(self) -> Schema:
        """Return the map's schema; no entries are no key."""
        return {"anyOf": [{"type": "object", "maxProperties": 0}, map_schema(_KEY)]}
