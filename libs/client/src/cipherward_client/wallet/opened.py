"""A wallet's file while a program works with it: held by that one alone, and saved as it learns."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cipherward_client.wallet.errors import WalletInUse
from cipherward_client.wallet.file import load_wallet, save_wallet
from cipherward_client.wallet.wallet import Wallet


@dataclass(frozen=True, slots=True)
class OpenWallet:
    """A wallet that this program holds; `save` writes what it has learnt."""

    wallet: Wallet
    path: Path
    _passphrase: str = field(repr=False)

    async def save(self) -> None:
        """Write the wallet now: before something that must not be forgotten is sent."""
        await asyncio.to_thread(save_wallet, self.path, self.wallet, self._passphrase)


@asynccontextmanager
async def opened_wallet(path: Path, passphrase: Callable[[], str]) -> AsyncGenerator[OpenWallet]:
    """Open a wallet; what it learns inside is saved, also when what is done inside fails.

    Args:
        passphrase: asked for it before the file is held.

    Raises:
        WalletError: the file is missing or damaged, or the passphrase wrong; `WalletInUse`:
            another program works with it.
    """
    known = passphrase()
    with _held(path):
        wallet = await asyncio.to_thread(load_wallet, path, known)
        opened = OpenWallet(wallet, path, known)
        before = wallet.to_bytes()
        try:
            yield opened
        finally:
            if wallet.to_bytes() != before:
                await opened.save()


@contextmanager
def _held(path: Path) -> Generator[None]:
    """Hold the wallet: two programs that write it would lose what one has learnt."""
    if not path.exists():
        yield  # whoever reads it says so, and no lock file is left beside nothing
        return
    name = path.with_name(f".{path.name}.lock")
    lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WalletInUse(str(path)) from None
        yield
    finally:
        os.close(lock)
