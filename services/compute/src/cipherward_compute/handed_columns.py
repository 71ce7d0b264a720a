"""What a new holder of a data key is handed about its columns, as a message between members.

It is canonical CBOR; whoever gets it holds it against what the chain says (`ceremony.handing`).

| field | value |
|---|---|
| text | of the columns |
| slots | the pseudonyms, ascending, one behind the other |
| lists | of each member's columns, by member |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cipherward_chain.authorization import PSEUDONYM_BYTES
from cipherward_chain.canonical import NotCanonical, decode_map, encode
from cipherward_chain.fields import Fields


@dataclass(frozen=True, slots=True)
class HandedColumns:
    """A data key's columns: their text, whose slots they have, and who has listed which."""

    text: bytes
    pseudonyms: tuple[bytes, ...] = field(repr=False)
    lists: Mapping[str, bytes]

    def to_bytes(self) -> bytes:
        """Return the message."""
        slots = b"".join(self.pseudonyms)
        return encode({"text": self.text, "slots": slots, "lists": dict(self.lists)})

    @classmethod
    def parse(cls, octets: bytes) -> HandedColumns:
        """Return what a message hands over.

        Raises:
            NotCanonical: it is none.
        """
        fields = Fields(decode_map(octets))
        text, slots, lists = fields.octets("text"), fields.octets("slots"), fields.mapping("lists")
        fields.end()
        if len(slots) % PSEUDONYM_BYTES:
            raise NotCanonical("field slots holds more than pseudonyms")
        found = {name: value for name, value in lists.items() if isinstance(value, bytes)}
        if len(found) != len(lists):
            raise NotCanonical("field lists holds more than octets")
        pseudonyms = tuple(
            slots[at : at + PSEUDONYM_BYTES] for at in range(0, len(slots), PSEUDONYM_BYTES)
        )
        return cls(text, pseudonyms, found)
