"""Tables of studies: rows that go in, and statistics that come out, as JSON or lines of text."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cipherward_client.cli.faults import TableMalformed
from cipherward_client.sdk.studies import StudyResult
from cipherward_threshold.study import LinearRegression, StudyStatistics

REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class Table:
    """A hospital's rows: a number for each name, NaN where it is missing.

    references: of the rows' patients, 16 bytes each; empty when the file has none.
    """

    names: list[str]
    rows: list[list[float]]
    references: list[bytes] = field(default_factory=list[bytes])


def read_table(path: Path) -> Table:
    """Read a CSV file with names in its first line; an empty field is a missing value.

    A first column named `reference` has the rows' references, 32 hexadecimal digits each.

    Raises:
        OSError: the file cannot be read.
        TableMalformed: the text names the line.
    """
    rows: list[list[float]] = []
    references: list[bytes] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            names = [name.strip() for name in next(reader, list[str]())]
            columns, named = len(names), names[:1] == [REFERENCE]
            names = names[named:]
            for row in reader:
                if len(row) != columns:
                    raise TableMalformed(f"{path}: line {reader.line_num} has {len(row)} fields")
                if named:
                    references.append(bytes.fromhex(row.pop(0)))
                rows.append([float(text) if text.strip() else math.nan for text in row])
    except ValueError as error:  # also what is no UTF-8
        raise TableMalformed(f"{path}: after {len(rows)} rows: {error}") from error
    except csv.Error as error:
        raise TableMalformed(f"{path}: {error}") from error
    if not names or not rows:
        raise TableMalformed(f"{path} has no rows")
    return Table(names, rows, references)


def statistics_document(found: StudyStatistics) -> dict[str, Any]:
    """Return the statistics as JSON takes them; what was not asked for is empty or null."""
    return {
        "count": found.count,
        "sums": dict(found.sums),
        "means": dict(found.means),
        "variances": dict(found.variances),
        "covariances": [
            {"a": a, "b": b, "covariance": value} for (a, b), value in found.covariances.items()
        ],
        "regression": _regression(found.regression),
    }


def _regression(found: LinearRegression | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "intercept": found.intercept,
        "intercept_standard_error": found.intercept_standard_error,
        "coefficients": dict(found.coefficients),
        "standard_errors": dict(found.standard_errors),
        "residual_variance": found.residual_variance,
        "r_squared": found.r_squared,
        "degrees_of_freedom": found.degrees_of_freedom,
    }


def lines_of(result: StudyResult) -> list[str]:
    """Return the result as lines that a person reads."""
    found = result.statistics
    lines = [
        f"{found.count} patients of {len(result.contributors)} hospitals; released by "
        f"{', '.join(result.release_set)}"
    ]
    names = list(found.means or found.variances or found.sums)
    if names:
        lines.append(f"{'variable':<16}{'sum':>16}{'mean':>14}{'variance':>16}")
    lines += [
        f"{name:<16}{_number(found.sums.get(name)):>16}{_number(found.means.get(name)):>14}"
        f"{_number(found.variances.get(name)):>16}"
        for name in names
    ]
    if found.regression is not None:
        lines += _regression_lines(found.regression)
    return lines


def _regression_lines(found: LinearRegression) -> list[str]:
    lines = [f"{'regression':<16}{'coefficient':>16}{'std. error':>14}"]
    rows = [("intercept", found.intercept, found.intercept_standard_error)]
    rows += [
        (name, found.coefficients[name], found.standard_errors[name]) for name in found.coefficients
    ]
    lines += [f"{name:<16}{value:>16.6g}{error:>14.4g}" for name, value, error in rows]
    lines.append(f"R squared {found.r_squared:.4f}, {found.degrees_of_freedom} degrees of freedom")
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
