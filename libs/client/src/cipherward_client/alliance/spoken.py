"""Fingerprints that people read to each other: base 32 in groups of four.

The alphabet is Douglas Crockford's: it has no I, L, O and U, and takes what is misheard or mistyped
for them as what was meant. Source: https://www.crockford.com/base32.html.
"""

from __future__ import annotations

from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BITS: Final = 5  # of a character
GROUP: Final = 4  # characters: what one remembers between reading and writing

# Eighty bits of work to make two documents with one fingerprint, 160 to match a given one: enough
# for what is compared by people, and eight groups instead of thirteen.
FINGERPRINT_BYTES: Final = 20

_HEARD = {character: value for value, character in enumerate(ALPHABET)} | {"I": 1, "L": 1, "O": 0}


class NotSpoken(ValueError):
    """A text is not so many octets in base 32."""

    reason = "FINGERPRINT_MALFORMED"


def spoken(octets: bytes) -> str:
    """Return octets, whose bits fill characters exactly, as groups of four characters."""
    count = len(octets) * 8 // BITS
    number = int.from_bytes(octets, "big")
    text = "".join(ALPHABET[number >> BITS * place & 31] for place in reversed(range(count)))
    return " ".join(text[start : start + GROUP] for start in range(0, count, GROUP))


def heard(text: str, length: int) -> bytes:
    """Return the octets that a text says; spaces, hyphens and case do not count.

    Raises:
        NotSpoken: it has another length or a character that stands for nothing.
    """
    characters = text.upper().replace(" ", "").replace("-", "")
    if len(characters) * BITS != length * 8 or not set(characters) <= _HEARD.keys():
        raise NotSpoken(f"not {length * 8 // BITS} characters of base 32")
    number = 0
    for character in characters:
        number = number << BITS | _HEARD[character]
    return number.to_bytes(length, "big")
