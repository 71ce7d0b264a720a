"""A released study in the hands of its researcher: frames, pictures, receipts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cipherward_client.research.frames import Engine, to_frame
from cipherward_client.research.plots import can_draw, plot
from cipherward_client.sdk.study_results import StudyResult
from cipherward_studies.answer import Answer


@dataclass(frozen=True, slots=True)
class Study:
    """A released study."""

    result: StudyResult
    _save: Callable[[Path], list[Path]] = field(repr=False)

    def __repr__(self) -> str:
        kinds = ", ".join(one.kind for one in self.answer.results)
        return f"<study {self.id}: {kinds} of {self.answer.patients} patients>"

    @property
    def id(self) -> str:
        """Its id, 32 hexadecimal digits."""
        return self.result.study_id.hex()

    @property
    def answer(self) -> Answer:
        """What it says, as dataclasses."""
        return self.result.answer

    def frame(self, analysis: int = 0, engine: Engine = "pandas") -> Any:
        """Return an analysis' result as a data frame.

        Args:
            analysis: its place in the study, from 0.

        Raises:
            ExtraMissing: pandas or polars is not installed.
        """
        return to_frame(self.answer.results[analysis], engine)

    def plot(self, analysis: int | None = None) -> Any:
        """Return the picture of an analysis, or of the first that has one: a matplotlib Figure.

        Raises:
            NotDrawn: there is no picture of it.
            ExtraMissing: matplotlib is not installed.
        """
        results = self.answer.results
        if analysis is None:
            return plot(next((one for one in results if can_draw(one)), results[0]))
        return plot(results[analysis])

    def save_receipts(self, folder: str | Path) -> list[Path]:
        """Write receipts, the study's text and a citation into a folder; return the files.

        Raises:
            ClientError: a receipt does not verify, or a file cannot be written.
        """
        return self._save(Path(folder))
