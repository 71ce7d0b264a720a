"""The whole chain, block by block from its genesis, to do a contract again.

Every block is verified from the trust root on; no ledger is believed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable

from cipherward_chain.light import LightClient, VerifiedBlock
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import explained, explaining
from cipherward_client.sdk.proven_contracts import proven_contract
from cipherward_client.sdk.proven_orders import block_at
from cipherward_client.sdk.questions import Asker

FETCHED_AT_ONCE = 16  # blocks; a ledger answers one in a millisecond


async def replay_lines(
    asker: Asker, genesis: bytes, instance_id: bytes, report: Callable[[str, int, int], None]
) -> list[str]:
    """Return what a replay of a contract reads: the genesis, and every block that is not empty.

    Args:
        asker: a party of the contract, or a member.
        genesis: the genesis document of the connection.
        report: gets (stage, done, total) on the way.

    Raises:
        ClientError: there is no such contract, the asker may not read it, a ledger does not have
            the chain from its beginning, or a block does not verify.
    """
    with explaining():
        contract = await proven_contract(asker, instance_id)
        lines = [json.dumps({"genesis": genesis.hex(), "instance": instance_id.hex()})]
        last = contract.height - 1  # the header of that height certifies the block before it
        async for block in blocks_until(asker.alliance, last):
            report("blocks", block.height, last)
            if block.transactions:
                lines.append(_line(block))
        return lines


async def blocks_until(alliance: Alliance, last: int) -> AsyncGenerator[VerifiedBlock]:
    """Yield every block from the first to `last`, each verified.

    Raises:
        BlockRejected: one does not follow from the trust root.
        AioRpcError: no ledger has one.
    """
    client = LightClient(alliance.trust_root)
    for first in range(1, last + 1, FETCHED_AT_ONCE):
        heights = range(first, min(first + FETCHED_AT_ONCE, last + 1))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(block_at(alliance, height)) for height in heights]
        except BaseExceptionGroup as failures:
            raise explained(failures) from failures
        for task in tasks:
            yield client.accept(task.result())


def _line(block: VerifiedBlock) -> str:
    return json.dumps(
        {
            "height": block.height,
            "time_ns": block.time_ns,
            "transactions": [raw.hex() for raw in block.transactions],
            "results": [raw.hex() for raw in block.results],
        }
    )
