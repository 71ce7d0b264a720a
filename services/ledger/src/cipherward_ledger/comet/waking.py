"""The first news of a chain that was silent: without it, whoever follows would wait a heartbeat.

CometBFT makes the second block of a new chain, and the first after all members were down, only when
a heartbeat is over or a transaction comes. So when its node takes part and the newest block is old,
the first of the validators sends a tick, which grants nothing and gives two fresh blocks.

A node that still fetches blocks drops the transactions that others hand it, and is handed none
twice. When all but the first were such nodes at that moment, nobody proposes the tick: so the first
sends another while there is no news.
"""

from __future__ import annotations

import structlog

from cipherward_chain.authorization import Signer
from cipherward_chain.genesis import Genesis
from cipherward_kit.readiness import Readiness
from cipherward_ledger.admission import Admission
from cipherward_ledger.clock import NANOSECONDS, Clock, first_of
from cipherward_ledger.ticker import Validators, send_tick
from cipherward_ledger.tip import Tip

PROVEN_BLOCKS = 2  # so many blocks have one that is proven
WAKING_PLACE = 0  # among the validators: one tick is enough, and the heartbeat does without
# Nodes that start together take part within a second of each other, on a busy machine within some.
AGAIN_SECONDS = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def wake(
    genesis: Genesis,
    signer: Signer,
    admission: Admission,
    clock: Clock,
    readiness: Readiness,
    views: tuple[Tip, Validators],
) -> None:
    """Send ticks once the ledger is ready, as long as the chain is silent; then return."""
    tip, validators = views
    beat_ns = genesis.parameters.heartbeat_seconds * NANOSECONDS

    def silent() -> bool:
        position = tip.position
        old = clock.now_ns() - position.time_ns >= beat_ns
        return position.height < PROVEN_BLOCKS or old

    async def news() -> None:
        while silent():
            await tip.moved_from(tip.position)

    await readiness.wait()
    while validators.index == WAKING_PLACE and silent():
        refusal = await send_tick(admission, clock, signer, genesis.chain_id)
        if refusal is not None:
            log.info("waking_refused", reason=refusal.reason)
        await first_of(news(), clock.sleep(AGAIN_SECONDS))
        await readiness.wait()
