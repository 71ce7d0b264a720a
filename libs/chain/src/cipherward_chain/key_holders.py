"""Who holds a data key since it was handed over, as the state holds it.

| state key | value |
|---|---|
| key_holders/DATA KEY (its contract's id) | KeyHolders |

There is no such entry before the first hand-over: then the key's own terms say who holds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cipherward_chain.acts import ID_BYTES
from cipherward_chain.canonical import NotCanonical, decode, encode
from cipherward_chain.errors import ChainError
from cipherward_chain.fields import Fields

KEY_HOLDERS: Final = b"key_holders/"
_CACHED = 64  # keys in use at once: a handful


class KeyHoldersMalformed(ChainError):
    """Bytes are not the entry of a data key's holders."""

    reason = "KEY_HOLDERS_MALFORMED"


@dataclass(frozen=True, slots=True)
class KeyHolders:
    """The sharing of a data key that is in force.

    members: who has a share, sorted; some may have left the alliance since. threshold: how many
    decrypt, 1 to the number of members. sharing: the contract (16 bytes) that handed the key over
    to them; empty for the members that made the key.
    """

    members: tuple[str, ...]
    threshold: int
    sharing: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the canonical value."""
        return encode(
            {"members": self.members, "threshold": self.threshold, "sharing": self.sharing}
        )

    @staticmethod
    @lru_cache(_CACHED)
    def from_bytes(raw: bytes) -> KeyHolders:
        """Return the entry that `raw` holds, or raise `KeyHoldersMalformed`."""
        try:
            fields = Fields(decode(raw))
            found = KeyHolders(
                members=fields.texts("members"),
                threshold=fields.integer("threshold", minimum=1),
                sharing=fields.octets("sharing", length=ID_BYTES),
            )
            fields.end()
        except NotCanonical as error:
            raise KeyHoldersMalformed(f"not the entry of a key's holders: {error}") from error
        in_order = found.members == tuple(sorted(set(found.members)))
        if found.threshold > len(found.members) or not in_order:
            raise KeyHoldersMalformed("not the entry of a key's holders")
        return found


def key_holders_key(data_key: bytes) -> bytes:
    """Return the state key of who holds a data key; `data_key` is its contract's id."""
    return KEY_HOLDERS + data_key
