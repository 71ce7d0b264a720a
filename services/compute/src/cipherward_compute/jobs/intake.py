"""Jobs out of the messages of a queue that anybody may write to."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cipherward_compute.jobs import metrics
from cipherward_compute.jobs.messages import Assembly, JobHead, NotOurs, Seal, is_head, parse_part
from cipherward_compute.jobs.queue_reader import QueueReader, Record

# Attempts that were taken, so that repeating a message does not repeat the work. An attempt can be
# taken for a minute, and a worker does some ten jobs a second.
REMEMBERED_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Job:
    """A job with all its parts; `last` is the message that completed it."""

    head: JobHead
    arguments: bytes
    last: Record


@dataclass(frozen=True, slots=True)
class _Begun:
    head: JobHead
    parts: Assembly


class Intake:
    """Puts jobs together, in each partition one at a time: an owner writes them one by one.

    Besides the messages that wait it holds one job a partition, of those that are sealed.
    """

    def __init__(self, seal: Seal, clock: Callable[[], float]) -> None:
        self._seal = seal
        self._clock = clock
        self._records: deque[Record] = deque()
        self._begun: dict[int, _Begun] = {}
        self._share: tuple[QueueReader, int] | None = None
        self._taken: OrderedDict[tuple[bytes, int], None] = OrderedDict()

    def add(self, queue: QueueReader, records: Sequence[Record]) -> None:
        """Add messages that were just read. What came before partitions were shared out anew is
        void: every partition is read from its last commit again.
        """
        share = (queue, queue.sharings)
        if share != self._share:
            self._begun.clear()
            self._records.clear()
            self._share = share
        self._records.extend(records)

    def next(self) -> Job | None:
        """Return the next whole job; None if there is none yet."""
        while self._records:
            try:
                job = self._take(self._records.popleft())
            except NotOurs:
                metrics.REFUSED.labels("not_ours").inc()
                continue
            if job is not None:
                return job
        return None

    def remember(self, head: JobHead) -> None:
        """Take an attempt no second time."""
        self._taken[head.id, head.attempt] = None
        if len(self._taken) > REMEMBERED_MAX:
            self._taken.popitem(last=False)

    def _take(self, record: Record) -> Job | None:
        """Return the job that a message completes, or raise `NotOurs`."""
        if is_head(record.value):
            head = self._seal.open_job(record.value)
            if (head.id, head.attempt) in self._taken:
                metrics.REFUSED.labels("repeated").inc()
            elif head.deadline_ms < self._clock() * 1000:
                metrics.REFUSED.labels("late").inc()
            else:
                self._begun[record.partition] = _Begun(head, Assembly(head.parts))
            return None
        part = parse_part(record.value)
        begun = self._begun.get(record.partition)
        if begun is None or begun.head.id != part.id:
            return None  # of a job that is taken or late
        begun.parts.add(part)
        if not begun.parts.complete:
            return None
        del self._begun[record.partition]
        return Job(begun.head, begun.parts.payload(), record)
