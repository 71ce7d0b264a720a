"""What a runbook tells to do, read from the section Diagnosis of its page.

Code spans and indented lines are read. One that names the alliance's folder `DIR` is a command, and
is run; else one that names a metric is an expression, and is evaluated; the rest are words.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.alerts.findings import Labels

RUNBOOKS: Final = Path(__file__).resolve().parents[2] / "docs/runbooks"
SECTION: Final = re.compile(r"^## Diagnosis\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
CODE: Final = re.compile(r"^ {4,}(\S.*)$|`([^`\n]+)`", re.MULTILINE)
METRIC: Final = re.compile(
    r"\b(?:(?:cipherward|grpc_server|process|scrape)_[a-z0-9_]+|member_component:[a-z0-9_:]+|up\b)"
)
FOLDER: Final = "DIR"
# What looks and changes nothing. A diagnosis has no other command: whoever follows it may be wrong.
LOOKING: Final = (
    "cipherward alliance status",
    "cipherward chain evidence",
    "cipherward chain witness",
    "cipherward contract get",
    "cipherward contract replay",
    "cipherward doctor",
    "cipherward key show",
    "cipherward member list",
    "cipherward notices",
    "cipherward study explain",
    "cipherward study show",
    "du",
    "openssl x509",
)
# The words of a page that stand for labels of the alert. One that the alert lacks stays.
PLACEHOLDERS: Final = {"member": "hospital-a", "component": "storage", "purpose": "record"}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The steps of a runbook, in the order of its page. words: every code span, steps included."""

    expressions: tuple[str, ...]
    commands: tuple[str, ...]
    words: frozenset[str]

    @classmethod
    def of(cls, alert: str) -> Diagnosis:
        """Read the runbook of an alert."""
        return cls.parse((RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8"))

    @classmethod
    def parse(cls, page: str) -> Diagnosis:
        """Read a page.

        Raises:
            ValueError: it has no diagnosis.
        """
        section = SECTION.search(page)
        if section is None:
            raise ValueError("the page has no section Diagnosis")
        code = [line or span for line, span in CODE.findall(section[1])]
        commands = [one for one in code if re.search(rf"\b{FOLDER}\b", one) and " " in one]
        expressions = [one for one in code if one not in commands and METRIC.search(one)]
        return cls(
            tuple(dict.fromkeys(expressions)), tuple(dict.fromkeys(commands)), frozenset(code)
        )


def looks(command: str) -> bool:
    """Say whether a command is one of those that a diagnosis may have."""
    words = shlex.split(command)
    return any(words[: len(known)] == known for known in map(str.split, LOOKING))


def filled(text: str, labels: Labels, names: Mapping[str, str]) -> str:
    """Return a step for an alert: its labels, and `names` of other words, put in their places."""
    places = dict(_places(labels)) | dict(names)
    # A word of its own: `storage` is no part of `cipherward_storage_records`.
    word = re.compile("|".join(rf"(?<![\w-]){re.escape(one)}(?![\w-])" for one in places))
    return word.sub(lambda found: places[found[0]], text) if places else text


def _places(labels: Labels) -> Iterator[tuple[str, str]]:
    for label, word in PLACEHOLDERS.items():
        if label in labels:
            yield word, labels[label]
