"""Parameters of the rounds of iterative studies, kept until the contract names them.

Anybody may hand some over, so there is a bound on how many wait and on how long. They grant
nothing: a contributor uses those whose digest an order names, and its plan checks them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from cipherward_chain.canonical import NotCanonical, decode_map
from cipherward_compute.errors import IterateMalformed, IteratesFull
from cipherward_compute.failures import IterateMissing
from cipherward_compute.waiting_texts import WaitingTexts
from cipherward_kit.database import Database

ITERATE_BYTES_MAX = 64 * 1024  # a few hundred integers; a model of 64 variables has 600 bytes
# The longest step of a contract: a researcher hands them over right before the transition.
WAITING_SECONDS = 86_400


class Iterates:
    """Takes and finds the parameters of rounds."""

    def __init__(self, database: Database, waiting_max: int, clock: Callable[[], float]) -> None:
        """Describe the store.

        Args:
            database: where they are kept.
            waiting_max: how many may be kept.
            clock: Unix seconds now.
        """
        self._waiting = WaitingTexts(
            database,
            "iterates",
            WAITING_SECONDS,
            waiting_max,
            lambda waiting: IteratesFull(
                f"{waiting} iterates wait; try again later", iterates_max=waiting_max
            ),
        )
        self._clock = clock

    async def put(self, octets: bytes) -> bytes:
        """Keep an iterate and return its digest; the same one again changes nothing.

        Raises:
            IterateMalformed: not a canonical map without floats, or too long.
            IteratesFull: too many wait.
        """
        if len(octets) > ITERATE_BYTES_MAX:
            raise IterateMalformed(
                f"the parameters of a round have at most {ITERATE_BYTES_MAX} bytes",
                bytes_max=ITERATE_BYTES_MAX,
            )
        try:
            await asyncio.to_thread(decode_map, octets)
        except NotCanonical as error:
            raise IterateMalformed(f"the parameters of a round: {error}") from None
        digest = hashlib.sha256(octets).digest()
        await self._waiting.keep(digest, octets, int(self._clock()))
        return digest

    async def of(self, digest: bytes) -> bytes:
        """Return the iterate that an order names; an order that names none gets none.

        Raises:
            IterateMissing: nobody handed it over.
        """
        if not digest:
            return b""
        found = await self._waiting.find(digest)
        if found is None:
            raise IterateMissing("the parameters of the round were not handed to this member")
        return found
