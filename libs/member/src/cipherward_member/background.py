"""Work that goes on beside a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager


@asynccontextmanager
async def running(*work: Awaitable[None]) -> AsyncGenerator[None]:
    """Run `work`, none of which ends by itself, while the context is open.

    What one of them raises ends the context, and with it the service.
    """

    async def carry_on(one: Awaitable[None]) -> None:
        await one

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(carry_on(one)) for one in work]
        yield
        for task in tasks:
            task.cancel()


async def news_or_time(news: asyncio.Event, seconds: float) -> None:
    """Wait until `news` is set, at most `seconds`, and clear it: what comes later wakes again."""
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        pass
    news.clear()
