"""What the node has signed, held against what the chain shows that it has signed.

A node that forgets a vote can sign that height again differently, and so can two nodes with one
key. The files of an older copy fit together, and two folders know nothing of each other: only the
chain can tell. Commits show this key's votes, and none may be above what the node's record says, or
another one than the record has.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from cipherward.comet.v1 import abci_pb2 as abci
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.wire import NANOS, timestamp_ns
from cipherward_ledger.comet.errors import NodeFilesUnusable, key_shared
from cipherward_ledger.comet.node_files import SIGNED_PRECOMMIT, NodeHome

# How far a voter's clock may be ahead of this one, as readiness bears it with heartbeats of 10 s: a
# vote that says to be this much younger than this process was made while it ran.
CLOCKS_APART_NS: Final = 10 * NANOS
# Votes of decided heights that are remembered; a block is recorded some 32 later at most, and the
# block after it has the commit that counts.
VOTES_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class LastVote:
    """What the node signed last, by its record.

    step: of the height and round, 1 to 3 (SIGNED_PRECOMMIT). signature: empty where nothing was
    signed yet in a new folder, whose record says up to where nothing shall be.
    """

    height: int
    round: int
    step: int
    signature: bytes


class SigningState:
    """Looks at each block, and at commits; one per ledger."""

    def __init__(self, home: NodeHome, address: bytes, *, fresh: bool, began_ns: int) -> None:
        """Describe it.

        Args:
            home: the node's folder.
            address: the validator's, 20 bytes.
            fresh: the folder is new: up to where an earlier one may have signed is settled
                elsewhere (ADR 0013), and the newest votes of that one may still come in blocks.
            began_ns: when this process began, Unix time in nanoseconds.
        """
        self._home = home
        self._address = address
        self._fresh = fresh
        self._began_ns = began_ns
        self._votes: OrderedDict[int, LastVote] = OrderedDict()  # by the decided height

    async def look(self, block: abci.RequestFinalizeBlock) -> None:
        """Take note of the node's vote at a decided height, of which it signs nothing more.

        Raises:
            NodeFilesUnusable: the block shows a vote of this node at the height before that its
                record lacks: the folder is an older copy.
            ConsensusKeyShared: as above, and the vote is younger than this process.
        """
        # The node writes its record before a vote leaves it, so it is never behind one of its own.
        record = await asyncio.to_thread(self._recorded)
        self._votes[block.height] = record
        if len(self._votes) > VOTES_KEPT:
            self._votes.popitem(last=False)
        voted_at = block.height - 1
        if record.height < voted_at and self._voted(block):
            # A block's time is the median of those of the votes for the one before.
            self._refuse(voted_at, timestamp_ns(block.time))

    def voted_at(self, height: int) -> bool:
        """Tell whether the node's own vote at a height is remembered."""
        vote = self._votes.get(height)
        return vote is not None and vote.height == height and bool(vote.signature)

    def compare(self, commit: comet.Commit) -> None:
        """Return if a decided height's commit shows no other vote of this key than the node's own.

        Raises:
            NodeFilesUnusable, ConsensusKeyShared: as `look`.
        """
        record = self._votes.get(commit.height)
        if record is not None:
            self._judge(commit, record)

    async def compare_newest(self, commit: comet.Commit) -> None:
        """As `compare`, for a verified commit of a height that the node has not come to."""
        self._judge(commit, await asyncio.to_thread(self._recorded))

    def _judge(self, commit: comet.Commit, record: LastVote) -> None:
        shown = next(
            (one for one in commit.signatures if one.validator_address == self._address), None
        )
        if shown is None or shown.block_id_flag == comet.BLOCK_ID_FLAG_ABSENT:
            return
        if not record.signature and record.height >= commit.height:
            return
        own = record.height, record.round, record.step
        place = commit.height, commit.round, SIGNED_PRECOMMIT
        # A record of a later vote says nothing of this one.
        if own > place or (own == place and record.signature == shown.signature):
            return
        self._refuse(commit.height, timestamp_ns(shown.timestamp))

    def _refuse(self, height: int, voted_ns: int) -> None:
        if voted_ns > self._began_ns + CLOCKS_APART_NS:
            raise key_shared(height)
        if not self._fresh:
            raise NodeFilesUnusable(
                f"the chain shows a vote of this node at height {height} that is not in "
                f"{self._home.signed}: it is an older copy and could sign a height twice, or the "
                f"member ran a second time elsewhere; remove {self._home.path}, the ledger's "
                "database and contract's so that the member syncs anew from the others"
            )

    def _voted(self, block: abci.RequestFinalizeBlock) -> bool:
        return any(
            vote.validator.address == self._address
            and vote.block_id_flag == comet.BLOCK_ID_FLAG_COMMIT
            for vote in block.decided_last_commit.votes
        )

    def _recorded(self) -> LastVote:
        try:
            found = json.loads(self._home.signed.read_bytes())
            return LastVote(
                int(found["height"]),
                int(found["round"]),
                int(found["step"]),
                base64.b64decode(found.get("signature", "")),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise NodeFilesUnusable(
                f"{self._home.signed} cannot be read: the node could sign a height twice; remove "
                f"{self._home.path} so that the member syncs anew from the others"
            ) from None
