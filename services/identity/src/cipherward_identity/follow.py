"""Following the chain for its time: the epoch, whether the chain is alive, how late it is.

Identity carries out no orders yet: of a block it needs the time only. Block time decides; the local
clock may only refuse. It can make the chain look stale, or a code expired, too early; set back, it
lengthens nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import Gauge

from cipherward_chain import follower
from cipherward_chain.checkpoint import Checkpoint, CheckpointForeign, CheckpointMalformed
from cipherward_chain.feed import BlockFeed
from cipherward_chain.follower import Follower
from cipherward_chain.genesis import Genesis
from cipherward_chain.light import LightClient, VerifiedBlock
from cipherward_chain.wire import NANOS
from cipherward_identity.errors import ChainStale
from cipherward_identity.store import IdentityStore
from cipherward_kit.errors import CannotStart

UnixClock = Callable[[], float]  # seconds

# A busy chain makes hundreds of blocks a second, and here each would cost a sync of the disk for
# nothing but a shorter replay: 5 s of blocks are verified again in about one.
CHECKPOINT_SECONDS = 5.0

PROVEN_TIME = Gauge(
    "cipherward_identity_proven_time_seconds",
    "Unix time of the newest proven header; 0 before the first one.",
)
BLOCKS_REJECTED = Gauge(
    "cipherward_identity_blocks_rejected", "Blocks that the feed sent and that do not verify."
)


class ProgressForeign(CannotStart):
    """The stored progress is not of the chain that the genesis file names."""

    exit_status = 23


class ChainClock:
    """What the proven headers say about time. Used on the event loop only."""

    def __init__(
        self,
        genesis: Genesis,
        feed: BlockFeed,
        store: IdentityStore,
        checkpoint: bytes | None = None,
        *,
        local: UnixClock = time.time,
    ) -> None:
        """Describe the clock; `run` makes it go.

        Args:
            genesis: the trust root, and the length of epochs.
            feed: untrusted.
            store: keeps the progress.
            checkpoint: what it has kept.
            local: Unix seconds now.

        Raises:
            ProgressForeign: the checkpoint is of another chain.
        """
        self._genesis = genesis
        self._store = store
        self._local = local
        try:
            before = None if checkpoint is None else Checkpoint.from_bytes(checkpoint)
            light_client = LightClient(genesis.trust_root(), before)
        except (CheckpointForeign, CheckpointMalformed) as error:
            raise ProgressForeign(
                f"the data folder is not of this chain: {error}; "
                "give the genesis file that it was made with, or another folder"
            ) from None
        self._before = before
        self._newest_ns = None if before is None else before.next_time_ns
        self._saved_at = float("-inf")
        fresh_seconds = genesis.parameters.fresh_seconds
        self._follower = Follower(feed, light_client, self._take, fresh_seconds, clock=local)
        BLOCKS_REJECTED.set_function(lambda: self._follower.rejected_blocks)

    async def run(self) -> None:
        """Follow the chain until cancelled."""
        await self._follower.run()

    def now(self) -> int:
        """Return seconds of Unix time: the local clock's, but never before the newest header's."""
        return max(int(self._local()), self._newest_seconds())

    def epoch(self) -> int:
        """Return the epoch of the newest proven header; the first one if none was seen."""
        return self._genesis.epoch_at(self._newest_seconds())

    def epoch_ends_at(self, epoch: int) -> int:
        """Return the block time at which an epoch ends, in nanoseconds of Unix time."""
        return self._genesis.time_ns + epoch * self._genesis.parameters.epoch_seconds * NANOS

    def require_fresh(self) -> None:
        """Return if a recent proven header is known.

        Raises:
            ChainStale: it is older than the alliance's bound, or none came since the start.
        """
        try:
            self._follower.require_fresh()
        except follower.ChainStale:
            raise ChainStale from None

    def _newest_seconds(self) -> int:
        return 0 if self._newest_ns is None else self._newest_ns // NANOS

    async def _take(self, block: VerifiedBlock) -> None:
        """Take the time of a block, and now and then keep the progress.

        What is kept is one block behind: after a restart a block comes at once, so that the service
        need not wait for the next heartbeat to know that the chain is alive.
        """
        if self._before is not None and time.monotonic() - self._saved_at >= CHECKPOINT_SECONDS:
            await self._store.save_checkpoint(self._before.to_bytes())
            self._saved_at = time.monotonic()
        self._before = block.checkpoint
        self._newest_ns = block.next_time_ns
        PROVEN_TIME.set(block.next_time_ns / NANOS)
