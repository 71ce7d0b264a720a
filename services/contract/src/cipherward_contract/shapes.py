"""The canonical form of maps that always have the same keys, in a third of the time.

A block writes thousands of entries of a few kinds: what of their form is the same every time is
encoded once. The bytes are those of `cipherward_chain.canonical.encode`; a test holds the two
together.
"""

from __future__ import annotations

from functools import lru_cache

from cipherward_chain.canonical import Value, encode

NAMES_MAX = 23  # a map with more has a longer head
CACHED_MAX = 4_096  # heights, times and names of a block: the same ones again and again


class Shape:
    """A map with fixed keys."""

    __slots__ = ("_head", "_places")

    def __init__(self, *names: str) -> None:
        """Name the keys, in the order in which `encode` is given their values.

        Raises:
            ValueError: a name twice, or more than NAMES_MAX.
        """
        if len(set(names)) != len(names) or len(names) > NAMES_MAX:
            raise ValueError(f"a shape has at most {NAMES_MAX} names, each once")
        self._head = bytes((encode({})[0] | len(names),))
        self._places = sorted((encode(name), place) for place, name in enumerate(names))

    def encode(self, *values: Value) -> bytes:
        """Return the canonical bytes of the map, or raise `NotCanonical`."""
        out = [self._head]
        for key, place in self._places:
            value = values[place]
            out.append(key)
            if isinstance(value, bytes):
                out.append(_bytes_head(len(value)))
                out.append(value)
            elif isinstance(value, (int, str)):
                out.append(_scalar(value))
            else:
                out.append(encode(value))
        return b"".join(out)


@lru_cache(CACHED_MAX)
def _bytes_head(length: int) -> bytes:
    octets = encode(bytes(length))
    return octets[: len(octets) - length]


@lru_cache(CACHED_MAX, typed=True)  # True and 1 are equal and have two forms
def _scalar(value: int | str) -> bytes:
    return encode(value)
