"""What a load is aimed at."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Refused(Exception):
    """The target did not take a part of the load, or did not apply it."""


@dataclass(frozen=True, slots=True)
class Block:
    """A committed block as a member shows it.

    transactions: None when the member shows their number only; `Target.transactions` asks later.
    """

    height: int
    count: int
    transactions: Sequence[bytes] | None


# Yielded first: every block from now on is shown.
SUBSCRIBED = Block(0, 0, ())


@dataclass(frozen=True, slots=True)
class Cost:
    """Whose processor time, memory and disk are counted, by kind of process."""

    processes: Mapping[str, Sequence[int]]
    folders: Mapping[str, Sequence[Path]]


class Target(Protocol):
    """A chain under load. Adapters: `Ledgers`, and CometBFT's own `KvStore`."""

    @property
    def members(self) -> Sequence[str]:
        """Who takes transactions."""
        ...

    async def submit(self, member: str, batch: Sequence[bytes]) -> None:
        """Have a member take transactions.

        Raises:
            Refused: it did not take them all.
        """
        ...

    def blocks(self, member: str) -> AsyncGenerator[Block, None]:
        """Yield SUBSCRIBED, then the blocks that a member commits from then on."""
        ...

    async def transactions(self, member: str, height: int) -> Sequence[bytes]:
        """Return the transactions of a block that a member has committed."""
        ...

    def cost(self) -> Cost:
        """Return what is counted."""
        ...
