"""The whole look: every check of the list, on every process that is given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from cipherward_client.doctor.alliance import look_at_alliance
from cipherward_client.doctor.checks import Problem, checks_for
from cipherward_client.doctor.files import (
    genesis_of,
    look_at_certificate,
    look_at_disk,
    look_at_genesis,
    look_at_keys,
    look_at_ports,
    look_at_servers,
)
from cipherward_client.doctor.pages import look_at_pages, read_pages
from cipherward_client.doctor.settings import look_at_settings
from cipherward_client.doctor.targets import Target

# What the services themselves wait for a block where the genesis cannot be read: it says more.
FRESH_SECONDS_DEFAULT = 30.0

Look = Callable[[Target], Iterator[Problem]]
LOOKS: Final[tuple[Look, ...]] = (
    look_at_genesis,
    look_at_certificate,
    look_at_keys,
    look_at_disk,
    look_at_servers,
)


async def examine(
    targets: Sequence[Target], *, before: bool, outside: bool = False
) -> list[Problem]:
    """Return what is wrong, in the order of the list of checks; the same of several only once.

    Args:
        targets: the processes that run here, or shall.
        before: they are not started yet.
        outside: they are in pods of their own, and looked at from the first of them.
    """
    problems = [] if outside else await look_at_settings(_one_each(targets))
    problems += await asyncio.to_thread(_look_at_files, targets, before)
    if not before:
        pages, silent = await read_pages(targets)
        genesis = genesis_of(targets[0]) if targets else None
        fresh = genesis.parameters.fresh_seconds if genesis else FRESH_SECONDS_DEFAULT
        problems += silent + look_at_pages(pages, time.time(), fresh)
        files = _alliance_files(targets)
        if files is not None:
            own = targets[0].member if outside else ""
            problems += await look_at_alliance(*files, own)
    return in_order(problems, before=before)


def in_order(problems: Sequence[Problem], *, before: bool) -> list[Problem]:
    """Sort problems as the checks are listed; those that differ in their place alone become one."""
    order = {check.name: place for place, check in enumerate(checks_for(before=before))}
    places: dict[tuple[str, str, str], list[str]] = {}
    for one in problems:
        where = places.setdefault((one.check, one.problem, one.fix), [])
        if one.where and one.where not in where:
            where.append(one.where)
    joined = [
        Problem(check, ", ".join(where), problem, fix)
        for (check, problem, fix), where in places.items()
    ]
    return sorted(joined, key=lambda one: order[one.check])


def _look_at_files(targets: Sequence[Target], before: bool) -> list[Problem]:
    looks = (*LOOKS, look_at_ports) if before else LOOKS
    return [problem for target in targets for look in looks for problem in look(target)]


def _one_each(targets: Sequence[Target]) -> list[Target]:
    """Return the first process of each service: the members' settings are made alike."""
    return list({target.service: target for target in reversed(targets)}.values())


def _alliance_files(targets: Sequence[Target]) -> tuple[Path, Path] | None:
    for target in targets:
        endpoints, genesis = target.path("ENDPOINTS_FILE"), target.path("GENESIS_FILE")
        if endpoints is not None and genesis is not None:
            return endpoints, genesis
    return None
