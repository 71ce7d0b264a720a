"""The entry of who holds a data key: it reads as it was written, and nothing else is one."""

from __future__ import annotations

import pytest

from cipherward_chain.canonical import Value, encode
from cipherward_chain.key_holders import KeyHolders, KeyHoldersMalformed, key_holders_key

MEMBERS = ("hospital-a", "hospital-b", "hospital-c")
ENTRY: dict[str, Value] = {"members": list(MEMBERS), "threshold": 3, "sharing": b"s" * 16}


def test_an_entry_reads_as_it_was_written() -> None:
    holders = KeyHolders(MEMBERS, 3, b"s" * 16)
    assert holders.to_bytes() == encode(ENTRY)
    assert KeyHolders.from_bytes(encode(ENTRY)) == holders


@pytest.mark.parametrize(
    "changed",
    [
        {"members": ["hospital-b", "hospital-a", "hospital-c"]},
        {"members": ["hospital-a", "hospital-a", "hospital-c"]},
        {"members": [1, 2, 3]},
        {"threshold": 0},
        {"threshold": 4},
        {"sharing": b""},
        {"more": 1},
    ],
)
def test_what_is_no_entry_is_refused(changed: dict[str, Value]) -> None:
    with pytest.raises(KeyHoldersMalformed):
        KeyHolders.from_bytes(encode({**ENTRY, **changed}))


@pytest.mark.parametrize("raw", [b"", b"\xff", encode([])])
def test_bytes_that_are_no_map_are_refused(raw: bytes) -> None:
    with pytest.raises(KeyHoldersMalformed):
        KeyHolders.from_bytes(raw)


def test_every_key_has_an_entry_of_its_own() -> None:
    assert key_holders_key(b"k" * 16) == b"key_holders/" + b"k" * 16
