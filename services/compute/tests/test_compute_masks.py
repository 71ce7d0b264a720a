"""What a mask of a use is bound to, and by which weights it is checked."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from cipherward_chain.batches import packed
from cipherward_compute.arithmetic.inference import Answered, opened_scores
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.inference.masks import (
    CHECKS,
    Mask,
    mask_commitment,
    mask_context,
    mask_weights,
    parse_mask,
)
from cipherward_compute.instructions import Asked, Shared, StartStudy
from cipherward_member.reports import OrderKey

KEY = b"a one-time key"
ORDER = StartStudy(
    Shared(OrderKey(7, 0), b"s" * 16, ("hospital-a", "hospital-b"), "risk-score"),
    "counts",
    "verify",
    Asked(2, 10, b"m" * 32, "cohort-1", ("risk_score",), hashlib.sha256(KEY).digest(), b"k" * 32),
    1,
    b"r" * 32,
    {},
    {},
    b"",
)
OTHERS = [
    replace(ORDER, round=2),
    replace(ORDER, iterate=b"q" * 32),
    replace(ORDER, shared=replace(ORDER.shared, study=b"t" * 16)),
]
MASK = Mask((b"one", b"two"), b"proof", KEY)


async def test_a_commitment_and_a_proof_are_good_in_one_use_only() -> None:
    octets = MASK.to_bytes()
    made = {await mask_commitment(order, octets) for order in (ORDER, *OTHERS)}
    assert len(made) == 1 + len(OTHERS)
    model = replace(ORDER, asked=replace(ORDER.asked, spec_digest=b"n" * 32))
    contexts = {mask_context("chain", "hospital-a", one) for one in (ORDER, *OTHERS, model)}
    contexts |= {mask_context("chain", "hospital-b", ORDER), mask_context("c", "hospital-a", ORDER)}
    assert len(contexts) == 4 + len(OTHERS)


def test_every_check_of_every_block_has_two_different_weights_that_follow_the_commitment() -> None:
    found = [
        pair
        for order in (ORDER, *OTHERS)
        for commitment in (b"c" * 32, b"d" * 32)
        for block in range(4)
        for pair in mask_weights(order, commitment, block)
    ]
    assert len(set(found)) == len(found) == 4 * 2 * 4 * CHECKS
    assert all(first != second for first, second in found)
    assert all(1 <= weight < 1 << 32 for pair in found for weight in pair)


@pytest.mark.parametrize(
    ("octets", "blocks"),
    [
        (b"", 2),
        (MASK.to_bytes(), 1),
        (MASK.batch, 2),
        (Mask((b"one", b"two"), b"proof", b"another key").to_bytes(), 2),
    ],
)
def test_a_mask_in_another_form_or_for_another_key_is_its_hospitals_fault(
    octets: bytes, blocks: int
) -> None:
    with pytest.raises(PeerWrong, match="hospital-a"):
        parse_mask("hospital-a", octets, ORDER, blocks)


@pytest.mark.parametrize("part", [b"?", packed([b"one", b"two"]), packed([b"one"], [b"two"])])
def test_a_part_of_the_scores_in_another_form_is_its_members_fault(part: bytes) -> None:
    answered = Answered("product-1", bytes(32), packed([b"sum"]), {"hospital-b": part}, [1], (1, 1))
    with pytest.raises(PeerWrong, match="hospital-b"):
        opened_scores(answered)


def test_a_mask_reads_as_what_was_sent() -> None:
    assert parse_mask("hospital-a", MASK.to_bytes(), ORDER, 2) == MASK
