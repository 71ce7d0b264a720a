"""Making causes one after the other, and waiting for the alerts in Prometheus."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from tools.alerts.cause import CannotCause, Cause
from tools.alerts.world import World

POLL_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one alert. seconds: from the beginning of its cause; None: it did not fire."""

    alert: str
    what: str
    seconds: float | None
    why: str = ""
    severity: str = ""
    summary: str = ""


def alerts_of(url: str) -> dict[str, dict[str, Any]]:
    """Return one of each alert that fires at a Prometheus, by name."""
    with urllib.request.urlopen(f"{url}/api/v1/alerts", timeout=ANSWER_SECONDS) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["alerts"]
    return {one["labels"]["alertname"]: one for one in found if one["state"] == "firing"}


async def fire(world: World, cause: Cause, wanted: Iterable[str]) -> list[Outcome]:
    """Make a cause and wait for those of its alerts that are wanted."""
    wanted = set(wanted)
    during = [alert for alert in cause.alerts if alert in wanted]
    after = [alert for alert in cause.afterwards if alert in wanted]
    began = time.monotonic()
    found: list[Outcome] = []
    try:
        async with cause.make(world):
            found += await _wait(world, cause, during, began)
        found += await _wait(world, cause, after, time.monotonic())
    except CannotCause as error:
        return [Outcome(alert, cause.what, None, str(error)) for alert in (*during, *after)]
    except Exception as error:  # the next cause is tried all the same, and the report says why
        told = {one.alert for one in found}
        why = f"{type(error).__name__}: {error}"
        missing = [alert for alert in (*during, *after) if alert not in told]
        found += [Outcome(alert, cause.what, None, why) for alert in missing]
    return found


async def _wait(world: World, cause: Cause, alerts: list[str], began: float) -> list[Outcome]:
    seen: dict[str, Outcome] = {}
    ends = time.monotonic() + cause.seconds
    while len(seen) < len(alerts) and time.monotonic() < ends:
        firing = await asyncio.to_thread(alerts_of, world.prometheus.url)
        for alert in alerts:
            if alert in firing and alert not in seen:
                told = firing[alert]
                seconds = time.monotonic() - began
                severity = told["labels"]["severity"]
                summary = told["annotations"]["summary"]
                seen[alert] = Outcome(alert, cause.what, seconds, "", severity, summary)
        await asyncio.sleep(POLL_SECONDS)
    why = f"not within {cause.seconds:.0f} s"
    return [seen.get(alert) or Outcome(alert, cause.what, None, why) for alert in alerts]
