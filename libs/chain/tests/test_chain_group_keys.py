"""Shared keys as state and orders hold them: one form, and what is out of it is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from cipherward_chain.canonical import Value, decode_map, encode
from cipherward_chain.group_key_orders import CeremonyOrder, SharingOrder
from cipherward_chain.group_keys import (
    HOLDERS_MAX,
    GroupKeyEntry,
    GroupKeyMalformed,
    KeyHolder,
    group_key_key,
    newest_entry,
    newest_epoch,
    newest_group_key_key,
)
from cipherward_chain.orders import Order

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")


def holders(count: int = 4, *, ready: int = 3) -> tuple[KeyHolder, ...]:
    names = [f"hospital-{number:02}" for number in range(count)]
    return tuple(
        KeyHolder(name, index, bytes([index]) * 48, index <= ready)
        for index, name in enumerate(names, start=1)
    )


ENTRY = GroupKeyEntry("record", 1, 2, 3, b"Y" * 48, holders(), bytes(16), 9)
BEGUN = CeremonyOrder(bytes(16), "record", 1, 3, MEMBERS, MEMBERS[1:], 3, 20, 9, ENTRY)
USED = SharingOrder(bytes(16), "opening", 1, 1, 3, MEMBERS, MEMBERS[:3], b"Y" * 48)


def test_an_entry_reads_as_it_was_written() -> None:
    assert GroupKeyEntry.from_bytes(ENTRY.to_bytes()) == ENTRY
    assert ENTRY.guardians == ("hospital-00", "hospital-01", "hospital-02")
    assert ENTRY.points[3] == b"\4" * 48
    assert ENTRY.index_of("hospital-03") == 4
    assert ENTRY.index_of("hospital-04") is None


def test_a_key_and_its_newest_epoch_have_places_of_their_own() -> None:
    assert group_key_key("record", 1) == b"groupkey/record/" + bytes(7) + b"\1"
    assert newest_group_key_key("opening") == b"groupkey/opening"
    assert newest_epoch(newest_entry(7)) == 7
    assert newest_epoch(None) == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"purpose": "lattice"},
        {"key_epoch": 0},
        {"sharing": 0},
        {"threshold": 0},
        {"threshold": 5},
        {"public_key": bytes(47)},
        {"ceremony": bytes(15)},
        {"height": 0},
        {"holders": []},
        {"holders": [{"member": "hospital-a", "point": bytes(47), "ready": True}]},
        {"holders": [{"member": "hospital-a", "point": bytes(48)}]},
        {"more": 1},
    ],
)
def test_an_entry_out_of_form_is_refused(changed: dict[str, Value]) -> None:
    raw = encode({**decode_map(ENTRY.to_bytes()), **changed})
    with pytest.raises(GroupKeyMalformed):
        GroupKeyEntry.from_bytes(raw)


def ordered(instruction: str, arguments: dict[str, Value]) -> Order:
    """Return an order as a member reads it from a block."""
    made = Order(9, 0, bytes(16), "key-ceremony", instruction, arguments)
    return Order.from_bytes(made.to_bytes())


@pytest.mark.parametrize("old", [ENTRY, None])
def test_an_order_that_begins_a_ceremony_says_all_that_a_member_needs(
    old: GroupKeyEntry | None,
) -> None:
    begun = replace(BEGUN, old=old)
    assert CeremonyOrder.of(ordered("share_key", begun.arguments())) == begun


def test_an_order_that_brings_a_sharing_into_force_reads_as_it_was_written() -> None:
    assert SharingOrder.of(ordered("use_sharing", USED.arguments())) == USED


@pytest.mark.parametrize(
    "changed",
    [
        {"purpose": "lattice"},
        {"ceremony": b""},
        {"members": []},
        {"members": ["hospital-a", "hospital-a"]},
        {"members": [f"hospital-{number}" for number in range(HOLDERS_MAX + 1)]},
        {"threshold": 0},
        {"key_epoch": 0},
        {"sharing": 0},
        {"more": 1},
    ],
)
@pytest.mark.parametrize("which", ["share_key", "use_sharing"])
def test_an_order_about_a_shared_key_out_of_form_is_refused(
    which: str, changed: dict[str, Value]
) -> None:
    read: Callable[[Order], object] = CeremonyOrder.of if which == "share_key" else SharingOrder.of
    arguments = BEGUN.arguments() if which == "share_key" else USED.arguments()
    with pytest.raises(GroupKeyMalformed):
        read(ordered(which, {**arguments, **changed}))


@pytest.mark.parametrize("changed", [{"old": b"?"}, {"window": 0}, {"start": 0}, {"dealers": []}])
def test_a_ceremony_out_of_range_is_refused(changed: dict[str, Value]) -> None:
    with pytest.raises(GroupKeyMalformed):
        CeremonyOrder.of(ordered("share_key", {**BEGUN.arguments(), **changed}))
