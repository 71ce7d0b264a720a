"""Batches of ciphertexts: what is packed comes back, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from cipherward_chain.batches import (
    CHUNK_BYTES_MAX,
    BatchMalformed,
    chunks_of,
    ciphertext_places,
    packed,
    unpacked,
)
from cipherward_chain.domains import batch_digest


def test_what_was_packed_comes_back() -> None:
    assert unpacked(packed([b"one", b""], [b"proof"])) == ((b"one", b""), (b"proof",))
    assert unpacked(packed([b"one"])) == ((b"one",), ())


def test_the_ciphertexts_are_where_their_places_say() -> None:
    octets = packed([b"one", b"", b"three"], [b"proof"])
    assert [octets[place] for place in ciphertext_places(octets)] == [b"one", b"", b"three"]


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\0",
        b"\1",
        b"\x09" + b"\0\0\0\0" * 9,
        b"\2\0\0\0\1a",
        b"\1\0\0\0\2a",
        b"\1\0\0\0",
        b"\1\0\0\0\1a\0",
        b"\1" + b"\0\0\0\0" * 17,
    ],
)
def test_what_is_no_batch_is_refused(octets: bytes) -> None:
    with pytest.raises(BatchMalformed):
        unpacked(octets)
    with pytest.raises(BatchMalformed):
        ciphertext_places(octets)


@pytest.mark.parametrize("count", [0, 9])
def test_a_batch_has_one_to_eight_ciphertexts(count: int) -> None:
    with pytest.raises(BatchMalformed):
        packed([b"c"] * count)


def test_chunks_are_bounded_and_add_up() -> None:
    octets = bytes(range(256)) * 10_000
    pieces = list(chunks_of(octets))
    assert b"".join(pieces) == octets
    assert {len(piece) for piece in pieces[:-1]} == {CHUNK_BYTES_MAX}
    assert list(chunks_of(b"")) == [b""]


def test_the_name_of_a_batch_depends_on_the_order() -> None:
    one, two = b"1" * 32, b"2" * 32
    assert len({batch_digest([one, two]), batch_digest([two, one]), batch_digest([one])}) == 3
