"""Ciphertexts that travel together: one byte string of several, sent in chunks.

| part | bytes |
|---|---|
| how many ciphertexts | 1 |
| each item: its length, big-endian | 4 |
| the item | that many |

The items are the ciphertexts, then what belongs to them: a proof, or a share of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cipherward_chain.errors import ChainError
from cipherward_chain.wire import length_prefixed

CIPHERTEXTS_MAX = 8  # one proof covers as many, and no plan needs more
# A gRPC message has at most 4 MiB; smaller pieces keep other calls of the connection moving.
CHUNK_BYTES_MAX = 1 << 20
# Eight ciphertexts of 16,384 coefficients and five 60-bit primes are 10.5 MB, their shares as much.
BATCH_BYTES_MAX = 32 << 20


class BatchMalformed(ChainError):
    """Bytes are not a batch of ciphertexts."""

    reason = "BATCH_MALFORMED"


def packed(ciphertexts: Sequence[bytes], others: Sequence[bytes] = ()) -> bytes:
    """Return the batch; `ciphertexts` are 1 to 8."""
    if not 1 <= len(ciphertexts) <= CIPHERTEXTS_MAX:
        raise BatchMalformed(f"a batch has 1 to {CIPHERTEXTS_MAX} ciphertexts")
    head = bytes((len(ciphertexts),))
    return head + b"".join(map(length_prefixed, (*ciphertexts, *others)))


def unpacked(octets: bytes) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the ciphertexts of a batch, and what stands behind them.

    Raises:
        BatchMalformed: it is none.
    """
    count, places = _places(octets)
    items = [octets[place] for place in places]
    return tuple(items[:count]), tuple(items[count:])


def ciphertext_places(octets: bytes) -> tuple[slice[int, int, None], ...]:
    """Return where the ciphertexts of a batch are: `octets[place]` is one.

    Whoever adds the batches of many members, a ciphertext at a time, holds no second copy of all.

    Raises:
        BatchMalformed: it is none.
    """
    count, places = _places(octets)
    return tuple(places[:count])


def _places(octets: bytes) -> tuple[int, list[slice[int, int, None]]]:
    """Return how many items are ciphertexts, and where each item is.

    Raises:
        BatchMalformed: the octets are no batch.
    """
    if not octets or not 1 <= octets[0] <= CIPHERTEXTS_MAX or len(octets) > BATCH_BYTES_MAX:
        raise BatchMalformed("not a batch of ciphertexts")
    count, at = octets[0], 1
    places: list[slice[int, int, None]] = []
    while at < len(octets):
        end = at + 4 + int.from_bytes(octets[at : at + 4], "big")
        if len(octets) < max(end, at + 4) or len(places) >= 2 * CIPHERTEXTS_MAX:
            raise BatchMalformed("a batch is cut off, or has too many items")
        places.append(slice(at + 4, end))
        at = end
    if len(places) < count:
        raise BatchMalformed("a batch has fewer items than it says")
    return count, places


def chunks_of(octets: bytes) -> Iterator[bytes]:
    """Yield the pieces of a byte string, at least one."""
    for at in range(0, max(1, len(octets)), CHUNK_BYTES_MAX):
        yield octets[at : at + CHUNK_BYTES_MAX]
