"""Verdicts on opened counts: what fails the study, what fails a cell, and what goes with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cipherward_chain.canonical import encode
from cipherward_studies.analysis import Cell
from cipherward_studies.errors import (
    CohortTooSmall,
    ContributorsTooFew,
    CountsMalformed,
    VerdictMalformed,
)
from cipherward_studies.verdict import judge, left_out, parse_verdict, verdict_octets

ALONE = (Cell("a"), Cell("b"))
PARTITION = tuple(Cell(name, "all") for name in "abcd")


def test_a_cell_fails_when_the_others_have_fewer_than_the_minimum() -> None:
    assert judge(ALONE, [100, 4, 30, 30], [40, 1, 20, 21], 10) == (1,)
    assert judge(ALONE, [100, 4, 30, 30], [40, 1, 0, 0], 10) == ()


def test_an_empty_cell_fails_like_a_small_one() -> None:
    assert judge(ALONE, [100, 4, 0, 9], [40, 1, 0, 0], 10) == (0, 1)


def test_the_cohort_of_the_others_must_reach_the_minimum() -> None:
    assert judge((), [50, 3], [40, 1], 10) == ()
    with pytest.raises(CohortTooSmall):
        judge((), [49, 3], [40, 1], 10)


def test_two_contributors_are_too_few() -> None:
    with pytest.raises(ContributorsTooFew):
        judge((), [500, 2], [40, 1], 10)


def test_a_cell_that_would_follow_by_subtraction_takes_the_next_smallest_along() -> None:
    assert judge(PARTITION, [175, 3, 5, 80, 40, 50], [0, 0, 0, 0, 0, 0], 10) == (0, 2)
    assert judge(PARTITION, [169, 3, 6, 83, 5, 75], [0, 0, 0, 0, 0, 0], 10) == (0, 2)
    assert judge(PARTITION, [163, 3, 5, 80, 3, 75], [0, 0, 0, 0, 0, 0], 10) == (0, 2, 3)


def test_guardians_whose_own_parts_differ_hide_the_same_cells() -> None:
    counts = [175, 3, 5, 80, 40, 50]
    first = judge(PARTITION, counts, [30, 1, 0, 25, 0, 5], 10)
    second = judge(PARTITION, counts, [40, 1, 0, 0, 25, 15], 10)
    assert first == second == (0, 2)


def test_a_dominance_cell_needs_two_whole_ranges_beside_one_s_own() -> None:
    cells = (Cell("cost above 0", dominance=True),)
    assert judge(cells, [100, 3, 2_500], [10, 1, 500], 10) == ()
    assert judge(cells, [100, 3, 2_500], [10, 1, 501], 10) == (0,)


@pytest.mark.parametrize(
    ("counts", "own"),
    [
        ([100, 3, 5], [0, 0, 0, 0]),
        ([100, 3, 5, 5], [0, 0, 0]),
        ([100, 3, 5, 5, 5], [0, 0, 0, 0, 0]),
        ([100, 3, 5, 5], [101, 1, 0, 0]),
        ([100, 3, 5, 5], [10, 1, 6, 0]),
        ([100, 3, -1, 5], [10, 1, -1, 0]),
    ],
)
def test_counts_that_no_members_have_are_refused(counts: list[int], own: list[int]) -> None:
    with pytest.raises(CountsMalformed):
        judge(ALONE, counts, own, 10)


@given(
    parts=st.lists(
        st.lists(st.integers(0, 40), min_size=4, max_size=4), min_size=3, max_size=5
    ).filter(lambda parts: sum(map(sum, parts)) > 60),
)
def test_what_is_hidden_in_a_partition_holds_the_minimum_without_any_guardian(
    parts: list[list[int]],
) -> None:
    own = [[sum(part), int(sum(part) > 0), *part] for part in parts]
    counts = [sum(column) for column in zip(*own, strict=True)]
    verdicts: list[tuple[int, ...]] = []
    for mine in own:
        try:
            verdicts.append(judge(PARTITION, counts, mine, 10))
        except (CohortTooSmall, ContributorsTooFew):
            return
    hidden = left_out(verdicts)
    for mine in own:
        shown = [place for place in range(4) if place not in hidden]
        assert all(counts[2 + place] - mine[2 + place] >= 10 for place in shown)
        if hidden:
            assert sum(counts[2 + place] - mine[2 + place] for place in hidden) >= 10


def test_a_verdict_is_read_as_it_was_written() -> None:
    assert parse_verdict(verdict_octets((0, 3, 7)), 8) == (0, 3, 7)
    assert parse_verdict(verdict_octets(()), 0) == ()
    assert left_out([(1, 4), (), (0, 4)]) == (0, 1, 4)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\xff",
        encode({"failed": [3, 2]}),
        encode({"failed": [2, 2]}),
        encode({"failed": [8]}),
        encode({"failed": [-1]}),
        encode({"failed": [True]}),
        encode({"failed": ["0"]}),
        encode({"failed": [], "more": 1}),
    ],
)
def test_a_verdict_out_of_form_is_refused(octets: bytes) -> None:
    with pytest.raises(VerdictMalformed):
        parse_verdict(octets, 8)
