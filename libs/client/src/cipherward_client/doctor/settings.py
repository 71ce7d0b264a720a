"""Each service is asked what it thinks of its settings: it alone knows its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from cipherward_client.doctor.checks import Problem
from cipherward_client.doctor.targets import Target
from cipherward_kit.config import ENV_PREFIX
from cipherward_kit.process import CHECK

# A service imports its libraries in a second or two; on a cold disk it takes longer.
ANSWER_SECONDS = 60.0
TOGETHER = 2  # each takes a core while it imports


async def look_at_settings(targets: Sequence[Target]) -> list[Problem]:
    """Run each process for as long as it takes to read its settings."""
    room = asyncio.Semaphore(TOGETHER)

    async def one(target: Target) -> list[Problem]:
        async with room:
            return await _ask(target)

    found = await asyncio.gather(*(one(target) for target in targets))
    return [problem for problems in found for problem in problems]


async def _ask(target: Target) -> list[Problem]:
    others = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        target.module,
        CHECK,
        env={**others, **target.settings},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        fix = "Try again when the machine is less busy."
        return [Problem("settings", target.name, "the service did not answer", fix)]
    if process.returncode == 0:
        return []
    lines = said.decode(errors="replace").splitlines()
    head = f"cipherward {target.service}: "
    faults = [line.removeprefix(head) for line in lines if line.startswith(head)]
    if not faults:
        fix = f"Install the distribution cipherward-{target.service} of this release."
        return [Problem("settings", target.name, "the service cannot be run here", fix)]
    fix = "docs/configuration.md has every setting with its range."
    return [Problem("settings", target.name, fault, fix) for fault in faults]
