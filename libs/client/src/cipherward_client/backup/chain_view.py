"""What a backup is held against: the chain as the ledgers show it, or as an archive has it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from grpc import aio

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.checkpoint import Checkpoint
from cipherward_chain.endpoints import EndpointUnknown
from cipherward_chain.light_block import LightBlock
from cipherward_chain.rejections import BlockRejected
from cipherward_chain.wire import NANOS
from cipherward_client.backup.copying import ChainCopy
from cipherward_client.backup.errors import (
    ArchiveNewer,
    ArchiveOfAnotherHistory,
    ArchiveTooOld,
    ChainUnreachable,
)
from cipherward_client.sdk.certified import Certifier, StateUnproven
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.ledgers import ledgers_of
from cipherward_kit.errors import reason_of
from cipherward_kit.tls import PeerNotTrusted

ANSWER_SECONDS: Final = 10.0  # a ledger elsewhere that is busy; a person waits at the screen
BLOCK_PRUNED: Final = "BLOCK_PRUNED"


class ChainView(Protocol):
    """The chain. Adapters: the ledgers that answer, and a chain's copy that is put back."""

    @property
    def height(self) -> int:
        """The newest block: nothing above it was ever ordered."""
        ...

    async def hash_at(self, height: int) -> bytes:
        """Return the hash of the header at a height.

        Raises:
            ArchiveTooOld: nobody keeps it.
            ChainUnreachable: nobody answers.
        """
        ...


async def require_on(view: ChainView, place: Checkpoint, store: str) -> None:
    """Return if the chain has the block that a store stands at, and the one after it.

    Raises:
        ArchiveNewer: the chain has not reached it.
        ArchiveOfAnotherHistory: the chain has other blocks.
        ArchiveTooOld, ChainUnreachable: the chain's block cannot be had.
    """
    proof = place.height + 1
    if place.height > view.height:
        raise ArchiveNewer(f"{store} stands at {place.height}, the chain at {view.height}")
    last = min(proof, view.height)
    expected = place.next_header_hash if last == proof else place.header_hash
    if await view.hash_at(last) != expected:
        raise ArchiveOfAnotherHistory(f"{store} stands on another block {last}")


@dataclass(frozen=True, slots=True)
class CopiedChain:
    """A chain that is put back together with what follows it."""

    copy: ChainCopy

    @property
    def height(self) -> int:
        """The newest block."""
        return self.copy.height

    async def hash_at(self, height: int) -> bytes:
        """Return the hash of a stored header."""
        found = await asyncio.to_thread(self.copy.header_hash, height)
        if found is None:
            raise ArchiveTooOld(f"the chain in the archive does not keep block {height}")
        return found


@dataclass(frozen=True, slots=True)
class ShownChain:
    """The chain as ledgers show it, each header held against the genesis."""

    alliance: Alliance
    heights: Mapping[str, int]  # by member: the newest header that its ledger showed

    @property
    def height(self) -> int:
        """The newest block that any ledger showed."""
        return max(self.heights.values())

    async def hash_at(self, height: int) -> bytes:
        """Return the hash of a header that the validators have signed, from whoever has it."""
        reason = ""
        for member, newest in self.heights.items():
            if newest < height:
                continue
            try:
                return (await _certified(self.alliance, member, height)).hash
            except aio.AioRpcError as error:
                reason = reason_of(error) or error.code().name
        if reason == BLOCK_PRUNED:
            raise ArchiveTooOld(f"no ledger keeps block {height}")
        raise ChainUnreachable(f"no ledger shows block {height}: {reason or 'none has it'}")


async def shown_chain(alliance: Alliance) -> ShownChain:
    """Ask every ledger for its newest header.

    Raises:
        ChainUnreachable: none shows one that is recent; an old one would hide orders that were
            given and answered since.
    """
    members = ledgers_of(alliance.endpoints)
    found = await asyncio.gather(*(_newest(alliance, member) for member in members))
    shown = {m: block for m, block in zip(members, found, strict=True) if block is not None}
    newest = max((block.time_ns for block in shown.values()), default=0)
    age = alliance.now() - newest / NANOS
    if not shown or age > alliance.genesis.parameters.fresh_seconds:
        words = f"the newest block is {age:.0f} s old" if shown else "no ledger answers"
        raise ChainUnreachable(words)
    return ShownChain(alliance, {member: block.height for member, block in shown.items()})


async def _newest(alliance: Alliance, member: str) -> LightBlock | None:
    try:
        return await _certified(alliance, member, 0)
    except (aio.AioRpcError, EndpointUnknown, PeerNotTrusted, ArchiveOfAnotherHistory):
        return None


async def _certified(alliance: Alliance, member: str, height: int) -> LightBlock:
    """Return a header as a member's ledger shows it, if the validators have signed it.

    Raises:
        AioRpcError: the ledger does not have it, or does not answer.
        ArchiveOfAnotherHistory: what it shows cannot be believed from the genesis.
    """
    stub = alliance.ledger_of(member)
    request = pb.GetLightBlockRequest(height=height)
    answer = await stub.GetLightBlock(request, timeout=ANSWER_SECONDS)
    certifier = Certifier(alliance.trust_root)
    try:
        block = LightBlock.parse(answer.light_block, alliance.chain_id)
        if not certifier.knows(block):
            asked = pb.GetValidatorChangesRequest()
            changes = await stub.GetValidatorChanges(asked, timeout=ANSWER_SECONDS)
            certifier.learn(changes.changes)
        certifier.check(block)
    except (BlockRejected, StateUnproven) as error:
        raise ArchiveOfAnotherHistory(f"{member} shows what cannot be believed: {error}") from None
    if height and block.height != height:
        raise ArchiveOfAnotherHistory(f"{member} shows block {block.height} for {height}")
    return block
