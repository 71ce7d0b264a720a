"""Resharings as a holder asks for one: the terms, what is shown, and what the commands say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import decode_map, encode
from cipherward_chain.key_holders import KeyHolders
from cipherward_client.cli.commands import run
from cipherward_client.sdk.data_keys import DataKey
from cipherward_client.sdk.resharings import (
    HoldersTooFew,
    ResharingRequest,
    ResharingUnreadable,
    resharing_of,
)

MADE_BY = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
ALLIANCE = ("hospital-a", "hospital-b", "hospital-c", "hospital-e", "hospital-f")  # d has left
KEY = DataKey(
    data_key=b"k" * 16,
    state="ready",
    data_set="cohort-1",
    year=2026,
    members=MADE_BY,
    holders=KeyHolders(MADE_BY, 3),
    minimum=10,
    releases_max=300,
    enrol_until=1,
    expires=2,
    key_digest=b"d" * 32,
)
REQUEST = ResharingRequest(KEY.data_key)


def contract(**changed: Any) -> pb.Contract:
    fields: dict[str, Any] = {
        "instance_id": b"r" * 16,
        "template": "key-resharing",
        "state": "handed_over",
        "terms": REQUEST.terms(KEY, ALLIANCE),
        "variables": encode({}),
    }
    return pb.Contract(**{**fields, **changed})


def test_those_who_are_left_of_the_holders_deal_to_the_whole_alliance() -> None:
    terms = decode_map(REQUEST.terms(KEY, ALLIANCE))
    assert terms["holders"] == ["hospital-a", "hospital-b", "hospital-c"]
    assert (terms["old_threshold"], terms["approvals"]) == (3, 3)
    assert (terms["members"], terms["threshold"]) == (sorted(ALLIANCE), 4)
    assert (terms["source"], terms["key_digest"]) == (KEY.data_key, KEY.key_digest)
    assert (terms["data_set"], terms["minimum"], terms["key_releases_max"]) == ("cohort-1", 10, 300)


def test_a_key_goes_to_those_who_are_named_and_by_as_many_votes_as_are_asked() -> None:
    named = replace(REQUEST, members=("hospital-f", "hospital-a", "hospital-e"), approvals=4)
    terms = decode_map(named.terms(KEY, (*ALLIANCE, "hospital-d")))
    assert terms["members"] == ["hospital-a", "hospital-e", "hospital-f"]
    assert (terms["threshold"], terms["approvals"]) == (3, 4)


def test_who_got_the_key_deals_it_the_next_time() -> None:
    held = KeyHolders(("hospital-c", "hospital-e", "hospital-f"), 3, b"s" * 16)
    terms = decode_map(REQUEST.terms(replace(KEY, holders=held), ALLIANCE))
    assert terms["holders"] == list(held.members)


def test_a_key_whose_holders_have_left_can_go_to_nobody() -> None:
    with pytest.raises(HoldersTooFew, match="2 of the key's holders"):
        REQUEST.terms(KEY, ("hospital-a", "hospital-b", "hospital-e"))


def test_a_resharing_is_shown_as_its_contract_stands() -> None:
    found = resharing_of(contract())
    assert (found.data_key, found.state) == (KEY.data_key, "handed_over")
    assert (found.holders, found.members) == (ALLIANCE[:3], ALLIANCE)
    assert (found.threshold, found.failure) == (4, "")
    failed = contract(state="failed", variables=encode({"failure": "HOLDERS_NOT_READY"}))
    assert resharing_of(failed).failure == "HOLDERS_NOT_READY"
    with pytest.raises(ResharingUnreadable, match="no resharing"):
        resharing_of(contract(template="data-key"))
    with pytest.raises(ResharingUnreadable, match="out of form"):
        resharing_of(contract(terms=b""))


@pytest.mark.parametrize(
    "words", [["reshare"], *(["resharing", verb] for verb in ("approve", "show", "withdraw"))]
)
def test_every_command_says_what_it_does(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["study", "key", *words, "--help"]) == 0
    assert "member" in capsys.readouterr().out
