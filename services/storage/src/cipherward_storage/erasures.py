"""Erasures: ordered by the chain, carried out here, and reported when no old copy opens any more.

A guardian's part is done with the block: the id is refused from then on. The custodian deletes
ciphertext and slots at once; old copies of its store still hold the slots, under slot keys. So it
reports only when those keys are destroyed: its report then says that no copy of its store, together
with all keys that it has, opens the record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from cipherward_chain.canonical import encode
from cipherward_chain.domains import ERASED
from cipherward_chain.signatures import SigningKey
from cipherward_chain.wire import length_prefixed
from cipherward_member.reports import Outcome, Report
from cipherward_storage import metrics
from cipherward_storage.effects import Erasure
from cipherward_storage.errors import StoreAway
from cipherward_storage.records import digest_of
from cipherward_storage.slot_keys import SlotKeys

CUSTODIAN, GUARDIAN = "custodian", "guardian"
# Looked at together; a look at one is a transaction of its own.
BATCH = 100
# Between two looks at what waits for a slot key's end, which comes once a week.
LOOK_SECONDS = 30.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ErasureStore(Protocol):
    """What is to be erased here. Adapters: `sqlite_erasures`, `mongo.erasures`."""

    async def unfinished(self, limit: int) -> Sequence[Erasure]:
        """Return up to `limit` erasures of this custodian that are not reported, oldest first."""
        ...

    async def erase(self, erasure: Erasure) -> int:
        """Delete record, uploads and their ciphertext, as far as they are here; may be repeated.

        Returns:
            The highest number of a slot key that the slots were ever found under; 0 for none. It
            is durable before anything is deleted.
        """
        ...

    async def finish(self, erasure: Erasure, report: Report) -> None:
        """Note that nothing is left to do, and let the report be sent: both or neither."""
        ...


class Statements:
    """Signs what a member says when it has erased a record: the same bytes every time."""

    def __init__(self, chain_id: str, member: str, key: SigningKey) -> None:
        self._chain_id = chain_id
        self._member = member
        self._key = key

    def of(self, erasure: Erasure) -> bytes:
        """Return the signed statement: canonical bytes of what is said, behind their length, then
        the signature over the tag and them.

        It says who (member and role, on which chain) erased what (record), for which order.
        """
        said = encode(
            {
                "chain_id": self._chain_id,
                "member": self._member,
                "role": CUSTODIAN if erasure.ours else GUARDIAN,
                "record": erasure.record_id,
                "height": erasure.order.height,
                "index": erasure.order.index,
                "order_digest": erasure.order_digest,
            }
        )
        return length_prefixed(said) + self._key.sign(ERASED + said)

    def report(self, erasure: Erasure) -> Report:
        """Return the report of an erasure that is done: the digest of the signed statement."""
        return Report(erasure.order, Outcome.DONE, digest_of(self.of(erasure)))


class Erasures:
    """Carries out the erasures of one custodian; `run` it beside the server."""

    def __init__(
        self,
        store: ErasureStore,
        slot_keys: SlotKeys,
        statements: Statements,
        reported: Callable[[], None],
    ) -> None:
        """Describe the work; `reported` is called when there are reports to be sent."""
        self._store = store
        self._slot_keys = slot_keys
        self._statements = statements
        self._reported = reported
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Say that a record is to be erased, or that a slot key is gone."""
        self._news.set()

    async def run(self) -> None:
        """Carry out what is ordered, for ever."""
        while True:
            self._news.clear()
            try:
                await self.step()
            except StoreAway:
                log.warning("erasures_put_off")
            except OSError as error:  # a body that cannot be deleted now, or a folder not there
                log.warning("erasures_put_off", errno=error.errno)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def step(self) -> int:
        """Delete what is to be erased, and report what no copy opens any more; return how many."""
        finished = 0
        unfinished = await self._store.unfinished(BATCH)
        metrics.ERASURES_PENDING.set(len(unfinished))
        for erasure in unfinished:
            key_number = await self._store.erase(erasure)
            oldest = await asyncio.to_thread(self._slot_keys.oldest_number)
            if key_number < oldest:
                await self._store.finish(erasure, self._statements.report(erasure))
                metrics.ERASURES.labels(CUSTODIAN).inc()
                finished += 1
        if finished:
            self._reported()
        return finished
