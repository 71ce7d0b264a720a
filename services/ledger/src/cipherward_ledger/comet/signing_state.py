"""What the node has signed, held against what the chain shows that it has signed.

A node that forgets a vote can sign that height again differently. The files of a folder that was
put back from an older copy fit together, so only the chain can tell: each block shows who voted for
the one before, and no vote of this node's may be above what its own record says.
"""

from __future__ import annotations

import asyncio
import json

from cipherward.comet.v1 import abci_pb2 as abci
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_ledger.comet.errors import NodeFilesUnusable
from cipherward_ledger.comet.node_files import NodeHome


class SigningState:
    """Looks at each block while the node catches up, before it votes itself."""

    def __init__(self, home: NodeHome, address: bytes, *, fresh: bool) -> None:
        """Describe it.

        Args:
            home: the node's folder.
            address: the validator's, 20 bytes.
            fresh: the folder is new: up to where an earlier one may have signed is settled
                elsewhere (ADR 0013), and the newest vote of that one may still come in a block.
        """
        self._home = home
        self._address = address
        self._watching = not fresh
        self._signed = 0

    async def look(self, block: abci.RequestFinalizeBlock) -> None:
        """Return if the block shows no vote of this node that its record lacks.

        Raises:
            NodeFilesUnusable: it does: the folder is an older copy.
        """
        voted_at = block.height - 1
        if not self._watching or voted_at <= self._signed or not self._voted(block):
            return
        # The node writes its record before a vote leaves it, so it is never behind one of its own.
        self._signed = await asyncio.to_thread(self._recorded)
        if self._signed < voted_at:
            raise NodeFilesUnusable(
                f"the node voted at height {voted_at}, and {self._home.signed} ends at "
                f"{self._signed}: it is an older copy and could sign a height twice; remove "
                f"{self._home.path}, the ledger's database and contract's so that the member "
                "syncs anew from the others"
            )

    def _voted(self, block: abci.RequestFinalizeBlock) -> bool:
        return any(
            vote.validator.address == self._address
            and vote.block_id_flag == comet.BLOCK_ID_FLAG_COMMIT
            for vote in block.decided_last_commit.votes
        )

    def _recorded(self) -> int:
        try:
            return int(json.loads(self._home.signed.read_bytes())["height"])
        except (OSError, ValueError, KeyError, TypeError):
            raise NodeFilesUnusable(
                f"{self._home.signed} cannot be read: the node could sign a height twice; remove "
                f"{self._home.path} so that the member syncs anew from the others"
            ) from None
