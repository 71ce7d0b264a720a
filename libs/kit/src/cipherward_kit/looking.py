"""A look at something every few seconds, for as long as a context is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager


@asynccontextmanager
async def looking(look: Callable[[], Awaitable[None]], seconds: float) -> AsyncGenerator[None]:
    """Look once before the context opens, and then again and again while it is open.

    Args:
        look: what it raises ends the context.
        seconds: from one look to the next.
    """

    async def follow() -> None:
        while True:
            await asyncio.sleep(seconds)
            await look()

    await look()
    failed: Exception | None = None
    async with asyncio.TaskGroup() as group:
        task = group.create_task(follow())
        try:
            yield
        except Exception as error:  # the context's own: raised below, as it is and in no group
            failed = error
        task.cancel()
    if failed is not None:
        raise failed
