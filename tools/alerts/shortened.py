"""The rules with shorter times: nobody waits three days for an alert that is tried out.

Conditions are caused for real; only the rules' own patience is cut, by what stands here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

RULES: Final = Path(__file__).resolve().parents[2] / "deploy/alerts/cipherward.yaml"
FACTOR: Final = 30  # windows and `for`: an hour is two minutes
FOR_SECONDS_MAX: Final = 5.0  # of any `for`, after the factor
EVALUATE: Final = "1s"  # every group, instead of 30 s and of the server's own
# Spans that stand in an expression as numbers, by what takes their place. The limits of the chain
# itself (45 s and 60 s without a block, 30 s without contract) stay.
SPANS: Final[Mapping[str, str]] = {
    "30 * sum_over_time": "1 * sum_over_time",  # seconds between two evaluations
    "> 3600": "> 10",  # a step of a study runs
    "> 10800": "> 30",  # the canaries' acts, which are asked for every 5 s instead of every hour
    "> 691200": "> 20",  # a development alliance renews slot keys every 10 s, not every 7 days
}

UNITS: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86400}
WINDOW: Final = re.compile(r"\[(\d+)([smhd])\]|\boffset (\d+)([smhd])")


def shortened(text: str) -> dict[str, Any]:
    """Return the rules of a file with everything above applied.

    Raises:
        LookupError: a span above stands in no rule any more.
    """
    document: dict[str, Any] = yaml.safe_load(text)
    expressions = [rule["expr"] for group in document["groups"] for rule in group["rules"]]
    for span in SPANS:
        if not any(span in one for one in expressions):
            raise LookupError(f"no rule has {span!r} any more")
    for group in document["groups"]:
        group["interval"] = EVALUATE
        for rule in group["rules"]:
            rule["expr"] = _expression(rule["expr"])
            if "for" in rule:
                rule["for"] = f"{min(_seconds(rule['for']) / FACTOR, FOR_SECONDS_MAX):.0f}s"
    return document


def _expression(expression: str) -> str:
    for long, short in SPANS.items():
        expression = expression.replace(long, short)
    return WINDOW.sub(_window, expression)


def _window(found: re.Match[str]) -> str:
    number, unit = (found[1], found[2]) if found[1] else (found[3], found[4])
    short = f"{int(number) * UNITS[unit] // FACTOR}s"
    return f"[{short}]" if found[1] else f"offset {short}"


def _seconds(span: str) -> int:
    return int(span[:-1]) * UNITS[span[-1]]


def write(target: Path) -> None:
    """Write the shortened rules."""
    target.write_text(yaml.safe_dump(shortened(RULES.read_text(encoding="utf-8"))))
