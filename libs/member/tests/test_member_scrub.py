"""A pass over several shelves goes on where it was, and counts what it finds by kind."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from cipherward_member import scrub as scrubbing
from cipherward_member.scrub import FILE_NAME, Figures, Found, PieceCorrupt, PieceGone, Scrub

NOW = 1_800_000_000


@dataclass
class Memory:
    """A shelf in memory; what is in `ends` ends the reading of that piece."""

    kind: str
    pieces: Sequence[bytes]
    ends: dict[bytes, BaseException] = field(default_factory=dict[bytes, BaseException])
    asked: list[bytes] = field(default_factory=list[bytes])

    async def page(self, after: bytes, limit: int) -> Sequence[bytes]:
        return [name for name in self.pieces if name > after][:limit]

    async def read(self, name: bytes) -> AsyncGenerator[int]:
        self.asked.append(name)
        yield 10
        if name in self.ends:
            raise self.ends[name]


@dataclass
class Seen:
    """The figures of one scrub, and what it has told."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    told: dict[str, Found] = field(default_factory=dict[str, Found])

    def scrub(self, folder: Path, *shelves: Memory) -> Scrub:
        figures = Figures(
            Counter("pieces", "-", ["kind", "outcome"], registry=self.registry),
            Gauge("corrupt", "-", ["kind"], registry=self.registry),
            Gauge("completed", "-", registry=self.registry),
        )
        return Scrub(
            shelves,
            folder / FILE_NAME,
            figures,
            bytes_a_second=1e9,
            clock=lambda: NOW,
            then=self.told.update,
        )


async def test_what_is_gone_is_not_counted_and_what_does_not_parse_is_corrupt(
    tmp_path: Path,
) -> None:
    ends: dict[bytes, BaseException] = {
        b"b": PieceGone(),
        b"c": PieceCorrupt(),
        b"d": sqlite3.DatabaseError("malformed"),
    }
    seen, shelf = Seen(), Memory("row", [b"a", b"b", b"c", b"d", b"e"], ends)
    await seen.scrub(tmp_path, shelf).read_all()
    assert seen.told == {"row": Found(pieces=4, size=40, corrupt=2)}
    assert seen.registry.get_sample_value("corrupt", {"kind": "row"}) == 2
    assert seen.registry.get_sample_value("completed") == NOW


async def test_a_restart_goes_on_in_the_shelf_where_the_pass_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrubbing, "NOTE_SECONDS", 0.0)
    first = Memory("first", [b"a", b"b"])
    second = Memory("second", [b"c", b"d", b"e"], {b"d": RuntimeError("killed")})
    with pytest.raises(RuntimeError):
        await Seen().scrub(tmp_path, first, second).read_all()
    second.ends.clear()
    seen = Seen()
    again = seen.scrub(tmp_path, first, second)
    again.resume()
    await again.read_all()
    assert (first.asked, second.asked) == ([b"a", b"b"], [b"c", b"d", b"d", b"e"])
    assert seen.told == {"first": Found(2, 20), "second": Found(3, 30)}


async def test_a_shelf_that_is_not_there_any_more_begins_the_pass_anew(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_text('{"kind": "old", "after": "ff", "running": {}, "last": {}, "completed": 5.0}')
    seen, shelf = Seen(), Memory("new", [b"a"])
    scrub = seen.scrub(tmp_path, shelf)
    scrub.resume()
    await scrub.read_all()
    assert shelf.asked == [b"a"]
    assert seen.told == {"new": Found(1, 10)}
