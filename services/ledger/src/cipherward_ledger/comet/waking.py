"""The first news of a chain that was silent: without it, whoever follows would wait a heartbeat.

CometBFT makes the second block of a new chain, and the first after all members were down, only when
a heartbeat is over or a transaction comes. So when its node takes part and the newest block is old,
the first of the validators sends a tick, which grants nothing and gives two fresh blocks.
"""

from __future__ import annotations

import structlog

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.authorization import Signer
from cipherward_chain.genesis import Genesis
from cipherward_chain.transactions import build_transaction
from cipherward_kit.errors import ServiceError
from cipherward_kit.readiness import Readiness
from cipherward_ledger.admission import Admission
from cipherward_ledger.clock import NANOSECONDS, Clock
from cipherward_ledger.ticker import TICK_EXPIRES_SECONDS, Validators
from cipherward_ledger.tip import Tip

PROVEN_BLOCKS = 2  # so many blocks have one that is proven
WAKING_PLACE = 0  # among the validators: one tick is enough, and the heartbeat does without

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def wake(
    genesis: Genesis,
    signer: Signer,
    admission: Admission,
    clock: Clock,
    readiness: Readiness,
    views: tuple[Tip, Validators],
) -> None:
    """Send one tick once the ledger is ready, if the chain has been silent; then return."""
    await readiness.wait()
    tip, validators = views
    now_ns, position = clock.now_ns(), tip.position
    silent_ns = now_ns - position.time_ns
    beat_ns = genesis.parameters.heartbeat_seconds * NANOSECONDS
    if validators.index != WAKING_PLACE:
        return
    if position.height >= PROVEN_BLOCKS and silent_ns < beat_ns:
        return
    content = build_transaction(
        [pb.Act(tick=pb.Tick())],
        chain_id=genesis.chain_id,
        expires_at=now_ns // NANOSECONDS + TICK_EXPIRES_SECONDS,
        signer=signer,
    )
    try:
        (verdict,) = await admission.admit([content])
    except ServiceError as error:  # contract has gone again: the heartbeat will do
        log.info("waking_refused", reason=error.reason)
        return
    if verdict.refusal is not None:
        log.info("waking_refused", reason=verdict.refusal.reason)
