"""Whether another process votes with this member's key, seen from the other members' ledgers.

The other members' nodes talk to one node of an id. A second one of the same keys is left out, sees
no block, and so cannot see who votes in its place: its ledger asks the others' ledgers for that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from cipherward_ledger.comet.other_ledgers import OtherLedgers
from cipherward_ledger.comet.signing_state import SigningState
from cipherward_ledger.comet.verified_headers import NoHeaderBelieved, VerifiedHeaders

# Half a heartbeat: a chain that goes on shows it between two looks, and is not looked at.
LOOK_SECONDS: Final = 5.0
# Commits leave out whoever is late, and a ledger may lie: so several; and no more, since each is
# verified.
LEDGERS_MAX: Final = 4


class Elsewhere:
    """Looks at the newest commits of other ledgers while no block is recorded here."""

    def __init__(
        self,
        others: OtherLedgers,
        headers: Callable[[], VerifiedHeaders],
        signing: SigningState,
        height: Callable[[], int],
    ) -> None:
        """Describe it.

        Args:
            others: open while this is used.
            headers: makes what believes in headers.
            signing: what this node has signed.
            height: of the newest block that is recorded here.
        """
        self._others = others
        self._headers = headers
        self._height = height
        self.signing = signing

    async def run(self) -> None:
        """Look now and then, for ever.

        Raises:
            NodeFilesUnusable, ConsensusKeyShared: as `look`.
        """
        while True:
            height = self._height()
            await asyncio.sleep(LOOK_SECONDS)
            if self._height() == height:
                await self.look()

    async def look(self) -> None:
        """Return if no newer commit shows a vote of this node's key that its record lacks.

        Raises:
            NodeFilesUnusable: one does: the node's folder is an older copy.
            ConsensusKeyShared: one does, and the vote is younger than this process.
        """
        height = self._height()
        ahead = [one for one, status in await self._others.statuses() if status.height > height]
        headers = self._headers()
        for ledger in random.sample(ahead, min(len(ahead), LEDGERS_MAX)):
            try:
                block = await headers.newest(ledger)
            except NoHeaderBelieved:  # it stands before what is trusted
                continue
            if block is not None:
                await self.signing.compare_newest(block.commit)
