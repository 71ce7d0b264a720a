"""Commands that run processes until somebody stops them, and why they do not start."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Generator
from contextlib import contextmanager

from cipherward_client.cli.faults import AllianceOfAnotherChain, AllianceRuns, FolderUnusable
from cipherward_kit.datafolder import (
    DataFolderLocked,
    DataFolderOfAnotherChain,
    DataFolderUnusable,
)


@contextmanager
def folder_explained() -> Generator[None]:
    """Say why an alliance does not start as a person at the terminal needs it."""
    try:
        yield
    except DataFolderLocked as error:
        raise AllianceRuns(str(error)) from error
    except DataFolderOfAnotherChain as error:
        raise AllianceOfAnotherChain(str(error)) from error
    except DataFolderUnusable as error:
        raise FolderUnusable(str(error)) from error


@contextmanager
def stopping_at_signals() -> Generator[asyncio.Event]:
    """Cancel the task at the first SIGINT or SIGTERM, whatever it waits for; ignore more."""
    loop, task, asked = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()

    def stop() -> None:
        if not asked.is_set() and task is not None:
            asked.set()
            task.cancel()

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        yield asked
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
