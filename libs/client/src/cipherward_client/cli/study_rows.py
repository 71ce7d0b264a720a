"""A hospital's rows in a CSV file, read a part at a time: the file may be larger than memory."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cipherward_client.cli.faults import TableMalformed
from cipherward_client.sdk.contributions import RowsPart

REFERENCE = "reference"
PART_ROWS = 4_096  # 0.7 MB of 20 variables


@dataclass(frozen=True, slots=True)
class TableFile:
    """A CSV file of rows under a line of `name` or `name [unit]`; an empty field is missing.

    A first column named `reference` has the rows' references, 32 hexadecimal digits each.
    """

    path: Path
    variables: tuple[str, ...]
    named: bool

    @classmethod
    def of(cls, path: Path) -> TableFile:
        """Read the first line of a file.

        Raises:
            OSError: the file cannot be read.
            TableMalformed: it names no variables.
        """
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                names = [name.strip() for name in next(csv.reader(file), list[str]())]
        except (ValueError, csv.Error) as error:  # also what is no UTF-8
            raise TableMalformed(f"{path}: {error}") from error
        named = names[:1] == [REFERENCE]
        if not names[named:]:
            raise TableMalformed(f"{path} has no rows")
        return cls(path, tuple(names[named:]), named)

    def parts(self) -> Iterator[RowsPart]:
        """Yield the rows, some thousand at a time; at least one part.

        Raises:
            OSError: the file cannot be read.
            TableMalformed: the text names the line.
        """
        rows: list[list[float]] = []
        references: list[bytes] = []
        line = 1
        try:
            with self.path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.reader(file)
                next(reader)
                for fields in reader:
                    line = reader.line_num
                    reference, values = self._row(fields)
                    rows.append(values)
                    references.append(reference)
                    if len(rows) == PART_ROWS:
                        yield _part(rows, references)
                        rows, references = [], []
        except (ValueError, csv.Error) as error:  # also what is no UTF-8
            raise TableMalformed(f"{self.path}: line {line}: {error}") from error
        if line == 1:
            raise TableMalformed(f"{self.path} has no rows")
        if rows:
            yield _part(rows, references)

    def _row(self, fields: list[str]) -> tuple[bytes, list[float]]:
        if len(fields) != len(self.variables) + self.named:
            raise ValueError(f"it has {len(fields)} fields")
        reference = bytes.fromhex(fields[0]) if self.named else b""
        if len(reference) != 16 * self.named:
            raise ValueError("a reference has 32 hexadecimal digits")
        texts = fields[self.named :]
        return reference, [float(text) if text.strip() else math.nan for text in texts]


def _part(rows: list[list[float]], references: list[bytes]) -> RowsPart:
    return RowsPart(np.array(rows, dtype=np.float64), b"".join(references))
