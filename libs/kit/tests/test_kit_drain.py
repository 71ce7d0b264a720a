"""Calls that wait long do not hold up a server that goes away."""

from __future__ import annotations

import asyncio

import pytest

from cipherward_kit.drain import Drain, Draining


async def test_a_long_wait_is_given_up_when_the_server_drains() -> None:
    drain, given_up = Drain(), asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            given_up.set()

    waiting = asyncio.ensure_future(drain.cut(wait()))
    await asyncio.sleep(0)
    drain.begin()
    with pytest.raises(Draining):
        await waiting
    assert given_up.is_set()


async def test_what_is_there_at_once_is_answered_while_the_server_drains() -> None:
    async def answer() -> str:
        return "there"

    drain = Drain()
    assert await drain.cut(answer()) == "there"
    drain.begin()
    assert await drain.cut(answer()) == "there"


async def test_whoever_gives_up_waiting_gives_up_what_it_waited_for() -> None:
    given_up = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            given_up.set()

    waiting = asyncio.ensure_future(Drain().cut(wait()))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert given_up.is_set()
