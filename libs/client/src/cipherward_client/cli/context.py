"""What a command works in: which alliance, which member, which wallet."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.cli.faults import (
    AllianceMissing,
    IdMalformed,
    MemberNotHere,
    PassphraseMissing,
    PassphrasesDiffer,
    TracesMisconfigured,
)
from cipherward_client.cli.octets import parse_octets
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.wallet import opened as wallets
from cipherward_client.wallet.file import load_wallet
from cipherward_client.wallet.opened import OpenWallet
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.config import TracesConfig
from cipherward_kit.process import config_faults
from cipherward_kit.tracing import span, tracing

R = TypeVar("R")

ID_BYTES = 16


def run(work: Coroutine[Any, Any, R]) -> R:
    """Run a command's work to its end: one trace, if the settings name a collector.

    Raises:
        TracesMisconfigured: those settings are out of form.
    """

    async def traced() -> R:
        async with tracing("cli", "", collector):
            with span("command"):  # what was given to it is nobody's business
                return await work

    try:
        collector = TracesConfig().collector
    except ValidationError as error:
        work.close()
        raise TracesMisconfigured("; ".join(config_faults(error))) from None
    return asyncio.run(traced())


def alliance_folder(root: Path) -> AllianceFolder:
    """Return the folder of an alliance that was started in it.

    Raises:
        AllianceMissing: there is none.
    """
    folder = AllianceFolder(root)
    if not folder.genesis_file.exists() or not folder.endpoints_file.exists():
        raise AllianceMissing(f"no genesis.json and alliance.json in {root}")
    return folder


def connect(folder: AllianceFolder) -> AbstractAsyncContextManager[Alliance]:
    """Open a holder's connection: without a certificate, so that nobody learns who asks."""
    return Alliance.open(folder.endpoints_file, folder.genesis_file)


def hospital(folder: AllianceFolder, member: str) -> AbstractAsyncContextManager[Hospital]:
    """Open a connection as the systems of one member, with its keys from the folder.

    Raises:
        MemberNotHere: the folder has none of that name.
    """
    require_member(folder, member)
    return open_hospital(folder, member)


def require_member(folder: AllianceFolder, member: str) -> None:
    """Raise `MemberNotHere` unless the folder has keys of that member."""
    if not member or Path(member).name != member or not folder.member(member).key("").is_dir():
        raise MemberNotHere(member)


def parse_id(text: str) -> bytes:
    """Return the 16 bytes of a record's, consent's or study's id.

    Raises:
        IdMalformed: not 32 hexadecimal digits.
    """
    return parse_octets(text, ID_BYTES, IdMalformed)


def read_passphrase(file: Path | None, *, again: bool = False) -> str:
    """Return the passphrase: the first line of a file, or what is typed at the terminal.

    Args:
        again: ask twice, as for a new wallet.

    Raises:
        PassphraseMissing: no file was named and there is no terminal.
        PassphrasesDiffer: the second one was another.
    """
    if file is not None:
        return file.read_text(encoding="utf-8").split("\n", 1)[0].rstrip("\r")
    if not sys.stdin.isatty():
        raise PassphraseMissing()
    typed = getpass.getpass("Passphrase of the wallet: ")
    if again and getpass.getpass("The same once more: ") != typed:
        raise PassphrasesDiffer()
    return typed


def opened_wallet(
    path: Path, passphrase_file: Path | None
) -> AbstractAsyncContextManager[OpenWallet]:
    """Open a wallet; what it learns inside is saved, also when the command fails.

    Raises:
        WalletError: the file is missing, damaged or in use, or the passphrase wrong.
    """
    return wallets.opened_wallet(path, lambda: read_passphrase(passphrase_file))


@dataclass(frozen=True, slots=True)
class Holder:
    """A holder's connection and wallet, for one command."""

    alliance: Alliance
    opened: OpenWallet

    @property
    def wallet(self) -> Wallet:
        """The wallet that acts."""
        return self.opened.wallet


@asynccontextmanager
async def holder(
    root: Path, wallet_file: Path, passphrase_file: Path | None
) -> AsyncGenerator[Holder]:
    """Open a holder's connection together with the wallet that acts through it.

    Raises:
        AllianceMissing: the folder has no alliance.
        ClientError, WalletError: its files or the wallet cannot be used.
    """
    folder = alliance_folder(root)
    async with connect(folder) as alliance, opened_wallet(wallet_file, passphrase_file) as opened:
        opened.wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
        yield Holder(alliance, opened)


@asynccontextmanager
async def onlooker(
    root: Path, wallet_file: Path, passphrase_file: Path | None
) -> AsyncGenerator[tuple[Alliance, Wallet]]:
    """Open a holder's connection with a wallet that another command may be working with.

    What the wallet learns inside is not kept: for commands that only look.

    Raises:
        AllianceMissing: the folder has no alliance.
        ClientError, WalletError: its files or the wallet cannot be used.
    """
    folder, passphrase = alliance_folder(root), read_passphrase(passphrase_file)
    wallet = await asyncio.to_thread(load_wallet, wallet_file, passphrase)
    async with connect(folder) as alliance:
        wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
        yield alliance, wallet


def by_holder(
    root: Path,
    wallet_file: Path,
    passphrase_file: Path | None,
    act: Callable[[Holder], Awaitable[R]],
) -> R:
    """Run what a wallet's holder does, and return what came of it; see `holder`."""

    async def work() -> R:
        async with holder(root, wallet_file, passphrase_file) as me:
            return await act(me)

    return run(work())


def by_member(root: Path, member: str, act: Callable[[Hospital], Awaitable[R]]) -> R:
    """Run what a member does with its keys from the folder, and return what came of it.

    Raises:
        AllianceMissing: the folder has no alliance.
        MemberNotHere: the folder has none of that name.
    """

    async def work() -> R:
        async with hospital(alliance_folder(root), member) as opened:
            return await act(opened)

    return run(work())
