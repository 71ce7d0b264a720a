"""Following the diagnosis of a runbook while its alert fires."""

from __future__ import annotations

import asyncio
import json
import math
import os
import shlex
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from tools.alerts.findings import Answer, Finding, Labels, Logged, Printed, holds
from tools.alerts.runbook import FOLDER, Diagnosis, filled, looks
from tools.alerts.world import World

ANSWER_SECONDS: Final = 10.0  # of Prometheus
# Of one command: the longest does a whole chain of some hundred blocks again.
COMMAND_SECONDS: Final = 90.0
# A metric follows its cause by some scrapes, a log line by a round of whoever writes it.
SHOWN_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 1.0
LOG_BYTES: Final = 1024 * 1024  # from the end of a log: hours of most processes
LINE_CHARACTERS: Final = 300  # of what an error quotes


class Astray(Exception):
    """A diagnosis cannot be followed, or does not lead to the cause; the text says where."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A diagnosis that led to the cause: how many steps it had, and the one that showed it."""

    expressions: int
    commands: int
    step: str


async def follow(world: World, finding: Finding, labels: Labels, since: float) -> Followed:
    """Take every step of an alert's diagnosis, then hold what it must show.

    Args:
        labels: of the alert that fires.
        since: when its cause began, Unix time.

    Raises:
        Astray: a step errs, or none shows the cause.
    """
    way = _Way(world, Diagnosis.of(finding.alert), labels, since)
    for expression in way.diagnosis.expressions:
        await way.answer(expression)
    for command in way.diagnosis.commands:
        await way.output(command)
    ends = time.monotonic() + SHOWN_SECONDS
    while (told := await way.told(finding)) is not None:
        if time.monotonic() > ends:
            raise Astray(f"`{finding.step}` does not show {finding.shows}, but {_cut(told)}")
        await asyncio.sleep(PAUSE_SECONDS)
    step = filled(finding.step, labels, {})
    return Followed(len(way.diagnosis.expressions), len(way.diagnosis.commands), step)


@dataclass(frozen=True, slots=True)
class _Way:
    """One alert's diagnosis at one alliance."""

    world: World
    diagnosis: Diagnosis
    labels: Labels
    since: float

    async def told(self, finding: Finding) -> object:
        """Return None if a step shows the cause, else what it showed instead."""
        match finding.shows:
            case Answer() as wanted:
                series = await self.answer(finding.step)
                return None if any(_fits(one, wanted) for one in series) else series
            case Printed(part, lacks):
                document = await self.output(finding.step)
                unwanted = lacks is not None and holds(document, lacks)
                return document if unwanted or not holds(document, part) else None
            case Logged(fields):
                lines = await asyncio.to_thread(self.lines, finding.step)
                return None if any(holds(line, fields) for line in lines) else lines

    async def answer(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate an expression; return its series, each with labels and a value."""
        text = self._filled(expression)
        return await asyncio.to_thread(series_of, self.world.prometheus.url, text)

    async def output(self, command: str) -> object:
        """Run a command; return the document or the text that it prints."""
        if not looks(command):
            raise Astray(f"`{command}` does more than look")
        words = shlex.split(self._filled(command))
        own = words[0] == "cipherward"
        if own:
            words = [sys.executable, "-m", "cipherward_client.cli", *words[1:], "--json"]
        status, out, err = await _run(_expanded(words), self.world.desk, self._environment())
        if not own:
            if status:
                raise Astray(f"`{command}` ends with {status}: {_cut(err)}")
            return out
        try:
            document: dict[str, Any] = json.loads(out)
        except ValueError:
            raise Astray(f"`{command}` ends with {status} and prints {_cut(out + err)}") from None
        refusal = document.get("error")
        if refusal is not None and refusal["reason"] not in self.diagnosis.words:
            raise Astray(f"`{command}` is refused, and the page does not say so: {refusal}")
        return document

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of an event in the log of the alert's process, since the cause."""
        name = f"{self.labels['member']}/{self.labels['component']}"
        with self.world.running.supervisor.log_file(name).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_BYTES))
            found = [_line(raw) for raw in log.read().splitlines()]
        return [
            line
            for line in found
            if line.get("event") == event
            and datetime.fromisoformat(line["timestamp"]).timestamp() > self.since
        ]

    def _filled(self, step: str) -> str:
        names = {FOLDER: str(self.world.running.folder.root), **self.world.names}
        return filled(step, self.labels, names)

    def _environment(self) -> dict[str, str]:
        """Return ours, without settings of the parts that run, and with the passphrase's file."""
        kept = {name: text for name, text in os.environ.items() if "CIPHERWARD" not in name}
        return {**kept, "CIPHERWARD_PASSPHRASE_FILE": str(self.world.passphrase_file)}


def _fits(series: dict[str, Any], wanted: Answer) -> bool:
    value = float(series["value"][1])
    return wanted.labels.items() <= series["metric"].items() and (
        not math.isnan(value) and wanted.least <= value <= wanted.most
    )


def series_of(url: str, expression: str) -> list[dict[str, Any]]:
    """Return the series that an expression has at a Prometheus now.

    Raises:
        Astray: it is none.
    """
    asked = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as refused:
        with refused:
            raise Astray(f"`{expression}`: {_cut(refused.read().decode())}") from None


async def _run(words: Sequence[str], folder: Path, environment: dict[str, str]) -> tuple[Any, ...]:
    """Run a program; return its status and the texts of stdout and stderr.

    Raises:
        Astray: it takes too long.
    """
    child = await asyncio.create_subprocess_exec(
        *words,
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            out, err = await child.communicate()
    except TimeoutError:
        raise Astray(f"`{shlex.join(words)}` runs after {COMMAND_SECONDS:.0f} s") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return child.returncode, out.decode(errors="replace"), err.decode(errors="replace")


def _expanded(words: Sequence[str]) -> list[str]:
    """Return the words with the files that patterns among them name, as a shell would."""
    found: list[str] = []
    for word in words:
        files = sorted(Path("/").glob(word.lstrip("/"))) if "*" in word else []
        found += [str(file) for file in files] or [word]
    return found


def _line(raw: bytes) -> dict[str, Any]:
    try:
        line: object = json.loads(raw)
    except ValueError:  # cut at the beginning, or last words on stderr
        return {}
    return cast("dict[str, Any]", line) if isinstance(line, dict) else {}


def _cut(told: object) -> str:
    return str(told)[:LINE_CHARACTERS]
