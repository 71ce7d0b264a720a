"""VerifyPresentations: a pure function of its request; needs no block, store or secret."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from cipherward_identity.arithmetic import Shown, verify_all
from cipherward_identity.metrics import BATCH_SIZE, PRESENTATIONS, VERIFY_SECONDS
from cipherward_kit.errors import ServiceError
from cipherward_kit.jobs import WorkerPool

# About 0.3 s of arithmetic; larger batches save no more per presentation.
BATCH_MAX = 256


class BatchTooLarge(ServiceError):
    """More presentations than one call may have."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "BATCH_TOO_LARGE"


async def verdicts_of(pool: WorkerPool, batch: Sequence[Shown]) -> list[bool]:
    """Return a verdict for each presentation, in order.

    Raises:
        BatchTooLarge: more than 256.
        WorkersBusy: too many batches at once.
        WorkerLost: a worker process died; the same call may be made again.
    """
    if len(batch) > BATCH_MAX:
        raise BatchTooLarge(
            f"{len(batch)} presentations; at most {BATCH_MAX}", have=len(batch), most=BATCH_MAX
        )
    if not batch:
        return []
    BATCH_SIZE.observe(len(batch))
    with VERIFY_SECONDS.time():
        verdicts = await pool.run(verify_all, list(batch))
    valid = verdicts.count(True)
    PRESENTATIONS.labels("valid").inc(valid)
    PRESENTATIONS.labels("invalid").inc(len(verdicts) - valid)
    return verdicts
