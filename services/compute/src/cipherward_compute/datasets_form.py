"""The form of a data set as it is contributed: a header, then parts of rows in their order."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cipherward_chain.batches import CHUNK_BYTES_MAX
from cipherward_chain.canonical import decode, encode
from cipherward_compute.errors import DataSetMalformed, DataSetTooLarge
from cipherward_compute.opt_outs import REFERENCE_BYTES
from cipherward_studies.analysis import PATIENTS_MAX
from cipherward_studies.document import VARIABLES_MAX

# As in the text of a study: names that can name no disease, and variables of its form.
DATA_SET = re.compile(r"cohort-[1-9][0-9]?")
VARIABLE = re.compile(r"[a-z][a-z0-9_]{0,31}")
UNIT = re.compile(r"[^\x00-\x1f\x7f]{0,32}")

VALUE_BYTES = 8  # IEEE 754, little-endian
VALUES_MAX = 1 << 28  # 2 GiB on the disk: ten million patients of 26 variables
# A row is named by 128 bits of a keyed hash of its reference: no two of ten million share one.
NAME_BYTES = 16
# A stored chunk has this much or up to one message more: the database's one thread writes it in
# some milliseconds, and reading it takes no more memory than a message does.
STORED_BYTES = CHUNK_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Column:
    """A variable of a data set; an empty unit means that the hospital declares none."""

    name: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """What a contribution says first."""

    request_id: str
    data_set: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class RowsPart:
    """Some rows: values row by row, NaN where one is missing; references in the same order."""

    values: bytes = field(repr=False)
    references: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class RowsEnd:
    """What a contribution says last: how many rows it has sent."""

    rows: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows as they are stored: values row by row, then their names, if they have any."""

    rows: int
    octets: bytes = field(repr=False)


def check_header(header: Header) -> None:
    """Accept a header.

    Raises:
        DataSetTooLarge: more variables than a data set has.
        DataSetMalformed: a name, a unit or the request id is out of form.
    """
    names = [column.name for column in header.columns]
    if len(names) > VARIABLES_MAX:
        raise _too_large()
    if not DATA_SET.fullmatch(header.data_set):
        raise DataSetMalformed("a data set is named cohort-1 to cohort-99")
    if not names or len(set(names)) != len(names):
        raise DataSetMalformed("a data set has variables of different names")
    if not all(VARIABLE.fullmatch(name) for name in names):
        raise DataSetMalformed("a variable is named by lower-case letters, digits and _")
    if not all(UNIT.fullmatch(column.unit) for column in header.columns):
        raise DataSetMalformed("a unit has at most 32 printable characters")
    try:
        canonical = str(uuid.UUID(header.request_id))
    except ValueError:
        canonical = ""
    if canonical != header.request_id:
        raise DataSetMalformed("the request id is not a UUID in lower case")


def _too_large() -> DataSetTooLarge:
    return DataSetTooLarge(
        f"a data set has at most {PATIENTS_MAX} rows and {VALUES_MAX} values of {VARIABLES_MAX}"
        " variables",
        rows_max=PATIENTS_MAX,
        values_max=VALUES_MAX,
        variables_max=VARIABLES_MAX,
    )


class Arriving:
    """Checks the parts of a contribution as they come, and makes chunks of them.

    It holds less than two messages' rows, and 16 bytes of each row that has a reference.
    """

    def __init__(self, header: Header, name_of: Callable[[bytes], bytes]) -> None:
        """Begin.

        Args:
            header: accepted by `check_header`.
            name_of: the keyed name of a reference, of which the first NAME_BYTES are used.
        """
        self._header = header
        self._name_of = name_of
        self._values, self._references = hashlib.sha256(), hashlib.sha256()
        self._parts: list[bytes] = []
        self._waiting = 0  # octets of parts
        self._names: list[bytes] = []
        self._all_names: list[bytes] = []
        self.rows = 0  # that have come
        self._taken = 0  # of them, in chunks
        self.named: bool | None = None  # whether rows have references; None before the first

    def add(self, part: RowsPart) -> Chunk | None:
        """Take a part; return a chunk when enough rows wait. About 2 us a row with a reference.

        Raises:
            DataSetTooLarge: more rows or values than a data set has.
            DataSetMalformed: no whole rows, an infinite value, or references for some rows only.
        """
        row_bytes = VALUE_BYTES * len(self._header.columns)
        rows, rest = divmod(len(part.values), row_bytes)
        if rest or not rows:
            raise DataSetMalformed("each part of a data set has whole rows, at least one")
        self.rows += rows
        if self.rows > PATIENTS_MAX or self.rows * len(self._header.columns) > VALUES_MAX:
            raise _too_large()
        if bool(np.isinf(np.frombuffer(part.values, dtype="<f8")).any()):
            raise DataSetMalformed("a value is infinite; a missing one is NaN")
        named = bool(part.references)
        if named and len(part.references) != REFERENCE_BYTES * rows:
            raise DataSetMalformed(
                f"a reference has {REFERENCE_BYTES} bytes; each row has one, or none has"
            )
        if self.named not in (None, named):
            raise DataSetMalformed("each row has a reference, or none has")
        self.named = named
        self._values.update(part.values)
        self._references.update(part.references)
        self._parts.append(part.values)
        self._waiting += len(part.values)
        if named:
            names = b"".join(
                self._name_of(part.references[at : at + REFERENCE_BYTES])[:NAME_BYTES]
                for at in range(0, len(part.references), REFERENCE_BYTES)
            )
            self._names.append(names)
            self._all_names.append(names)
        return None if self._waiting < STORED_BYTES else self._taken_out()

    def end(self, said: RowsEnd | None) -> tuple[Chunk | None, bytes]:
        """Return the last chunk, if rows are left, and bytes that tell two contributions apart.

        Raises:
            DataSetMalformed: no row came, not as many as were sent, or two have one reference.
        """
        if said is None or said.rows != self.rows:
            raise DataSetMalformed("not all rows have come: is the contribution cut off?")
        if not self.rows:
            raise DataSetMalformed("a data set has at least one row")
        twice = _duplicates(b"".join(self._all_names))
        if twice:
            raise DataSetMalformed(
                f"{twice} references stand for more than one row; a patient has one row in a"
                " data set",
                duplicates=twice,
            )
        head = encode(
            {
                "data_set": self._header.data_set,
                "columns": [[column.name, column.unit] for column in self._header.columns],
            }
        )
        content = head + self._values.digest() + self._references.digest()
        return (self._taken_out() if self._parts else None), content

    def _taken_out(self) -> Chunk:
        octets = b"".join((*self._parts, *self._names))
        rows, self._taken = self.rows - self._taken, self.rows
        self._parts.clear()
        self._names.clear()
        self._waiting = 0
        return Chunk(rows, octets)


def _duplicates(names: bytes) -> int:
    """Return how many names stand more than once; 0.2 s for a million."""
    halves = np.frombuffer(names, dtype=np.uint64).reshape(-1, 2)
    ordered = halves[np.lexsort((halves[:, 0], halves[:, 1]))]
    again = (ordered[1:] == ordered[:-1]).all(axis=1)
    first = again & ~np.concatenate(([False], again[:-1]))[: len(again)]
    return int(np.count_nonzero(first))


def columns_octets(columns: Sequence[Column]) -> bytes:
    """Return the variables of a data set as they are stored."""
    return encode([[column.name, column.unit] for column in columns])


def parse_columns(octets: bytes) -> tuple[Column, ...]:
    """Return what `columns_octets` was made of."""
    entries = decode(octets)
    assert isinstance(entries, list)  # what `columns_octets` wrote
    return tuple(Column(*map(str, entry)) for entry in entries if isinstance(entry, list))


def rows_of(octets: bytes, columns: int, named: bool) -> tuple[NDArray[np.float64], bytes]:
    """Return a stored chunk's values, [rows, columns], and its rows' names, end to end."""
    row_bytes = VALUE_BYTES * columns + (NAME_BYTES if named else 0)
    rows = len(octets) // row_bytes
    end = VALUE_BYTES * columns * rows
    values = np.frombuffer(octets, dtype="<f8", count=rows * columns).reshape(rows, columns)
    return values, octets[end:]
