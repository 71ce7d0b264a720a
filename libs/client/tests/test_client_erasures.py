"""Where the statements about an erasure are looked for."""

from __future__ import annotations

import itertools

import pytest

from cipherward_client.sdk.erasures import BLOCKS_AT_ONCE, from_both_ends


@pytest.mark.parametrize("count", [0, 1, BLOCKS_AT_ONCE, BLOCKS_AT_ONCE + 1, 1000])
def test_every_block_between_order_and_completion_is_searched_once(count: int) -> None:
    runs = list(from_both_ends(7, 6 + count))
    assert sorted(itertools.chain.from_iterable(runs)) == list(range(7, 7 + count))
    assert all(0 < len(run) <= BLOCKS_AT_ONCE for run in runs)


def test_the_search_begins_at_both_ends() -> None:
    first, second, third, *_ = from_both_ends(1, 1_000_000)
    assert (first.start, second.stop, third.start) == (1, 1_000_001, BLOCKS_AT_ONCE + 1)
