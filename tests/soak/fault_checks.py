"""What the cells of the fault matrix see from outside: records, rights, a chain that halts."""

from __future__ import annotations

import asyncio
import time

from grpc import aio

from cipherward.identity.v1 import identity_service_pb2 as identity_pb
from cipherward_client.sdk.errors import ClientError
from cipherward_kit.errors import reason_of
from tests.soak.dev_alliance import until
from tests.soak.fault_oracle import Oracle
from tests.soak.fault_scene import HEARTBEAT_SECONDS, RECOVERY_SECONDS

CALL_SECONDS = 10.0
POLL_SECONDS = 0.2
BEATS = 3  # of a halted chain: so many heartbeats without a block
RECORD_BYTES = 50_000


async def record_passes(oracle: Oracle, member: str) -> None:
    """Put a record at a hospital and open it again, trying until it is possible."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        while True:
            try:
                assert await oracle.reopened(await oracle.put(member, RECORD_BYTES))
            except ClientError:
                await asyncio.sleep(POLL_SECONDS)
            else:
                return


async def stale_reason(oracle: Oracle, member: str, code: str) -> str:
    """Return why a member's identity service refuses to begin a credential, "" if it does not."""
    identity = oracle.hospitals[member].alliance.identity_of(member)
    request = identity_pb.BeginCredentialRequest(admission_code=code)
    try:
        await identity.BeginCredential(request, timeout=CALL_SECONDS)
    except aio.AioRpcError as error:
        return reason_of(error) or error.code().name
    return ""


async def until_identity_says(oracle: Oracle, member: str, code: str, reason: str) -> None:
    """Return when a member's identity service refuses for that reason; "" waits until it serves."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        while True:
            if await stale_reason(oracle, member, code) == reason:
                return
            await asyncio.sleep(POLL_SECONDS)


async def stands_still(oracle: Oracle, *members: str) -> list[bytes]:
    """See that the chain makes no block for some heartbeats; return acts acknowledged meanwhile."""
    pending: list[bytes] = []
    settled, since = oracle.height, time.monotonic()
    while time.monotonic() - since < BEATS * HEARTBEAT_SECONDS:
        if oracle.height > settled:
            # One that was decided before may still come; more than that is a chain that goes on.
            assert len(pending) < 10, "the chain goes on"
            settled, since = oracle.height, time.monotonic()
        for member in members:
            pending += await oracle.submit(member, 1)
        await asyncio.sleep(POLL_SECONDS)
    return pending


async def proven(oracle: Oracle, member: str, name: bytes) -> None:
    """Wait until a member's chain has an act."""
    view = oracle.views[member]
    await until(lambda: name in view.applied, RECOVERY_SECONDS, "a pending act is lost")


async def refuses(oracle: Oracle, member: str) -> bool:
    """Return whether a member's ledger takes no act."""
    try:
        return not await oracle.submit(member, 1)
    except aio.AioRpcError:
        return True
