"""A data key goes to new holders: one leaves, one joins, and what was encrypted opens as before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cipherward_compute.keyring import KeyMissing
from cipherward_threshold.errors import ResultIsNoise, TooFewShares, WrongPoint

if TYPE_CHECKING:
    from conftest import Beginning, Run

pytestmark = pytest.mark.slow  # a resharing takes seconds

A, B, C, D, E = (f"hospital-{letter}" for letter in "abcde")
SOURCE = b"k" * 16


async def opens(run: Run, *names: str) -> None:
    assert await run.opened_by(*names) == [41, 42]


async def test_one_leaves_and_one_joins(before: Beginning) -> None:
    run = await before("both", None)
    old = {name: await run.share_of(name) for name in (A, B, C)}
    await run.hand_over()
    for names in ((B, C), (B, D), (C, D), (B, C, D)):
        await opens(run, *names)
    with pytest.raises(TooFewShares):
        await opens(run, D)
    with pytest.raises(KeyMissing):
        await run.share_of(A)
    assert all(run.left(name) == [] for name in (A, B, C, D))

    new = await run.share_of(D)
    with pytest.raises(WrongPoint):  # the old share names another sharing
        run.opened_with({A: old[A], D: new})
    for name in (B, C):  # and does not fit the new one, although it claims to
        with pytest.raises(ResultIsNoise):
            run.opened_with({name: run.of_sharing(old[name], new), D: new})


async def test_each_member_says_which_keys_it_holds(before: Beginning) -> None:
    run = await before("both", None)

    async def holding() -> set[str]:
        found = {name: await run.alliance.at[name].keys.held() for name in (A, B, C, D)}
        assert all(keys in ([], [SOURCE]) for keys in found.values())
        return {name for name, keys in found.items() if keys}

    assert await holding() == {A, B, C}
    await run.hand_over()
    assert await holding() == {B, C, D}


async def test_one_leaves_and_the_others_go_on(before: Beginning) -> None:
    run = await before("leaves", None)
    await run.hand_over()
    await opens(run, B, C)
    with pytest.raises(KeyMissing):
        await run.share_of(A)


async def test_one_joins_and_the_threshold_is_the_new_one(before: Beginning) -> None:
    run = await before("joins", None)
    await run.hand_over()
    await opens(run, A, B, D)
    await opens(run, B, C, D)
    with pytest.raises(TooFewShares):  # as many as decrypted before
        await opens(run, A, B)


async def test_a_new_holder_knows_key_and_columns_as_the_others_do(before: Beginning) -> None:
    run = await before("both", None)
    joined, other = run.alliance.at[D], run.alliance.at[B]
    assert await joined.keyring.find(SOURCE) is None
    await run.hand_over()
    assert await joined.keyring.evaluation_key(SOURCE) == b"an evaluation key"
    assert (await joined.keyring.ceremony(SOURCE)).public_key == run.made.public_key
    assert (await joined.keys.data_key(SOURCE)).text == (await other.keys.data_key(SOURCE)).text
    assert await joined.keys.slots(SOURCE) == await other.keys.slots(SOURCE)
    assert await joined.manifests.all(SOURCE) == await other.manifests.all(SOURCE)
    for member in (A, B, C):  # it has verified none of their proofs yet
        assert not await joined.manifests.is_proven(SOURCE, member, 0)
        assert await other.manifests.is_proven(SOURCE, member, 0)
    await joined.manifests.proven(SOURCE, A, 0)
    assert await joined.manifests.is_proven(SOURCE, A, 0)
    assert not await joined.manifests.is_proven(SOURCE, B, 0)


async def test_the_block_that_hands_over_takes_the_old_share_with_it(before: Beginning) -> None:
    run = await before("both", None)
    old = await run.share_of(B)
    await run.block(run.hand_over_order())  # no task has run yet
    assert await run.share_of(B) != old
    with pytest.raises(KeyMissing):
        await run.share_of(A)


async def test_an_order_that_comes_again_does_nothing(before: Beginning) -> None:
    run = await before("both", None)
    order = await run.hand_over()
    shares = {name: await run.share_of(name) for name in (B, C, D)}
    await run.block(order)  # of a block that was applied
    await run.hand_over()  # in another block
    assert {name: await run.share_of(name) for name in (B, C, D)} == shares


async def test_a_hand_over_of_what_has_ended_changes_nothing(before: Beginning) -> None:
    run = await before("both", None)
    await run.end("failed")
    await run.hand_over()
    await opens(run, A, B)
    assert await run.alliance.at[D].keyring.find(SOURCE) is None
    assert all(run.left(name) == [] for name in (A, B, C, D))


async def test_a_second_resharing_begins_with_the_new_holders_and_supersedes_the_first(
    before: Beginning,
) -> None:
    run = await before("both", None)
    await run.hand_over()
    second = replace(
        run,
        plan=replace(
            run.plan, holders=(B, C, D), dealers=(C, D), new=(C, D, E), threshold=3, study=b"2" * 16
        ),
        commitments={},
        checks={},
        shares={},
    )
    await second.take("ready", "deal", "answer", "confirm", "test", "open")
    await second.hand_over()
    await opens(second, C, D, E)
    with pytest.raises(KeyMissing):
        await second.share_of(B)
    first = replace(run, height=second.height)
    await first.end("key-ended")  # as a use of the key, which has not ended itself
    await opens(second, C, D, E)
    ended = replace(second, height=first.height)
    await ended.end("key-ended")
    for name in (C, D, E):
        assert await run.alliance.at[name].keyring.find(SOURCE) is None


async def test_a_member_that_was_handed_the_key_and_leaves_forgets_all_of_it(
    before: Beginning,
) -> None:
    run = await before("both", None)
    await run.hand_over()
    second = replace(
        run,
        plan=replace(run.plan, holders=(B, C, D), dealers=(C, D), new=(B, C), study=b"2" * 16),
        commitments={},
        checks={},
        shares={},
    )
    await second.take("ready", "deal", "answer", "confirm", "test", "open")
    await second.hand_over()
    await opens(second, B, C)
    for table in ("ceremonies", "data_keys", "registrations", "column_manifests"):
        assert not run.alliance.sql(D, f"SELECT 1 FROM {table} WHERE study = ?", SOURCE)
        if table != "ceremonies":  # a first member keeps what it knows until the key ends
            assert run.alliance.sql(A, f"SELECT 1 FROM {table} WHERE study = ?", SOURCE)


async def test_the_end_of_a_sharing_in_force_ends_the_key(before: Beginning) -> None:
    run = await before("both", None)
    await run.hand_over()
    await run.end("retired")
    for name in (A, B, C, D):
        assert await run.alliance.at[name].keyring.find(SOURCE) is None
    for name in (B, C, D):
        assert await run.alliance.at[name].manifests.all(SOURCE) == {}
