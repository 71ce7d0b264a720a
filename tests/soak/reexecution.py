"""The chain executed again from its genesis, in a fresh store of the contract service."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.genesis import Genesis
from cipherward_chain.light import VerifiedBlock
from cipherward_contract.chain import Chain
from cipherward_contract.store import SCHEMA
from cipherward_kit.database import Database


async def reexecuted(folder: Path, document: bytes, blocks: Sequence[VerifiedBlock]) -> bytes:
    """Execute every block anew; each must give what its successor's header certifies.

    Returns:
        The app hash after the last block.
    """
    genesis = Genesis.parse(document)
    async with Database(folder / "fresh.db", SCHEMA) as database:
        chain = Chain(database, genesis.digest)
        await chain.load()
        app_hash = await chain.init_chain(document)
        for block in blocks:
            raw = await chain.execute(block.height, block.time_ns, block.transactions)
            answer = pb.ExecuteBlockResponse.FromString(raw)
            assert answer.app_hash == block.app_hash, f"block {block.height}"
            assert tuple(answer.results) == tuple(block.results)
            assert list(answer.orders) == [order.to_bytes() for order in block.orders]
            await chain.commit(block.height)
            app_hash = answer.app_hash
    return app_hash
