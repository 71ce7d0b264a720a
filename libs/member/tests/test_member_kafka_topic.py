"""Finding a height in a topic where anything may lie, and what the topic is called."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from cipherward_member.kafka_topic import Message, key_of, offset_of, topic_name

JUNK = b"junk"
FIRST = 1_000  # the oldest offset: retention has taken what was before


class Log:
    """A topic's messages by their keys, read `portion` at a time; None is a place without any."""

    def __init__(self, keys: Sequence[bytes | None], portion: int = 1) -> None:
        self._messages = [
            Message(FIRST + place, key, b"") for place, key in enumerate(keys) if key is not None
        ]
        self._portion = portion
        self.end = FIRST + len(keys)
        self.reads = 0

    async def read_at(self, offset: int) -> Sequence[Message]:
        self.reads += 1
        found = [message for message in self._messages if message.offset >= offset]
        return found[: self._portion]

    async def find(self, height: int) -> int:
        """Return the place of a height, counted from the first message."""
        return await offset_of(height, FIRST, self.end, self.read_at) - FIRST


def keys(*heights: int) -> list[bytes | None]:
    return [key_of(height) for height in heights]


def test_a_topic_is_named_by_chain_and_member() -> None:
    assert topic_name("alliance-1", "hospital-a") == "cipherward.alliance-1.hospital-a.blocks"


@pytest.mark.parametrize("height", [1, 255, 256, 2**40])
def test_a_key_is_a_height(height: int) -> None:
    assert Message(0, key_of(height), b"").height == height
    assert len(key_of(height)) == 8


@pytest.mark.parametrize("key", [b"", b"seven..", b"nine.....", bytes(8)])
def test_other_keys_claim_nothing(key: bytes) -> None:
    assert Message(0, key, b"").height is None


@pytest.mark.parametrize("portion", [1, 7])
async def test_every_height_of_a_clean_topic_is_found_in_few_reads(portion: int) -> None:
    log = Log(keys(*range(5, 1_005)), portion)
    for height in (5, 6, 500, 1_003, 1_004):
        log.reads = 0
        assert await log.find(height) == height - 5
        assert log.reads <= 11


async def test_a_height_that_is_not_there_leads_to_the_next_one_or_to_the_end() -> None:
    log = Log(keys(10, 11, 12, 20, 21))
    assert await log.find(3) == 0
    assert await log.find(15) == 3
    assert await log.find(22) == 5
    assert await Log([]).find(1) == 0


async def test_of_repeated_blocks_the_first_is_found() -> None:
    assert await Log(keys(1, 2, 3, 3, 3, 4, 4, 5)).find(3) == 2
    assert await Log(keys(1, 2, 3, 3, 3, 4, 4, 5)).find(4) == 5


async def test_what_is_no_block_is_stepped_over() -> None:
    junk: list[bytes | None] = [JUNK] * 50
    log = Log([*junk, *keys(1, 2), *junk, *keys(3, 4), *junk], portion=64)
    assert await log.find(1) == 50
    assert await log.find(3) == 102
    assert await log.find(5) == log.end - FIRST


async def test_a_topic_of_nothing_but_junk_costs_few_reads() -> None:
    log = Log([JUNK] * 100_000)
    assert await log.find(7) == 100_000
    assert log.reads < 300


async def test_places_without_a_message_are_stepped_over() -> None:
    log = Log([*keys(1, 2), None, *keys(3), None, None, *keys(4), None])
    assert [await log.find(height) for height in (1, 2, 4, 5)] == [0, 1, 6, 8]
    assert await log.find(3) in (2, 3)


async def test_whatever_lies_there_the_search_ends_within_the_topic() -> None:
    """A search may be led astray by claims that do not grow; it must end, and quickly."""
    dice = random.Random(7)  # noqa: S311 - a test's choices
    for _ in range(200):
        kinds: list[bytes | None] = [JUNK, None, *keys(*dice.choices(range(1, 2**63), k=6))]
        log = Log(dice.choices(kinds, k=dice.randrange(400)), portion=dice.randrange(1, 5))
        assert 0 <= await log.find(dice.randrange(1, 2**63)) <= log.end - FIRST
        assert log.reads < 200
