"""What a cause of alerts is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from tools.alerts.findings import Finding
from tools.alerts.world import World

Make = Callable[[World], AbstractAsyncContextManager[None]]


class CannotCause(Exception):
    """This machine does not allow it; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What makes alerts fire.

    findings: what the diagnoses of its alerts show; these fire while `make`'s context is open.
    afterwards: the same of alerts that fire once it is closed. seconds: how long each of the two is
    waited for. networked: it needs consensus nodes and Kafka.
    """

    what: str
    findings: tuple[Finding, ...]
    make: Make
    seconds: float = 60.0
    afterwards: tuple[Finding, ...] = ()
    networked: bool = False

    @property
    def alerts(self) -> tuple[str, ...]:
        """Every alert that it makes fire."""
        return tuple(one.alert for one in (*self.findings, *self.afterwards))
