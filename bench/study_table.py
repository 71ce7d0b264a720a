"""`python -m bench.study_table`: every statistic on real patients, into docs/studies.md.

Four hospitals run on this machine. Every study of `study_cases` is proposed, approved, encrypted,
proven, added, released and decrypted; its answer is held against a trusted library's over the same
patients pooled, and every decrypted integer against the hospitals' own sums.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench import machine
from bench.stage import whole_alliance
from bench.study_cases import CASES, DATA_SETS, Case
from bench.study_columns import ENROLLED, TABLE, StoredLine, measure_columns
from bench.study_oracles import Figure
from bench.study_runs import Research
from bench.tables import with_table
from cipherward_client.demo.tables import dealt, load_table
from cipherward_studies.explain import explain
from cipherward_studies.plan import Plan

PAGE = Path(__file__).resolve().parent.parent / "docs" / "studies.md"
MARKERS = ("<!-- studies:begin -->", "<!-- studies:end -->")
MEGABYTE = 1e6
HEAD = (
    "| statistic | patients | one figure | encrypted | pooled | largest error of all figures | "
    "rounds | time | sent |",
    "|---|---|---|---|---|---|---|---|---|",
)


@dataclass(frozen=True, slots=True)
class Line:
    """What one study of the table gave.

    sent: bytes that one hospital sends to each other one: ciphertexts and proofs of all rounds.
    """

    title: str
    patients: str
    figures: Sequence[Figure]
    rounds: int
    seconds: float
    sent: int

    @property
    def error(self) -> float:
        """The largest error of all figures."""
        return max(figure.error for figure in self.figures)

    def markdown(self) -> str:
        """Return it as a row."""
        first = self.figures[0]
        cells = (
            self.title,
            self.patients,
            first.name,
            f"{first.found:.10g}",
            f"{first.expected:.10g}",
            f"{self.error:.0e}" if self.error else "0",
            f"{self.rounds}",
            f"{self.seconds:.1f} s",
            f"{self.sent / MEGABYTE:.1f} MB",
        )
        return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run all studies and write the table."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    load = machine.load()
    lines = asyncio.run(measure(Console(width=240)))
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_table(page, markdown(lines, load), MARKERS), encoding="utf-8")


async def measure(console: Console) -> list[Line]:
    """Run every study of the table, one after the other, in one alliance.

    Raises:
        ClientError, StudyFailed: a study did not end with the right sums.
    """
    async with whole_alliance() as stage:
        members = list(stage.hospitals)
        tables = {
            name: dealt(load_table(name), list(load_table(name)), members) for name in DATA_SETS
        }
        research = await Research.begin(stage, tables, DATA_SETS)
        lines: list[Line] = []
        for case in CASES:
            lines.append(await _line(research, case))
            console.print(lines[-1].markdown(), markup=False)
        for stored in await measure_columns(stage):
            lines.append(_stored_line(stored))
            console.print(lines[-1].markdown(), markup=False)
        return lines


def _stored_line(stored: StoredLine) -> Line:
    patients = f"{ENROLLED} of {TABLE}"
    return Line(stored.title, patients, stored.figures, 1, stored.seconds, stored.sent)


async def _line(research: Research, case: Case) -> Line:
    draft = case.draft
    ran = await research.run(draft, await research.permit(draft))
    answer = ran.result.answer
    patients = case.patients(research.tables[draft.data_set])
    plan = explain(Plan.of(draft.spec(b"\0")))
    return Line(
        title=case.title,
        patients=f"{answer.patients:,} of {case.table}",
        figures=case.oracle(answer, patients),
        rounds=answer.rounds,
        seconds=ran.seconds,
        sent=plan.counts.bytes + answer.rounds * plan.values.bytes,
    )


def markdown(lines: Sequence[Line], load: float) -> str:
    """Return the table and what it was measured on.

    Args:
        load: `machine.load` before the first study.
    """
    known = machine.describe(load)
    note = (
        f"{known['cpu']}, {known['cores']} cores for all four hospitals, Python {known['python']}; "
        f"load before {known['load_before']}. `make study-table` measures again."
    )
    return "\n".join([*HEAD, *(line.markdown() for line in lines), "", note])


if __name__ == "__main__":
    main()
