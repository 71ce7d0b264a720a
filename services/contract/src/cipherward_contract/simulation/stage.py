"""A chain in memory: the real machine on a state that nobody keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cipherward_chain.orders import Order
from cipherward_chain.results import TransactionResult
from cipherward_chain.wire import NANOS
from cipherward_contract.blocks import Block
from cipherward_contract.catalogue import Catalogue
from cipherward_contract.chain_rules import ChainRules
from cipherward_contract.entries import INSTANCE, INSTANCE_END, TIMER, TIMER_END, Instance
from cipherward_contract.executor import execute, next_timer
from cipherward_contract.index_rows import AccessAsked, IndexRow, NoticeGiven
from cipherward_contract.instructions.notices import REVIEW_DUE
from cipherward_contract.state import State

INSTANCES_MAX = 1_000  # of one scenario; each act makes a handful at most


class Pairs:
    """The committed pairs of a chain in memory."""

    def __init__(self, pairs: Mapping[bytes, bytes]) -> None:
        self._pairs = dict(pairs)

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None."""
        return self._pairs.get(key)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs from `start` up to, not including, `end`, by ascending key."""
        for key in sorted(key for key in self._pairs if start <= key < end):
            yield key, self._pairs[key]

    def write(self, writes: Mapping[bytes, bytes | None]) -> None:
        """Keep a block's writes."""
        for key, value in writes.items():
            if value is None:
                self._pairs.pop(key, None)
            else:
                self._pairs[key] = value


@dataclass(frozen=True, slots=True)
class Played:
    """What a block came to; `rows` are what it told people."""

    height: int
    results: Sequence[TransactionResult]
    orders: Sequence[Order]
    rows: Sequence[IndexRow]

    def given_by(self, instance: bytes) -> list[str]:
        """Return the names of the instructions that an instance has given, by kind."""
        orders = [order.instruction for order in self.orders if order.instance == instance]
        rows = [_row_name(row) for row in self.rows if getattr(row, "instance", b"") == instance]
        return [*orders, *(name for name in rows if name)]


def _row_name(row: IndexRow) -> str:
    """Return the instruction that made a row of the index, or "" when none did."""
    match row:
        case AccessAsked(reason=""):
            return "disclose"
        case NoticeGiven(kind=kind):
            return "require_review" if kind == REVIEW_DUE else f"notify {kind}"
        case _:
            return ""


class Stage:
    """Where blocks are played, one after another; each is committed at once."""

    def __init__(self, pairs: Mapping[bytes, bytes]) -> None:
        """Begin with the pairs of a chain that was initialised."""
        self._pairs = Pairs(pairs)
        self._catalogue = Catalogue()
        self.height = 0

    def block(self, time_ns: int) -> Block:
        """Return the next block, which has no writes yet."""
        state = State(self._pairs)
        rules = ChainRules.load(state)
        assert rules is not None  # the pairs are of a chain that was initialised
        return Block(self.height + 1, time_ns, rules, self._catalogue, state)

    def play(self, seconds: int, *transactions: bytes) -> Played:
        """Execute and keep the next block, at a time in Unix seconds."""
        return self.play_at(self.height + 1, seconds * NANOS, transactions)

    def play_at(self, height: int, time_ns: int, transactions: Sequence[bytes]) -> Played:
        """Execute and keep the block of a later height; the blocks before it were empty."""
        self.height = height - 1
        block = self.block(time_ns)
        outcome = execute(block, transactions, ())
        self._pairs.write(outcome.writes)
        self.height = height
        orders = [Order.from_bytes(raw) for raw in outcome.orders]
        return Played(self.height, outcome.results, orders, outcome.rows)

    def next_timer(self) -> int | None:
        """Return when, in Unix seconds, the next timer falls due; None when none waits."""
        return next_timer(self.block(0))

    def due_timers(self, seconds: int, limit: int) -> list[bytes]:
        """Return the instances whose timers fire in a block at that time, in that order."""
        end = min(TIMER + (seconds + 1).to_bytes(8, "big"), TIMER_END)
        found = self.block(0).state.scan(TIMER, end, limit)
        return [key[len(TIMER) + 8 :] for key, _ in found]

    def instances(self) -> dict[bytes, Instance]:
        """Return every instance by id."""
        pairs = self.block(0).state.scan(INSTANCE, INSTANCE_END, INSTANCES_MAX)
        return {
            key.removeprefix(INSTANCE): Instance.from_bytes(key.removeprefix(INSTANCE), raw)
            for key, raw in pairs
        }
