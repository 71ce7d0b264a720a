"""Sums of products of two variables that two members hold of the same patients.

It is computed on stored columns under a data key, never over rows: nobody encrypts anew, and a
patient counts only if both members have a value in range (`column_plan`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, cast

from cipherward_chain.canonical import Value
from cipherward_studies.analyses.plain import plain
from cipherward_studies.errors import AnalysisRefused, Fault
from cipherward_studies.forms import (
    ABSENT,
    REQUIRED,
    Form,
    Schema,
    Text,
    map_schema,
    map_value,
    read_map,
    variable_name,
)
from cipherward_studies.number_forms import Integer
from cipherward_studies.variables import Variable

FRACTION_BITS_MAX = 20  # as of stored columns, whose values are below 2^20 steps

_OPERAND: tuple[Form, ...] = (
    variable_name("variable"),
    Text("at", r"[a-z][a-z0-9-]{1,30}", "the name of a member"),
    Integer("fraction_bits", 0, FRACTION_BITS_MAX, 0),
)


@dataclass(frozen=True, slots=True)
class Operand:
    """A member's stored column of a variable, in steps of 2^-fraction_bits."""

    variable: str
    at: str
    fraction_bits: int = 0

    @property
    def step(self) -> float:
        """What one step of the stored integers is worth."""
        return 2.0**-self.fraction_bits


@dataclass(frozen=True, slots=True)
class OperandForm:
    """One named operand."""

    name: str
    default: Any = REQUIRED

    def read(self, value: object, at: str, faults: list[Fault]) -> Any:
        """Return the operand."""
        before = len(faults)
        entries = read_map(_OPERAND, value, at, faults)
        return ABSENT if entries is None or len(faults) > before else Operand(**entries)

    def value(self, read: Any) -> Value:
        """Return the canonical map."""
        return cast("Value", map_value(_OPERAND, read))

    def schema(self) -> Schema:
        """Return the map's schema."""
        return map_schema(_OPERAND)


@dataclass(frozen=True, slots=True)
class ProductSumResult:
    """Sums over the patients of whom both members have a value, in the variables' units.

    Attributes:
        covariance: of the sample (divisor patients - 1).
    """

    kind: ClassVar[str] = "product_sum"

    x: str
    x_at: str
    y: str
    y_at: str
    patients: int
    sum_x: float
    sum_y: float
    mean_x: float
    mean_y: float
    product_sum: float
    covariance: float

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return plain(self)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return the one row that it is."""
        return [self.to_document()]


@dataclass(frozen=True, slots=True)
class ProductSum:
    """Sums of products of two members' stored columns, over the patients that both have."""

    kind: ClassVar[str] = "product_sum"
    forms: ClassVar[tuple[Form, ...]] = (OperandForm("x"), OperandForm("y"))

    x: Operand
    y: Operand

    def __post_init__(self) -> None:
        if self.x.at == self.y.at:
            raise AnalysisRefused("product_sum is about columns of two members: name two")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Everything that `ProductSumResult` says."""
        return ("covariance", "mean", "product_sum", "sum")

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables of both columns; they may be one."""
        return tuple(dict.fromkeys((self.x.variable, self.y.variable)))

    def plan(self, variables: Mapping[str, Variable]) -> NoReturn:
        """Refuse: no member computes it over rows.

        Raises:
            AnalysisRefused: always.
        """
        raise AnalysisRefused("product_sum is computed on stored columns, by a column study alone")

    def finish(self, patients: int, sum_x: int, sum_y: int, product: int) -> ProductSumResult:
        """Return what follows from the sums, in steps, over two patients or more."""
        x, y = self.x, self.y
        # The integers are exact: so is the difference, however near the means' product is.
        centred = (patients * product - sum_x * sum_y) / (patients * (patients - 1))
        return ProductSumResult(
            x=x.variable,
            x_at=x.at,
            y=y.variable,
            y_at=y.at,
            patients=patients,
            sum_x=sum_x * x.step,
            sum_y=sum_y * y.step,
            mean_x=sum_x * x.step / patients,
            mean_y=sum_y * y.step / patients,
            product_sum=product * x.step * y.step,
            covariance=centred * x.step * y.step,
        )
