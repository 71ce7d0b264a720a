"""What the user sees: results, progress and errors, for people or as one JSON document.

With `--json`, stdout gets exactly one document, a result or `{"error": {…}}`, and nothing else;
progress goes to stderr. Without it, errors go to stderr.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from cipherward_client.cli.faults import CliFault
from cipherward_client.sdk.advice import UNEXPECTED
from cipherward_client.sdk.errors import explained

FAILED = 1
USAGE = 2
PIPE_COLUMNS = 160  # a row with a record's id, two members and a label
STATE_FOLDER = Path(".local") / "state" / "cipherward"  # the XDG default, below the home folder

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as it is shown: the reason, one cause, one fix, and the words of who refused."""

    reason: str
    cause: str
    fix: str
    detail: str = ""


def refusal_of(error: BaseException) -> Refusal:
    """Return what the user is told about an error; a crash is written to a log file first."""
    if isinstance(error, CliFault):
        return Refusal(error.reason, error.cause, error.fix, str(error))
    known = explained(error)
    if known.reason != UNEXPECTED:
        return Refusal(known.reason, known.cause, known.fix, known.detail)
    log = write_crash(error)
    return Refusal(
        "INTERNAL",
        "Something went wrong that this program did not foresee.",
        f"Report it together with {log}.",
        type(error).__name__,
    )


def write_crash(error: BaseException) -> Path:
    """Append the traceback, without any variable's value, to a private file; return its path."""
    folder = Path.home() / STATE_FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:  # no home, or one that cannot be written
        folder = Path(tempfile.mkdtemp(prefix="cipherward-"))
    log = folder / "crashes.log"
    frames = traceback.format_exception(error)
    with suppress(OSError), log.open("a", encoding="utf-8") as file:
        log.chmod(0o600)
        file.write(f"--- {datetime.now(UTC).isoformat()}\n{''.join(frames)}\n")
    return log


def show_refusal(refusal: Refusal, *, as_json: bool) -> None:
    """Print an error."""
    if as_json:
        print(json.dumps({"error": asdict(refusal)}))
        return
    lines = [f"{refusal.reason}: {refusal.cause}", f"  fix: {refusal.fix}"]
    if refusal.detail:
        lines.insert(1, f"  {refusal.detail}")
    print("\n".join(lines), file=sys.stderr)


def console() -> Console:
    """Return the console of stdout: as wide as the terminal, or so wide that no id is broken."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PIPE_COLUMNS)


class Output:
    """Where a command puts what it has to say."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.console = console()
        self._errors = Console(stderr=True, highlight=False)

    def result(self, document: Document, *lines: str) -> None:
        """Print the command's result: the document, or the lines that tell it."""
        if self.as_json:
            print(json.dumps(document), flush=True)
            return
        for line in lines:
            self.console.print(line, markup=False, soft_wrap=True)

    def vote(self, kind: str, ident: str, member: str, approve: bool, height: int) -> None:
        """Print that a member has voted on a contract of some kind, as `data key`."""
        self.result(
            {
                kind.replace(" ", "_"): ident,
                "member": member,
                "approve": approve,
                "height": height,
            },
            f"{member} said {'yes' if approve else 'no'} to the {kind} in block {height}.",
        )

    def table(
        self, document: Document, columns: Sequence[str], rows: Sequence[Sequence[str]]
    ) -> None:
        """Print the document, or the rows as a table."""
        if self.as_json:
            print(json.dumps(document), flush=True)
            return
        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    def say(self, text: str) -> None:
        """Tell a person something on the way to the result."""
        if not self.as_json:
            self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def progress(self) -> Generator[Report]:
        """Show long work on stderr while the context is open, if a person looks at it."""
        if self.as_json or not self._errors.is_terminal:
            yield Report(None)
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=self._errors, transient=True) as shown:
            yield Report(shown)


class Report:
    """A progress callback `(stage, done, total)`, shown as one bar a stage."""

    def __init__(self, shown: Progress | None) -> None:
        self._shown = shown
        self._bars: dict[str, Any] = {}  # rich's TaskID is a NewType of int without a stub

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is."""
        if self._shown is None:
            return
        if stage not in self._bars:
            self._bars[stage] = self._shown.add_task(stage, total=total)
        self._shown.update(self._bars[stage], completed=done, total=total)


def clock(seconds: float) -> str:
    """Return a Unix time as people and scripts read it, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds")
