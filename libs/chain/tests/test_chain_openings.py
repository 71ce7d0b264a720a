"""Orders about shared keys and openings: read as they are written, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cipherward_chain.canonical import Value
from cipherward_chain.group_key_orders import SHARE_KEY, USE_SHARING, CeremonyOrder, SharingOrder
from cipherward_chain.group_keys import (
    OPENING,
    RECORD,
    GroupKeyEntry,
    GroupKeyMalformed,
    KeyHolder,
)
from cipherward_chain.openings import OPEN_IDENTITY, Warrant, WarrantMalformed
from cipherward_chain.orders import Order

CEREMONY = bytes(range(16))
BOTH = ("hospital-a", "hospital-b")
POINT = b"p" * 48
HOLDERS = tuple(KeyHolder(member, place, POINT, True) for place, member in enumerate(BOTH, 1))
ENTRY = GroupKeyEntry(RECORD, 3, 1, 2, POINT, HOLDERS, CEREMONY, 7)
NEW_KEY = CeremonyOrder(CEREMONY, OPENING, 1, 1, BOTH, BOTH, 2, 10, 5)
RESHARING = CeremonyOrder(CEREMONY, RECORD, 3, 2, BOTH, BOTH[:1], 2, 10, 5, ENTRY)
IN_FORCE = SharingOrder(CEREMONY, RECORD, 3, 2, 2, BOTH, BOTH[:1], POINT)
WARRANT: dict[str, Value] = {
    "warrant": CEREMONY,
    "scope": "duty:hospital-a:1",
    "pseudonym": bytes(48),
    "ciphertext": bytes(96),
    "opening_key": POINT,
    "key_epoch": 1,
    "sharing": 1,
    "threshold": 2,
    "guardians": list(BOTH),
    "recipient": "hospital-c",
    "recipient_key": bytes(1_216),
}


def order(instruction: str, arguments: dict[str, Value]) -> Order:
    made = Order(5, 0, CEREMONY, "a-template", instruction, arguments)
    return Order.from_bytes(made.to_bytes())


@pytest.mark.parametrize("said", [NEW_KEY, RESHARING])
def test_a_ceremonys_order_is_read_as_it_is_written(said: CeremonyOrder) -> None:
    assert CeremonyOrder.of(order(SHARE_KEY, said.arguments())) == said


def test_an_order_to_use_a_sharing_is_read_as_it_is_written() -> None:
    assert SharingOrder.of(order(USE_SHARING, IN_FORCE.arguments())) == IN_FORCE


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "study"},
        {"key_epoch": 0},
        {"ceremony": bytes(15)},
        {"members": []},
        {"members": ["hospital-a", "hospital-a"]},
        {"members": [f"hospital-{number}" for number in range(33)]},
        {"threshold": 0},
        {"more": 1},
    ],
)
def test_orders_about_keys_out_of_form_are_refused(changes: dict[str, Value]) -> None:
    with pytest.raises(GroupKeyMalformed):
        CeremonyOrder.of(order(SHARE_KEY, {**RESHARING.arguments(), **changes}))
    with pytest.raises(GroupKeyMalformed):
        SharingOrder.of(order(USE_SHARING, {**IN_FORCE.arguments(), **changes}))


def test_a_resharing_of_no_key_is_refused() -> None:
    with pytest.raises(GroupKeyMalformed):
        CeremonyOrder.of(order(SHARE_KEY, {**RESHARING.arguments(), "old": b"no entry"}))


def test_a_warrant_is_read_as_it_was_ordered() -> None:
    found = Warrant.of(order(OPEN_IDENTITY, WARRANT))
    assert (found.recipient, found.guardians, found.threshold) == ("hospital-c", BOTH, 2)
    assert found.ciphertext == bytes(96)


@pytest.mark.parametrize(
    "changes",
    [
        {"warrant": bytes(16)},
        {"scope": "record:00"},
        {"scope": "study:00"},
        {"scope": ""},
        {"pseudonym": bytes(47)},
        {"ciphertext": bytes(48)},
        {"guardians": []},
        {"guardians": ["hospital-b", "hospital-a"]},
        {"guardians": ["hospital-a", "hospital-a"]},
        {"recipient": "Hospital C"},
        {"recipient_key": bytes(32)},
        {"threshold": 0},
        {"more": 1},
    ],
)
def test_a_warrant_out_of_form_or_for_a_patient_is_refused(changes: dict[str, Value]) -> None:
    with pytest.raises(WarrantMalformed):
        Warrant.of(order(OPEN_IDENTITY, {**WARRANT, **changes}))


def test_a_share_is_bound_to_warrant_recipient_chain_and_guardian() -> None:
    found = Warrant.of(order(OPEN_IDENTITY, WARRANT))
    contexts = {
        found.context("test-chain"),
        found.context("other-chain"),
        replace(found, warrant=bytes(16)).context("test-chain"),
        replace(found, recipient="hospital-d").context("test-chain"),
    }
    assert len(contexts) == 4
    places = {
        found.place("test-chain", "hospital-a").octets(),
        found.place("other-chain", "hospital-a").octets(),
        found.place("test-chain", "hospital-b").octets(),
        replace(found, warrant=bytes(16)).place("test-chain", "hospital-a").octets(),
        replace(found, recipient="hospital-d").place("test-chain", "hospital-a").octets(),
    }
    assert len(places) == 5
