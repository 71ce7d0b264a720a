"""The common base of what this library refuses; each cause is defined where its rule lives."""

from __future__ import annotations

from typing import ClassVar


class ChainError(ValueError):
    """A refusal of this library. A service maps it to its own error by class or by `reason`."""

    reason: ClassVar[str] = "CHAIN_ERROR"
