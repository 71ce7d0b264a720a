"""Templates that nobody has deployed, and contracts done again, by the contract service's own code.

The client imports no service: it runs the service's tools as processes, as one that makes an
alliance runs them for the shipped templates.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from tempfile import TemporaryFile
from typing import Any

from cipherward_client.alliance.create import TemplatesUnavailable

TOOL_SECONDS = 60.0  # an analysis takes at most seconds, also on a busy machine
REPLAY_SECONDS = 3_600.0  # a chain of a million acts takes minutes


class DraftMalformed(Exception):
    """The template that a scenario is to be played against may not be deployed; says what."""

    reason = "TEMPLATE_MALFORMED"


class ScenarioMalformed(Exception):
    """A scenario is not of the form, or cannot be played; says where."""

    reason = "SCENARIO_MALFORMED"


_ERRORS = {error.reason: error for error in (DraftMalformed, ScenarioMalformed)}


def check_draft(source: str) -> dict[str, Any]:
    """Return the analysis of a template's source: deployable, digest, findings, report.

    Raises:
        TemplatesUnavailable: the contract service's tools cannot be run.
    """
    return _run("check", [source], TOOL_SECONDS)


def play_draft(source: str, scenario: str) -> dict[str, Any]:
    """Return the steps of a scenario.

    Raises:
        DraftMalformed, ScenarioMalformed: it cannot be played.
        TemplatesUnavailable: the contract service's tools cannot be run.
    """
    asked = json.dumps({"source": source, "scenario": scenario})
    found = _run("simulate", [asked], TOOL_SECONDS)
    if "error" in found:
        raise _ERRORS[found["error"]["reason"]](found["error"]["message"])
    return found


def replay_contract(lines: Iterable[str]) -> dict[str, Any]:
    """Return the steps of a contract, done again, and the heights that differ.

    Args:
        lines: as cipherward_contract.replay reads them.

    Raises:
        TemplatesUnavailable: the contract service's tools cannot be run.
    """
    return _run("replay", lines, REPLAY_SECONDS)


def _run(tool: str, lines: Iterable[str], seconds: float) -> dict[str, Any]:
    """Run a tool on lines that need not fit in memory, and return the JSON that it prints."""
    command = [sys.executable, "-m", f"cipherward_contract.{tool}"]
    with TemporaryFile("w+", encoding="utf-8") as given:
        for line in lines:
            given.write(f"{line}\n")
        given.seek(0)
        try:
            run = subprocess.run(
                command, stdin=given, capture_output=True, check=True, timeout=seconds
            )
            answer: dict[str, Any] = json.loads(run.stdout)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise TemplatesUnavailable(f"the contract service's {tool} does not run") from error
    return answer
