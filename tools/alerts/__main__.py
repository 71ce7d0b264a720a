"""Alerts, fired by causing their conditions on a running alliance, and their runbooks followed.

`python -m tools.alerts list` and `python -m tools.alerts fire [ALERT…]`; exit status 1 if one did
not fire, or if the diagnosis of its runbook, followed while it fired, did not lead to its cause.
The rules' times are shortened as tools/alerts/shortened.py says; nothing else is.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Final

from tools.alerts.cause import Cause
from tools.alerts.causes_chain import CHAIN_CAUSES
from tools.alerts.causes_machines import LATENCY_CAUSES, MACHINE_CAUSES
from tools.alerts.causes_members import MEMBER_CAUSES, SILENCE_CAUSES
from tools.alerts.causes_network import NETWORK_CAUSES
from tools.alerts.firing import Outcome, fire
from tools.alerts.shortened import FACTOR, FOR_SECONDS_MAX
from tools.alerts.world import opened_world

CAUSES: Final[tuple[Cause, ...]] = (
    *SILENCE_CAUSES,
    *LATENCY_CAUSES,
    *MEMBER_CAUSES,
    *MACHINE_CAUSES,
    *CHAIN_CAUSES,
    *NETWORK_CAUSES,
)


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.alerts", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="causes and their alerts")
    firing = commands.add_parser("fire", help="cause alerts, all or those named")
    firing.add_argument("alerts", nargs="*", metavar="ALERT")
    options = parser.parse_args()
    if options.command == "list":
        for cause in CAUSES:
            print(f"{cause.what}: {', '.join(cause.alerts)}")
        return 0
    known = {alert for cause in CAUSES for alert in cause.alerts}
    if unknown := set(options.alerts) - known:
        parser.error(f"nothing here causes {', '.join(sorted(unknown))}")
    outcomes = asyncio.run(fire_all(set(options.alerts) or known))
    return 0 if all(one.shown for one in outcomes) else 1


async def fire_all(wanted: Set[str]) -> Sequence[Outcome]:
    """Run alliances, make every cause of what is wanted, and tell what came of it."""
    began, found = time.monotonic(), list[Outcome]()
    print(f"times / {FACTOR}, `for` at most {FOR_SECONDS_MAX:.0f} s", flush=True)
    for networked in (False, True):
        causes = [c for c in CAUSES if c.networked is networked and not wanted.isdisjoint(c.alerts)]
        if causes:
            found += await _fire_in_one(causes, wanted, networked=networked)
    fired, led = sum(one.seconds is not None for one in found), sum(one.shown for one in found)
    minutes = (time.monotonic() - began) / 60
    print(
        f"\n{fired} of {len(found)} alerts fired, {led} diagnoses led to the cause, "
        f"in {minutes:.0f} minutes",
        flush=True,
    )
    return found


async def _fire_in_one(
    causes: Sequence[Cause], wanted: Set[str], *, networked: bool
) -> list[Outcome]:
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        async with opened_world(Path(folder), networked=networked) as world:
            for cause in causes:
                print(f"\n{cause.what}", flush=True)
                outcomes = await fire(world, cause, wanted)
                print("\n".join(map(_lines, outcomes)), flush=True)
                found += outcomes
    return found


def _lines(one: Outcome) -> str:
    if one.seconds is None:
        return f"  MISSING {one.alert}: {one.why}"
    fired = f"  {one.seconds:6.1f} s  {one.alert} ({one.severity}): {one.summary}\n"
    if one.followed is None:
        return f"{fired}     ASTRAY  {one.why}"
    way = one.followed
    steps = f"{way.expressions} expressions, {way.commands} commands"
    return f"{fired}            diagnosed ({steps}) by `{way.step}`"


if __name__ == "__main__":
    sys.exit(main())
