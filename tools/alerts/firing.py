"""Making causes one after the other: alerts are waited for in Prometheus, diagnoses followed."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tools.alerts.cause import CannotCause, Cause
from tools.alerts.findings import Finding
from tools.alerts.following import Astray, Followed, follow
from tools.alerts.world import World

POLL_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 5.0
# What an earlier cause left behind leaves an hour's window (two minutes here) and half of another.
QUIET_SECONDS: Final = 180.0

Alert = dict[str, Any]  # as Prometheus tells it


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one alert.

    seconds: from the beginning of its cause; None: it did not fire. followed: None: its diagnosis
    did not lead to the cause. why: of whichever is missing.
    """

    alert: str
    seconds: float | None
    followed: Followed | None = None
    why: str = ""
    severity: str = ""
    summary: str = ""

    @property
    def shown(self) -> bool:
        """It fired, and its diagnosis led to the cause."""
        return self.seconds is not None and self.followed is not None


async def fire(world: World, cause: Cause, wanted: Collection[str]) -> list[Outcome]:
    """Make a cause, wait for those of its alerts that are wanted, and follow their diagnoses.

    An alert that fires already is waited for until it is quiet: it is to tell of this cause.
    """
    during = [one for one in cause.findings if one.alert in wanted]
    after = [one for one in cause.afterwards if one.alert in wanted]
    loud = await _still_loud(world, (*during, *after))
    if loud:
        why = "it fired before its cause, for " + ", ".join(sorted(loud))
        return [Outcome(one.alert, None, why=why) for one in (*during, *after)]
    since = time.time()
    found: list[Outcome] = []
    try:
        async with cause.make(world):
            found += await _wait(world, cause.seconds, during, since)
        found += await _wait(world, cause.seconds, after, since)
    except Exception as error:  # the next cause is tried all the same, and the report says why
        told = {one.alert for one in found}
        why = str(error) if isinstance(error, CannotCause) else f"{type(error).__name__}: {error}"
        found += [
            Outcome(one.alert, None, why=why) for one in (*during, *after) if one.alert not in told
        ]
    return found


async def _still_loud(world: World, findings: Sequence[Finding]) -> set[str]:
    """Return those of the alerts that fire, and do not cease in QUIET_SECONDS."""
    ends = time.monotonic() + QUIET_SECONDS
    while True:
        firing = await asyncio.to_thread(alerts_of, world.prometheus.url)
        loud = {one.alert for one in findings if about(one, firing) is not None}
        if not loud or time.monotonic() > ends:
            return loud
        await asyncio.sleep(POLL_SECONDS)


async def _wait(
    world: World, seconds: float, findings: Sequence[Finding], since: float
) -> list[Outcome]:
    """Wait for alerts, and follow the diagnosis of each from when it fires on."""
    began, turn = time.monotonic(), asyncio.Lock()
    tasks: dict[str, asyncio.Task[Outcome]] = {}
    async with asyncio.TaskGroup() as group:
        while len(tasks) < len(findings) and time.monotonic() < began + seconds:
            firing = await asyncio.to_thread(alerts_of, world.prometheus.url)
            for finding in findings:
                told = about(finding, firing)
                if told is not None and finding.alert not in tasks:
                    shown = _show(world, finding, told, since, turn)
                    tasks[finding.alert] = group.create_task(shown)
            await asyncio.sleep(POLL_SECONDS)
    missing = f"not within {seconds:.0f} s"
    return [
        tasks[one.alert].result() if one.alert in tasks else Outcome(one.alert, None, why=missing)
        for one in findings
    ]


async def _show(
    world: World, finding: Finding, told: Alert, since: float, turn: asyncio.Lock
) -> Outcome:
    fired, followed, why = time.time() - since, None, ""
    async with turn:  # commands of two diagnoses at once would only slow each other down
        try:
            if about(finding, await asyncio.to_thread(alerts_of, world.prometheus.url)) is None:
                raise Astray("it was quiet again before its diagnosis was begun")
            followed = await follow(world, finding, told["labels"], since)
        except Astray as error:
            why = str(error)
    severity, summary = told["labels"]["severity"], told["annotations"]["summary"]
    return Outcome(finding.alert, fired, followed, why, severity, summary)


def alerts_of(url: str) -> list[Alert]:
    """Return the alerts that fire at a Prometheus."""
    with urllib.request.urlopen(f"{url}/api/v1/alerts", timeout=ANSWER_SECONDS) as answer:
        found: list[Alert] = json.load(answer)["data"]["alerts"]
    return [one for one in found if one["state"] == "firing"]


def about(finding: Finding, firing: Sequence[Alert]) -> Alert | None:
    """Return the alert of those that fire which a finding is about, None if there is none."""
    wanted = {"alertname": finding.alert, **finding.about}.items()
    return next((one for one in firing if wanted <= one["labels"].items()), None)
