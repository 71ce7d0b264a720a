"""Work beside a server runs as long as its context, and its crash is the service's."""

from __future__ import annotations

import asyncio

import pytest

from cipherward_member.background import running


async def test_work_runs_while_the_context_is_open() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with running(work()):
        async with asyncio.timeout(5):
            await began.wait()
        assert not ended.is_set()
    assert ended.is_set()


async def test_a_crash_of_the_work_ends_the_context() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        async with running(work()):
            await asyncio.Event().wait()
    assert caught.group_contains(ZeroDivisionError)
