"""The headers and sets that a state is synced with: believed, each with whose turn it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cipherward_chain.light_block import LightBlock
from cipherward_ledger.comet.priorities import Turn, turn_at
from cipherward_ledger.comet.verified_headers import NoHeaderBelieved, VerifiedHeaders
from cipherward_ledger.history import Term


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the chain begins for a store whose state was synced.

    height: of the state; app_hash: its certified root; terms: every set up to `height` + 1.
    """

    height: int
    app_hash: bytes
    terms: tuple[Term, ...]


class StateHeaders:
    """What the node's light client is told, and what a synced store begins with."""

    def __init__(self, headers: VerifiedHeaders) -> None:
        self._headers = headers

    async def light_block(self, height: int) -> LightBlock:
        """Return the certified header of `height`, or raise NoHeaderBelieved."""
        return await self._headers.light_block(height)

    async def turn(self, block: LightBlock) -> Turn:
        """Return whose turn it is at a believed header's height.

        Raises:
            NoHeaderBelieved: no history of the validators leads to it, or it shows by its proposer
                that the history is not the whole one.
        """
        terms = await self._headers.terms(block.height - 1)
        turn = await asyncio.to_thread(turn_at, block.height, terms)
        # In its first round a height has one proposer; later ones may bring up an earlier block.
        if block.commit.round == 0 and block.header.proposer_address != turn.proposer:
            raise NoHeaderBelieved(f"the proposer of height {block.height} is not available")
        return turn

    async def beginning(self, height: int) -> Beginning:
        """Return what a store begins with after the state of `height`, or raise
        NoHeaderBelieved.
        """
        following = await self._headers.light_block(height + 1)
        terms = await self._headers.terms(height)
        return Beginning(height, following.header.app_hash, tuple(terms))
