"""The voice of the demonstration: chapters and short sentences, with times."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

INDENT = " " * 9  # as wide as the seconds before a sentence
COLUMNS = 110  # longer lines are hard to read, however wide the terminal is

WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven")

Told = Callable[[int], None]  # how many are done


def word(number: int) -> str:
    """Return a number of hospitals as a story says it, 0 to 7."""
    return WORDS[number]


class Teller:
    """Tells the story on a console; every line bears the seconds since the story began."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.perf_counter()
        self.chapters = 0

    @property
    def seconds(self) -> float:
        """Seconds since the story began."""
        return time.perf_counter() - self._began

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self.chapters += 1
        self.console.print(f"\n[bold cyan]{self.chapters}. {title}[/]")

    def say(self, text: str) -> None:
        """Tell one thing that has happened."""
        first, *rest = self._lines(text)
        self.console.print(f"[dim]{self.seconds:5.1f} s[/]  {escape(first)}")
        for line in rest:
            self.console.print(INDENT + escape(line))

    def explain(self, text: str) -> None:
        """Say what a word means, or why something is done."""
        for line in self._lines(text):
            self.console.print(f"{INDENT}[dim]{escape(line)}[/]")

    def _lines(self, text: str) -> list[str]:
        return textwrap.wrap(text, min(self.console.width, COLUMNS) - len(INDENT))

    @contextmanager
    def counting(self, what: str, total: int) -> Generator[Told]:
        """Show long work as a bar, where somebody looks at it; the context gets who moves it."""
        if not self.console.is_terminal:
            yield lambda _done: None
            return
        columns = (
            TextColumn(INDENT + "{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as shown:
            bar = shown.add_task(what, total=total)
            yield lambda done: shown.update(bar, completed=done)
