"""Who may fetch what an order released: the reader whose key the order names, and nobody else.

The same for a custodian's key part, a guardian's share and the ciphertext.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.reads import ReadGate
from cipherward_kit.errors import ServiceError
from cipherward_member.errors import ReadMalformed, ReadRejected
from cipherward_member.following import ChainProgress
from cipherward_member.reads import reader_of
from cipherward_member.reports import OrderKey
from cipherward_storage.effects import Release
from cipherward_storage.records import RECORD_ID_BYTES
from cipherward_storage.store import ChainStore

# A reader sees its order proven some milliseconds before we do, and asks at once. Waiting is
# bounded in time, and to orders that may be on their way.
ORDER_WAIT_SECONDS = 3.0
ORDER_AHEAD_BLOCKS = 16

# Answers what an order released, or None: nothing of that kind, or not yet.
FindRelease: TypeAlias = Callable[[OrderKey], Awaitable[Release | None]]


class ReleaseReads:
    """Turns authorised reads into the releases that they are about."""

    def __init__(
        self, gate: ReadGate, chain: ChainStore, progress: ChainProgress, find: FindRelease
    ) -> None:
        """Describe the check.

        Args:
            gate: form, chain, time, signature and replay of a read.
            chain: where it is looked up.
            progress: how far the chain is known here.
            find: what was released.
        """
        self._gate = gate
        self._chain = chain
        self._progress = progress
        self._find = find

    async def release_of(
        self, read: chain_pb.AuthorizedRead, method: str, unknown: type[ServiceError]
    ) -> Release:
        """Return the release that `read` is about; whether it still stands is another question.

        Args:
            read: its object is the record, its order the release.
            method: full name of the RPC that carries it.
            unknown: what is raised when that order releases nothing of that record here.

        Raises:
            ReadMalformed: out of form, or it names no record or no order.
            ReadRejected: not authorised, or by another key than the order's reader.
            StoreAway: nothing can be told now; the same read may come again.
        """
        # A read passes the gate once: whoever is told to try again must not have used it up.
        await self._chain.checkpoint()
        reader = reader_of(self._gate, read, method, RECORD_ID_BYTES)
        if reader.order is None:
            raise ReadMalformed("the read names no order")
        order = OrderKey(*reader.order)
        if 0 < order.height - self._progress.height <= ORDER_AHEAD_BLOCKS:
            await self._progress.reach(order.height, ORDER_WAIT_SECONDS)
        release = await self._find(order)
        if release is None:
            raise unknown("the order releases nothing here")
        if reader.kind != "pseudonym" or reader.public_key != release.reader:
            raise ReadRejected
        if reader.object != release.record_id:
            raise unknown("the order releases another record")
        return release
