"""A block while it is executed: its time, its state, and what it has produced so far."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cipherward_chain.canonical import Value
from cipherward_chain.orders import Order
from cipherward_chain.wire import NANOS
from cipherward_contract.ceremonies.kept_transcripts import Transcripts
from cipherward_contract.chain_rules import ChainRules
from cipherward_contract.entries import INSTANCE, RECORD, Instance, Record
from cipherward_contract.index_rows import IndexRow
from cipherward_contract.machine_versions import NEWEST_VERSION, VERSIONS, MachineVersion
from cipherward_contract.order_entries import OrderEntry, order_key
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.state import State
from cipherward_contract.templates.values import World

if TYPE_CHECKING:  # it reads templates, whose instructions change blocks
    from cipherward_contract.catalogue import Catalogue


@dataclass(slots=True)
class Block:
    """The block at `height`; acts write to its state and append to its orders and index rows.

    transaction_id: of the transaction that is executed; empty while timers fire.
    proposals: of templates, that were looked at so far.
    transcripts: of the ceremonies that run, at hand since an earlier block, or none.
    judged: pieces of evidence that its transactions have had judged.
    """

    height: int
    time_ns: int
    rules: ChainRules
    catalogue: Catalogue
    state: State
    orders: list[bytes] = field(default_factory=list[bytes])
    rows: list[IndexRow] = field(default_factory=list[IndexRow])
    transaction_id: bytes = b""
    proposals: int = 0
    transcripts: Transcripts = field(default_factory=Transcripts)
    judged: int = 0
    # what this block has written, decoded: a contract is often moved more than once
    _saved: dict[bytes, tuple[bytes, Instance]] = field(
        default_factory=dict[bytes, tuple[bytes, Instance]]
    )

    @property
    def now(self) -> int:
        """The block's time in whole Unix seconds, rounded down."""
        return self.time_ns // NANOS

    @property
    def epoch(self) -> int:
        """The credential epoch of the block's time."""
        return self.rules.epoch_at(self.time_ns)

    @property
    def machine(self) -> MachineVersion:
        """The version that executes this block; a vote in the block changes only later ones.

        A block of a version that this release lacks is never executed: only a question about the
        committed state may be asked beyond it, and is answered as by the newest.
        """
        return VERSIONS[min(self.rules.version_at(self.height), NEWEST_VERSION)]

    @property
    def world(self) -> World:
        """What terms and arguments are checked against."""
        return World(self.rules.member_ids, self.now, self.standing)

    @contextmanager
    def all_or_nothing(self) -> Generator[None]:
        """Undo state, rules, orders and index rows that were made inside, if it raises."""
        orders, rows, rules = len(self.orders), len(self.rows), self.rules
        try:
            with self.state.transaction():
                yield
        except BaseException:
            del self.orders[orders:], self.rows[rows:]
            self.rules = rules
            raise

    def reload_rules(self) -> None:
        """See what the block has written to the registry or the parameters, from here on."""
        rules = ChainRules.load(self.state)
        assert rules is not None  # a block is executed on an initialised chain only
        self.rules = rules

    def standing(self, instance_id: bytes) -> tuple[str, str] | None:
        """Return an instance's template and state, or None if there is none."""
        try:
            found = self.instance(instance_id)
        except Refused:
            return None
        return found.origin.template, found.position.state

    def instance(self, instance_id: bytes) -> Instance:
        """Return an instance, or refuse."""
        raw = self.state.get(INSTANCE + instance_id)
        if raw is None:
            raise Refused(Reason.INSTANCE_UNKNOWN, "no contract has that id")
        before = self._saved.get(instance_id)
        if before is not None and before[0] == raw:
            return before[1]
        return Instance.from_bytes(instance_id, raw)

    def save(self, instance: Instance) -> None:
        """Write an instance."""
        raw = instance.to_bytes()
        self.state.put(INSTANCE + instance.id, raw)
        self._saved[instance.id] = raw, instance

    def record(self, record_id: bytes) -> Record:
        """Return an anchored record, or refuse."""
        raw = self.state.get(RECORD + record_id)
        if raw is None:
            raise Refused(Reason.RECORD_UNKNOWN, "no record with that id is anchored")
        return Record.from_bytes(raw)

    def order(
        self,
        by: Instance,
        instruction: str,
        arguments: Mapping[str, Value],
        executors: tuple[str, ...],
    ) -> tuple[int, int]:
        """Append an order, note who must carry it out, and return its place (height, index).

        What contract has carried out itself is ordered too, for everybody to follow; nobody
        reports it, so it has no executors.
        """
        index = len(self.orders)
        template = by.origin.template
        order = Order(self.height, index, by.id, template, instruction, arguments)
        self.orders.append(order.to_bytes())
        if executors:
            entry = OrderEntry(by.id, instruction, executors)
            self.state.put(order_key(self.height, index), entry.to_bytes())
        return self.height, index
