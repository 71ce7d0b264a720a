"""What a service does about a fork of the chain: it stops for good, and keeps the evidence.

A program cannot say which of two certified branches counts. What a right on the wrong one gives
away, a record's key or a study's result, cannot be taken back, and what is not given today can be
given tomorrow. So the service ends all rights at once, stays up and not ready, so that alerts see
it, and does not start again before people have decided and taken the evidence away.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog
from prometheus_client import Gauge

from cipherward_chain.evidence import ChainForked
from cipherward_chain.evidence_store import EvidenceStore
from cipherward_chain.follower import Follower
from cipherward_member.errors import ChainHasForked
from cipherward_member.following import ChainProgress

FOLDER = "forks"  # in a service's data folder

FORKS = Gauge(
    "cipherward_chain_forks",
    "Proven forks of the chain whose evidence is in the data folder; one stops the service.",
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def evidence_store(data: Path) -> EvidenceStore:
    """Return the evidence of a service whose data is in the folder `data`."""
    return EvidenceStore(data / FOLDER, FORKS.set)


def refuse_after_fork(store: EvidenceStore) -> None:
    """Return if no fork was ever seen here, else raise `ChainHasForked`. Reads the disk."""
    files = store.files()
    if files:
        raise ChainHasForked(
            f"the chain has forked: {files[0]} proves it; nothing is done before the members have "
            "decided which branch counts (`cipherward chain evidence` shows who signed both); "
            "then move the file away"
        )


async def follow(follower: Follower, progress: ChainProgress, store: EvidenceStore) -> None:
    """Run the follower; after a fork end all rights and stay. Returns only by cancellation.

    Raises:
        Exception: whatever the follower's handler raised.
        OSError: the evidence cannot be written; rights have ended nevertheless.
    """
    try:
        await follower.run()
    except ChainForked as forked:
        progress.halt("the chain has forked; the evidence is in the data folder")
        path = await asyncio.to_thread(store.save, forked.evidence)
        log.critical("chain_forked", height=progress.height, kept=path is not None)
        await asyncio.get_running_loop().create_future()  # for ever: alerts shall see why
