"""After others came or left, a member is told which of its data keys are to be handed over."""

from __future__ import annotations

import pytest

from cipherward_chain.key_holders import KeyHolders
from cipherward_client.alliance.left_to_do import data_key_due
from cipherward_client.sdk.data_keys import READY, DataKey

ME = "hospital-a"
FOUR = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")


def held(state: str = READY) -> DataKey:
    return DataKey(
        bytes(16),
        state,
        data_set="diabetes",
        year=2026,
        members=FOUR,
        holders=KeyHolders(FOUR, 3),
        minimum=10,
        releases_max=1000,
        enrol_until=0,
        expires=0,
    )


def test_a_key_that_the_members_of_now_hold_needs_nothing() -> None:
    assert data_key_due(held(), ME, FOUR) == ""


def test_a_key_of_somebody_who_left_is_to_be_handed_over() -> None:
    due = data_key_due(held(), ME, FOUR[:3])
    assert "hospital-d holds it and is gone" in due
    assert due.endswith(f"cipherward study key reshare {bytes(16).hex()} --member hospital-a")


def test_who_joined_may_be_let_in() -> None:
    due = data_key_due(held(), ME, (*FOUR, "hospital-e"))
    assert due.startswith("let hospital-e hold the data key of diabetes, 2026 too")


def test_one_who_left_goes_before_one_who_joined() -> None:
    due = data_key_due(held(), ME, (*FOUR[:3], "hospital-e"))
    assert "is gone" in due


def test_a_key_that_too_few_are_left_of_is_said_to_be_lost() -> None:
    due = data_key_due(held(), ME, FOUR[:2])
    assert "2 of its holders are left, 3 would have to hand it over" in due


@pytest.mark.parametrize("state", ["proposed", "committing", "enrolling", "failed", "retired"])
def test_a_key_that_is_not_ready_is_not_handed_over(state: str) -> None:
    assert data_key_due(held(state), ME, FOUR[:3]) == ""
