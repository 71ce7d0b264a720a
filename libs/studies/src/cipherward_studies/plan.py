"""The plan of a study: which integers each member encrypts, and what follows from their sums.

A pure function of the study's text, so that contributors, guardians and the researcher agree on
every slot without a word.

| ciphertexts | slots |
|---|---|
| counts | patients; 1 if the member has any; the cells: excluded patients, then each analysis' |
| values of a round | patients; excluded patients; then the slots of each analysis |

The patients are published with every study. How many were excluded is a cell like others: it fails
when it is small, and the answer then says that it is not told.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cipherward_studies.analysis import (
    FRACTION_BITS,
    PATIENTS_MAX,
    AnalysisPlan,
    Cell,
    Round,
)
from cipherward_studies.answer import Answer
from cipherward_studies.distinct import TwoValued
from cipherward_studies.errors import IterateRefused, TooManySlots, TotalsMalformed
from cipherward_studies.iterates import iterate_octets, parse_iterate
from cipherward_studies.privacy import MICRO, NoiseBlock, sigma_of
from cipherward_studies.spec import StudySpec
from cipherward_studies.variables import Columns, Integers, Mask, Prepared, prepare
from cipherward_studies.verdict import HEADER_COUNTS, judge, judged_cells
from cipherward_threshold.parameters import profile
from cipherward_threshold.proofs.bounds import BATCH_MAX

HEADER_VALUES = 2  # patients; excluded patients
EXCLUDED = Cell("left out for a missing or implausible value")


@dataclass(frozen=True, slots=True)
class Released:
    """One released round of a study: the iterate (empty in the first) and the totals of all."""

    iterate: bytes
    totals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of one study; make it with `of`."""

    spec: StudySpec
    analyses: tuple[AnalysisPlan, ...]
    cells: tuple[Cell, ...]
    slots_per_ciphertext: int

    @classmethod
    def of(cls, spec: StudySpec) -> Plan:
        """Return the plan of a study.

        Raises:
            TooManySlots: more counts or values than a batch of ciphertexts carries.
            UnknownProfile: there are no such parameters.
        """
        variables = {variable.name: variable for variable in spec.variables}
        analyses = tuple(analysis.plan(variables) for analysis in spec.analyses)
        cells = (EXCLUDED, *judged_cells(analyses))
        found = cls(spec, analyses, cells, profile(spec.profile).slots)
        for what, slots in (("counts", found.count_slots), ("values", found.value_slots)):
            if slots > BATCH_MAX * found.slots_per_ciphertext:
                raise TooManySlots(
                    f"{slots} {what} are more than {BATCH_MAX} ciphertexts carry", slots=slots
                )
        return found

    @property
    def count_slots(self) -> int:
        """How many integers `count` has."""
        return HEADER_COUNTS + len(self.cells)

    @property
    def value_slots(self) -> int:
        """How many integers `local` has, in every round."""
        return HEADER_VALUES + sum(plan.slots for plan in self.analyses)

    @property
    def rounds(self) -> int:
        """The most rounds of values that are released."""
        return min(self.spec.rounds_max, max((plan.rounds for plan in self.analyses), default=1))

    def batches(self, values: Sequence[int]) -> list[list[int]]:
        """Return counts or values cut into the slots of 1 to 8 ciphertexts."""
        width = self.slots_per_ciphertext
        return [list(values[at : at + width]) for at in range(0, len(values), width)]

    def ciphertexts(self, slots: int) -> int:
        """Return how many ciphertexts carry so many slots."""
        return -(-slots // self.slots_per_ciphertext)

    def prepared(self, rows: Columns) -> Prepared:
        """Return who of a chunk takes part.

        Raises:
            ColumnsMalformed, ValueMissing, ValueOutside: as `variables.prepare`.
        """
        return prepare(self.spec.variables, self.spec.cohort, rows)

    def count(self, chunks: Iterable[Columns]) -> list[int]:
        """Return a member's counts, `count_slots` of them; memory follows one chunk.

        Raises:
            ColumnsMalformed, ValueMissing, ValueOutside: as `variables.prepare`.
            FlagUndeclared: a number has only two values here.
        """
        patients = excluded = 0
        counts = np.zeros(len(self.cells) - 1, dtype=np.int64)
        watch = TwoValued(self.spec.variables)
        for rows in chunks:
            found = self.prepared(rows)
            patients += found.patients
            excluded += found.excluded
            watch.see(found.columns)
            counts += _joined([plan.count(found.columns) for plan in self.analyses])
        watch.check(patients, self.spec.minimum)
        return [patients, int(patients > 0), excluded, *(int(count) for count in counts)]

    def verdict(self, counts: Sequence[int], own: Sequence[int]) -> tuple[int, ...]:
        """Return the places of the cells that fail (see `verdict.judge`).

        Raises:
            CountsMalformed, ContributorsTooFew, CohortTooSmall: as there.
        """
        return judge(self.cells, counts, own, self.spec.minimum)

    def local(
        self, chunks: Iterable[Columns], left_out: Sequence[int], iterate: bytes
    ) -> list[int]:
        """Return a member's values of one round, `value_slots` of them, without noise.

        Args:
            chunks: the rows that were counted, the same ones.
            left_out: cells that a guardian's verdict fails.
            iterate: empty in the first round.

        Raises:
            ColumnsMalformed, ValueMissing, ValueOutside: as `variables.prepare`.
            IterateRefused: the iterate is out of form or bounds.
        """
        allowed = self._allowed(left_out)
        parameters = self._parameters(iterate)
        patients = excluded = 0
        values = np.zeros(self.value_slots - HEADER_VALUES, dtype=np.int64)
        for rows in chunks:
            found = self.prepared(rows)
            patients += found.patients
            excluded += found.excluded
            values += _joined(
                [
                    np.zeros(plan.slots, np.int64)
                    if given is None
                    else plan.local(found.columns, cells, given)
                    for plan, cells, given in zip(self.analyses, allowed, parameters, strict=True)
                ]
            )
        bound = patients << FRACTION_BITS
        if patients > PATIENTS_MAX or (len(values) and int(np.abs(values).max()) > bound):
            raise IterateRefused("a patient would add more to a sum than a slot holds")
        told = 0 if 0 in left_out else excluded
        return [patients, told, *(int(value) for value in values)]

    def check_iterate(self, iterate: bytes) -> None:
        """Accept the parameters of a later round.

        Raises:
            IterateRefused: out of form, or out of an analysis' bounds.
        """
        self._parameters(iterate)

    def noise(self, iterate: bytes) -> tuple[NoiseBlock, ...]:
        """Return the noise of one round, nothing for an exact study.

        The round's rho is shared equally by the header and each analysis that takes part.

        Raises:
            IterateRefused: as `check_iterate`.
        """
        if not self.spec.rho_micro:
            return ()
        parameters = self._parameters(iterate)
        shares = 1 + sum(given is not None for given in parameters)
        rho = self.spec.rho_micro / MICRO / shares
        blocks = [NoiseBlock(0, HEADER_VALUES, sigma_of(1.0, rho))]
        for start, plan, given in zip(self._starts(), self.analyses, parameters, strict=True):
            if given is not None:
                sigma = sigma_of(plan.sensitivity(given), rho)
                blocks.append(NoiseBlock(start, start + plan.slots, sigma))
        return tuple(blocks)

    def advance(self, rounds: Sequence[Released], left_out: Sequence[int]) -> bytes | None:
        """Return the next round's iterate, or None when nothing more is to be asked.

        Raises:
            TotalsMalformed: totals that no patients have.
        """
        if len(rounds) >= self.rounds:
            return None
        following = [
            plan.advance(own, allowed) if len(own) == len(rounds) < plan.rounds else None
            for plan, own, allowed in zip(
                self.analyses, self._rounds(rounds), self._allowed(left_out), strict=True
            )
        ]
        if all(parameters is None for parameters in following):
            return None
        return iterate_octets(following)

    def finish(self, rounds: Sequence[Released], left_out: Sequence[int]) -> Answer:
        """Return the study's answer, from one released round or more.

        Raises:
            TotalsMalformed: totals that no patients have.
        """
        own_rounds = self._rounds(rounds)
        totals = rounds[0].totals
        return Answer(
            patients=totals[0],
            excluded=None if 0 in left_out else totals[1],
            minimum=self.spec.minimum,
            private=bool(self.spec.rho_micro),
            rounds=len(rounds),
            left_out=tuple(self.cells[place].label for place in left_out),
            results=tuple(
                plan.finish(own, allowed)
                for plan, own, allowed in zip(
                    self.analyses, own_rounds, self._allowed(left_out), strict=True
                )
            ),
        )

    def _starts(self) -> list[int]:
        """Return the first slot of each analysis in a round's values."""
        widths = [plan.slots for plan in self.analyses]
        return list(itertools.accumulate(widths, initial=HEADER_VALUES))[: len(widths)]

    def _allowed(self, left_out: Sequence[int]) -> list[Mask]:
        """Return for each analysis which of its cells may be published."""
        mask = np.ones(len(self.cells), dtype=np.bool_)
        mask[list(left_out)] = False
        widths = [len(plan.cells) for plan in self.analyses]
        ends = list(itertools.accumulate(widths, initial=1))
        return [mask[start:end] for start, end in itertools.pairwise(ends)]

    def _parameters(self, iterate: bytes) -> list[bytes | None]:
        """Return each analysis' parameters, None for one that has finished; all are checked."""
        if not iterate:
            return [b""] * len(self.analyses)
        parameters = parse_iterate(iterate, len(self.analyses))
        for plan, given in zip(self.analyses, parameters, strict=True):
            if given is not None:
                plan.check(given)
        return parameters

    def _rounds(self, rounds: Sequence[Released]) -> list[list[Round]]:
        """Return for each analysis the rounds in which it took part."""
        if not rounds:
            raise TotalsMalformed("no round is released")
        found: list[list[Round]] = [[] for _ in self.analyses]
        for released in rounds:
            if len(released.totals) != self.value_slots:
                raise TotalsMalformed("another number of totals", need=self.value_slots)
            parameters = self._parameters(released.iterate)
            for own, start, plan, given in zip(
                found, self._starts(), self.analyses, parameters, strict=True
            ):
                if given is not None:
                    slots = tuple(released.totals[start : start + plan.slots])
                    own.append(Round(given, slots, released.totals[0]))
        return found


def _joined(parts: Sequence[Integers]) -> Integers:
    """Return the parts of all analyses behind each other; there may be none."""
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])
