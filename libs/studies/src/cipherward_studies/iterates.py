"""The iterate of a later round: the parameters of every analysis that goes on.

Canonical CBOR {"parameters": [...]}: for each analysis of the study an array, empty when it has
finished, else of one byte string. Content-addressed by its SHA-256; anybody may have written it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from cipherward_chain.canonical import NotCanonical, decode_map, encode
from cipherward_chain.fields import Fields
from cipherward_studies.errors import IterateRefused

ITERATE_BYTES_MAX = 64 * 1024  # as PutIterate takes; 64 variables' coefficients have below 1,000


def iterate_octets(parameters: Sequence[bytes | None]) -> bytes:
    """Return the iterate in which each analysis has its parameters, or None when finished."""
    return encode({"parameters": [[] if one is None else [one] for one in parameters]})


def parse_iterate(octets: bytes, analyses: int) -> list[bytes | None]:
    """Return each analysis' parameters, None for one that has finished.

    Raises:
        IterateRefused: not such an iterate, or one in which nothing goes on.
    """
    if len(octets) > ITERATE_BYTES_MAX:
        raise IterateRefused("an iterate is too long", bytes_max=ITERATE_BYTES_MAX)
    try:
        fields = Fields(decode_map(octets))
        items = fields.items("parameters")
        fields.end()
    except NotCanonical as error:
        raise IterateRefused(f"the iterate: {error}") from None
    if len(items) != analyses:
        raise IterateRefused("the iterate has another number of analyses", need=analyses)
    found: list[bytes | None] = []
    for item in items:
        entry = cast("list[object]", item) if isinstance(item, list) else [item, item]
        if not entry:
            found.append(None)
        elif len(entry) == 1 and isinstance(entry[0], bytes) and entry[0]:
            found.append(entry[0])
        else:
            raise IterateRefused("the iterate has parameters that are none")
    if all(one is None for one in found):
        raise IterateRefused("the iterate asks for nothing")
    return found
