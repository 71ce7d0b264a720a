from __future__ import annotations

import pytest

from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.peers import from_all


async def test_what_a_members_answer_raised_is_raised_by_itself_and_in_no_group() -> None:
    async def fetch(member: str) -> bytes:
        raise PeerWrong(member, "it shows something else")

    # Not every Python of version 3.11 raises it so from within `except*`.
    with pytest.raises(PeerWrong, match="hospital-a: it shows something else"):
        await from_all(("hospital-a", "hospital-b"), fetch)


async def test_answers_are_told_in_the_order_of_the_members() -> None:
    async def fetch(member: str) -> str:
        return member.upper()

    found = await from_all(("b", "a"), fetch)
    assert list(found.items()) == [("b", "B"), ("a", "A")]
