"""Following the chain: its orders, and its time: the epoch, whether it is alive, how late it is.

Block time decides; the local clock may only refuse. It can make the chain look stale, or a code
expired, too early; set back, it lengthens nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cipherward_chain.light import VerifiedBlock
from cipherward_chain.wire import NANOS
from cipherward_identity.orders import BlockHandler
from cipherward_identity.store import IdentityStore
from cipherward_member.block_source import BlockSource
from cipherward_member.following import ChainProgress, light_client
from cipherward_member.source_following import Place, follow_source

UnixClock = Callable[[], float]  # seconds

# A busy chain makes hundreds of blocks a second, and here each would cost a sync of the disk for
# nothing but a shorter replay: 5 s of blocks are verified again in about one.
CHECKPOINT_SECONDS = 5.0


class ChainClock:
    """What the proven headers say about time. Used on the event loop only."""

    def __init__(
        self,
        place: Place,
        source: BlockSource,
        store: IdentityStore,
        progress: ChainProgress,
        handler: BlockHandler,
    ) -> None:
        """Describe the clock; `run` makes it go.

        Args:
            place: where the service stands; the genesis has the length of epochs.
            source: of blocks, untrusted.
            store: keeps the progress.
            progress: fresh; its clocks decide what "now" is.
            handler: takes what blocks order.

        Raises:
            CheckpointUnusable: the checkpoint is of another chain.
        """
        self._genesis = place.genesis
        self._place = place
        self._source = source
        self._store = store
        self._before = light_client(place.genesis, place.stored).checkpoint
        self._saved_at = float("-inf")
        self._handler = handler
        self._progress = progress
        self._progress.goes_on_from(self._before)

    async def run(self) -> None:
        """Follow the chain until cancelled."""
        await follow_source(self._source, self._place, self._take, self._progress)

    def now(self) -> int:
        """Return seconds of Unix time: the local clock's, but never before the newest header's."""
        return self._progress.latest_seconds()

    def epoch(self) -> int:
        """Return the epoch of the newest proven header; the first one if none was seen."""
        return self._genesis.epoch_at(self._progress.block_seconds())

    def epoch_ends_at(self, epoch: int) -> int:
        """Return the block time at which an epoch ends, in nanoseconds of Unix time."""
        return self._genesis.time_ns + epoch * self._genesis.parameters.epoch_seconds * NANOS

    def require_fresh(self) -> None:
        """Return if a recent proven header is known.

        Raises:
            ChainStale: it is older than the alliance's bound, or none came since the start.
        """
        self._progress.require_fresh()

    async def _take(self, block: VerifiedBlock) -> None:
        """Take the orders and the time of a block, and now and then keep the progress.

        What is kept is one block behind: after a restart a block comes at once, so that the service
        need not wait for the next heartbeat to know that the chain is alive.
        """
        if await self._handler.apply(block, self._before or block.checkpoint):
            self._saved_at = time.monotonic()
        elif self._before is not None and time.monotonic() - self._saved_at >= CHECKPOINT_SECONDS:
            await self._store.save_checkpoint(self._before)
            self._saved_at = time.monotonic()
        self._before = block.checkpoint
        self._progress.saw(block.height, block.next_time_ns)
        self._handler.wake()
