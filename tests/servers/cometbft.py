"""The pinned CometBFT; whoever needs nodes starts them with the ledger's own supervisor."""

from __future__ import annotations

from pathlib import Path

from tests.servers.pins import COMETBFT_BINARY


def cometbft_binary() -> Path:
    """Return the program's path; call `need("cometbft")` first."""
    return COMETBFT_BINARY
