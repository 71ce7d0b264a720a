"""A record opens whole, under its own key and in its own place, or not at all."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cipherward_chain.domains import record_key_commitment
from cipherward_client.records import chunks
from cipherward_client.records.chunks import CIPHERTEXT_CHUNK_BYTES, PLAINTEXT_CHUNK_BYTES
from cipherward_client.records.errors import (
    RecordCorrupt,
    RecordKeyWrong,
    RecordSuiteUnknown,
    RecordTooLarge,
    RecordTruncated,
)
from cipherward_client.records.keys import (
    RecordContext,
    check_record_key,
    new_custodian_part,
    record_key,
)

CONTEXT = RecordContext("test-chain", bytes(range(16)))
KEY = record_key(CONTEXT, bytes(32), bytes(32))


def seal(content: bytes, context: RecordContext = CONTEXT, key: bytes = KEY) -> bytes:
    return b"".join(chunks.seal_chunks(context, key, content))


def opened(ciphertext: bytes, context: RecordContext = CONTEXT, key: bytes = KEY) -> bytes:
    return chunks.open_chunks(context, key, ciphertext, ciphertext_bytes=len(ciphertext))


EDGES = [0, 1, 7, 8, 1000, PLAINTEXT_CHUNK_BYTES - 8, PLAINTEXT_CHUNK_BYTES - 7]


@pytest.mark.parametrize("length", [*EDGES, 3 * PLAINTEXT_CHUNK_BYTES + 5])
def test_what_was_sealed_comes_back(length: int) -> None:
    content = secrets.token_bytes(length)
    ciphertext = seal(content)
    assert len(ciphertext) == chunks.ciphertext_length(length)
    assert opened(ciphertext) == content


@pytest.mark.parametrize("cut", [1, 1000, CIPHERTEXT_CHUNK_BYTES - 1, CIPHERTEXT_CHUNK_BYTES + 1])
def test_a_ciphertext_that_comes_in_cut_anywhere_opens(cut: int) -> None:
    content = secrets.token_bytes(40 if cut == 1 else 3 * PLAINTEXT_CHUNK_BYTES + 5)
    ciphertext = seal(content)
    opener = chunks.ChunkOpener(CONTEXT, KEY, ciphertext_bytes=len(ciphertext))
    for start in range(0, len(ciphertext), cut):
        opener.feed(ciphertext[start : start + cut])
    assert opener.content() == content


def test_the_same_content_and_key_give_the_same_ciphertext_for_a_resumed_upload() -> None:
    assert seal(b"content") == seal(b"content")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**12))
def test_padding_adds_at_most_twelve_percent_and_never_shrinks(length: int) -> None:
    padded = chunks.padme(length)
    assert length <= padded <= length * 1.12 + 1
    assert chunks.padme(padded) == padded


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6))
def test_any_flipped_bit_is_refused(seed: int) -> None:
    ciphertext = bytearray(seal(b"a short record"))
    place = seed % (8 * len(ciphertext))
    ciphertext[place // 8] ^= 1 << place % 8
    with pytest.raises(RecordCorrupt):
        opened(bytes(ciphertext))


def test_a_ciphertext_shorter_than_anchored_is_truncated() -> None:
    ciphertext = seal(b"content")
    with pytest.raises(RecordTruncated):
        chunks.open_chunks(CONTEXT, KEY, ciphertext[:-1], ciphertext_bytes=len(ciphertext))


@pytest.mark.slow
def test_chunks_cannot_be_left_out_swapped_or_appended() -> None:
    ciphertext = seal(secrets.token_bytes(2 * PLAINTEXT_CHUNK_BYTES))
    first = ciphertext[:CIPHERTEXT_CHUNK_BYTES]
    second = ciphertext[CIPHERTEXT_CHUNK_BYTES : 2 * CIPHERTEXT_CHUNK_BYTES]
    rest = ciphertext[2 * CIPHERTEXT_CHUNK_BYTES :]
    for forged in (first + second, second + first + rest, first + first + rest, first + rest):
        with pytest.raises(RecordCorrupt):
            opened(forged)
    with pytest.raises(RecordCorrupt):
        chunks.open_chunks(CONTEXT, KEY, ciphertext + b"x", ciphertext_bytes=len(ciphertext))


@pytest.mark.parametrize(
    "other",
    [RecordContext("other-chain", bytes(range(16))), RecordContext("test-chain", bytes(16))],
)
def test_a_record_of_another_place_does_not_open(other: RecordContext) -> None:
    with pytest.raises(RecordCorrupt):
        opened(seal(b"content"), context=other)


def test_the_key_depends_on_its_part_and_its_place() -> None:
    part = new_custodian_part()
    elsewhere = RecordContext("test-chain", bytes(16))
    other = new_custodian_part()
    keys = {
        record_key(CONTEXT, part, other),
        record_key(elsewhere, part, other),
        record_key(CONTEXT, other, part),
        record_key(CONTEXT, bytes(32), other),
    }
    assert len(keys) == 4
    with pytest.raises(ValueError, match="32 bytes"):
        record_key(CONTEXT, part, b"")


def test_a_key_that_the_anchor_does_not_commit_to_is_named_wrong() -> None:
    commitment = record_key_commitment(CONTEXT.record_id, KEY)
    check_record_key(CONTEXT.record_id, KEY, commitment)
    with pytest.raises(RecordKeyWrong):
        check_record_key(CONTEXT.record_id, bytes(32), commitment)


def test_a_length_that_no_record_has_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(RecordTooLarge):
        chunks.ChunkOpener(CONTEXT, KEY, ciphertext_bytes=1 << 60)
    for length in (0, 16, 23):
        with pytest.raises(RecordCorrupt):
            chunks.ChunkOpener(CONTEXT, KEY, ciphertext_bytes=length)


@pytest.mark.parametrize("suite", [0, 1, 3])
def test_an_unknown_suite_is_refused(suite: int) -> None:
    with pytest.raises(RecordSuiteUnknown):
        RecordContext("test-chain", bytes(16), suite=suite)
