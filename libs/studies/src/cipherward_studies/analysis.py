"""What every analysis implements: the protocol between its mathematics and the frame.

An *analysis* is what the text of a study says (a frozen dataclass); its *plan* is the analysis
compiled for the study's variables. A plan is pure and has no state: all that it learns comes in
`allowed` (which of its cells may be published) and `rounds` (what was released so far).

Both `count` and `local` take one chunk of patients and are *additive*: the frame adds the results
of a member's chunks, encryption adds those of the members. Nothing else crosses a hospital's door.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from cipherward_studies.errors import IterateRefused
from cipherward_studies.forms import Form
from cipherward_studies.variables import Columns, Integers, Mask, Variable

# One patient adds at most 2^33 to a slot: 10 million stay below (t - 1) / 2 = 1.44e17 (2^34 would
# not), with room for the noise of a private release. Profiles: additive-1, t = 288230376150876161.
FRACTION_BITS = 33
PATIENTS_MAX = 10_000_000  # in all members together
DOMINANCE_STEPS = 1_000  # of a dominance cell, by patient: a thousandth of the range
# A sum of magnitudes in which one patient may make more than half says more of this one than of all
# others (the dominance rule of statistical offices, n = 1 and k = 50 %).
DOMINANCE_PATIENTS = 2


@dataclass(frozen=True, slots=True)
class Cell:
    """A number of patients behind a published figure; it is counted before anything is encrypted.

    Attributes:
        label: what the cell is, as explain and answers name it; from the study's text alone.
        partition: cells of one name here add up to a number that is published or can be derived:
            when one is left out, a second one is, else it follows by subtraction. "" is none.
        by: variables by whose values its patients are counted. A partition by a variable that cells
            of another analysis count by as well stands or falls as one (`whole`, which the frame
            sets): what is left out of it could follow from the other's numbers.
        dominance: the cell counts no patients, but in steps of 1/DOMINANCE_STEPS by how much they
            carry a sum of magnitudes; its least value is DOMINANCE_PATIENTS, not the minimum.
    """

    label: str
    partition: str = ""
    dominance: bool = False
    by: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Round:
    """One released round of one analysis.

    Attributes:
        parameters: empty in the first round.
        totals: of all members, the plan's `slots` integers; noisy in a private release.
        patients: how many take part in the study, as released; in a private one it may be off, and
            even be below 1.
    """

    parameters: bytes
    totals: tuple[int, ...]
    patients: int


class Result(Protocol):
    """What an analysis finds: a frozen dataclass of finite numbers, never NaN.

    What could not be computed is None or a named `outcome`, never an invented number.
    """

    kind: ClassVar[str]

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        ...

    def to_rows(self) -> list[dict[str, Any]]:
        """Return it as rows of equal keys, for a data frame."""
        ...


class AnalysisPlan(Protocol):
    """An analysis compiled for the variables of its study."""

    @property
    def rounds(self) -> int:
        """Return 1, or the most rounds of an iterative analysis."""
        ...

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Return the cells behind what it publishes, besides the cohort as a whole."""
        ...

    @property
    def slots(self) -> int:
        """Return how many integers `local` has, the same number in every round."""
        ...

    def count(self, rows: Columns) -> Integers:
        """Return how many patients of a chunk are in each cell. Additive over chunks."""
        ...

    def check(self, parameters: bytes) -> None:
        """Accept the parameters of a later round, which anybody may have written.

        Raises:
            IterateRefused: out of form or bounds, so that a sum could overflow or single out one
                patient.
        """
        ...

    def local(self, rows: Columns, allowed: Mask, parameters: bytes) -> Integers:
        """Return the integers of a chunk for one round. Additive over chunks.

        Args:
            rows: patients that take part; every value is present and in its range.
            allowed: by cell; what belongs to a cell that is not allowed is zero.
            parameters: empty in the first round; accepted by `check` in later ones.

        Returns:
            `slots` integers; one patient changes each by at most 2^FRACTION_BITS.
        """
        ...

    def sensitivity(self, parameters: bytes) -> float:
        """Return how far one patient moves `local` at most (L2, in integer steps)."""
        ...

    def advance(self, rounds: Sequence[Round], allowed: Mask) -> bytes | None:
        """Return the next round's parameters after the rounds so far, or None: it is done.

        Raises:
            TotalsMalformed: totals that no patients have.
        """
        ...

    def finish(self, rounds: Sequence[Round], allowed: Mask) -> Result:
        """Return what follows from the released rounds.

        Raises:
            TotalsMalformed: totals that no patients have.
        """
        ...

    def error_bounds(self) -> Mapping[str, str]:
        """Return for each figure, in a sentence, how far it may be from the pooled analysis."""
        ...


@runtime_checkable
class Cutting(Protocol):
    """A plan that counts patients by where a number lies between cuts."""

    @property
    def cuts(self) -> Mapping[str, tuple[float, ...]]:
        """Return the cuts by variable, ascending, without the ends of its range."""
        ...


class Analysis(Protocol):
    """What the text of a study asks for: a frozen dataclass with one attribute for each form."""

    kind: ClassVar[str]
    forms: ClassVar[tuple[Form, ...]]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return what it publishes, in words of the contract's closed list."""
        ...

    @property
    def variables(self) -> tuple[str, ...]:
        """Return the names of the variables that it uses."""
        ...

    def plan(self, variables: Mapping[str, Variable]) -> AnalysisPlan:
        """Return it compiled for the study's variables, which include all of its own.

        Raises:
            AnalysisRefused: it cannot be computed over such variables.
        """
        ...


class OneRound:
    """That part of an `AnalysisPlan` which is the same for each that is not iterative."""

    __slots__ = ()

    @property
    def rounds(self) -> int:
        """Return 1."""
        return 1

    def check(self, parameters: bytes) -> None:
        """Refuse any parameters: there is no later round.

        Raises:
            IterateRefused: always.
        """
        raise IterateRefused("the analysis has one round")

    def advance(self, rounds: Sequence[Round], allowed: Mask) -> bytes | None:
        """Return None: there is no later round."""
        return None
