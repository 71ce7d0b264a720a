"""The rows of a data set as a study reads them: chunk by chunk, without the patients who are out.

Iterate off the event loop: every chunk is fetched, opened and cut to the columns that are asked
for. Memory follows one or two chunks, not the data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cipherward_compute.datasets_form import NAME_BYTES, Column, rows_of
from cipherward_studies.differencing import Fingerprints
from cipherward_studies.variables import CHUNK_ROWS, Columns, Floats


@dataclass(frozen=True, slots=True)
class PatientRows:
    """A chunk of rows. fingerprints: 64 bits of each row's keyed name; without, its place."""

    columns: Columns = field(repr=False)
    fingerprints: Fingerprints = field(repr=False)


@dataclass(frozen=True, slots=True)
class Stored:
    """A data set on the disk; `fetch` returns an opened chunk and blocks its thread meanwhile."""

    columns: tuple[Column, ...]
    named: bool
    chunks: int
    fetch: Callable[[int], bytes] = field(repr=False)


class TakingPart:
    """The patients who take part in studies, without those who are out."""

    def __init__(self, version: bytes, stored: Stored, out: frozenset[bytes]) -> None:
        """Describe the rows.

        Args:
            version: of the data set, another one with every change.
            stored: where they are.
            out: keyed names of the rows that are left out.
        """
        self.version = version
        self.columns = stored.columns
        self._stored = stored
        self._out = frozenset(name[:NAME_BYTES] for name in out)
        halves = np.frombuffer(b"".join(self._out), dtype=np.uint64).reshape(-1, 2)
        self._out_fingerprints = halves[:, 0]

    @property
    def named(self) -> bool:
        """Whether every row has a name."""
        return self._stored.named

    def chunks(self, names: Sequence[str]) -> Iterator[PatientRows]:
        """Yield the named columns, at least CHUNK_ROWS rows at a time or all; at least once.

        A rest is joined to the chunk before it: what is judged of a chunk holds for the last too.

        Raises:
            KeyError: there is no such column.
            RowsChanged, VaultCorrupt: as `Stored.fetch`.
        """
        order = {column.name: place for place, column in enumerate(self.columns)}
        places = [order[name] for name in names]
        complete: list[_Piece] = []
        waiting: list[_Piece] = [_Piece(np.empty((len(places), 0)), np.empty(0, np.uint64))]
        for piece in self._pieces(places):
            waiting.append(piece)
            if sum(one.rows for one in waiting) >= CHUNK_ROWS:
                if complete:
                    yield _joined(names, complete)
                complete, waiting = waiting, []
        yield _joined(names, complete + waiting)

    def _pieces(self, places: list[int]) -> Iterator[_Piece]:
        first, stored = 0, self._stored
        for number in range(stored.chunks):
            octets = stored.fetch(number)
            values, names = rows_of(octets, len(stored.columns), stored.named)
            if stored.named:
                fingerprints = np.frombuffer(names, dtype=np.uint64)[::2]
            else:
                fingerprints = np.arange(first, first + len(values), dtype=np.uint64)
            first += len(values)
            wanted = values[:, places].T
            if self._out:
                stays = self._stays(fingerprints, names)
                wanted, fingerprints = wanted[:, stays], fingerprints[stays]
            yield _Piece(wanted, fingerprints)

    def _stays(self, fingerprints: Fingerprints, names: bytes) -> NDArray[np.bool_]:
        """Say which rows take part: a fingerprint finds who may be out, the whole name decides."""
        stays = np.ones(len(fingerprints), dtype=np.bool_)
        for place in np.flatnonzero(np.isin(fingerprints, self._out_fingerprints)):
            at = int(place) * NAME_BYTES
            stays[place] = names[at : at + NAME_BYTES] not in self._out
        return stays


@dataclass(frozen=True, slots=True)
class _Piece:
    values: Floats  # [columns, rows]
    fingerprints: Fingerprints

    @property
    def rows(self) -> int:
        return len(self.fingerprints)


def _joined(names: Sequence[str], pieces: Sequence[_Piece]) -> PatientRows:
    values = np.concatenate([piece.values for piece in pieces], axis=1)
    fingerprints = np.concatenate([piece.fingerprints for piece in pieces])
    return PatientRows(dict(zip(names, values, strict=True)), fingerprints)
