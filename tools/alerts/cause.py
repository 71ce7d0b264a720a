"""What a cause of alerts is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from tools.alerts.world import World

Make = Callable[[World], AbstractAsyncContextManager[None]]


class CannotCause(Exception):
    """This machine does not allow it; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What makes alerts fire.

    alerts: fire while `make`'s context is open; afterwards: once it is closed. seconds: how long
    each of the two is waited for. networked: it needs consensus nodes and Kafka.
    """

    what: str
    alerts: tuple[str, ...]
    make: Make
    seconds: float = 60.0
    afterwards: tuple[str, ...] = ()
    networked: bool = False

    @property
    def all(self) -> tuple[str, ...]:
        """Every alert that it makes fire."""
        return (*self.alerts, *self.afterwards)
