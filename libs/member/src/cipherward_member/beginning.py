"""Where a service begins to follow: its stored place, the genesis, or a header reached by skipping.

A ledger that prunes has no early blocks any more. Who has a place of its own must find the block
after it there, or orders for it would be lost unseen; who has none begins at the oldest block that
is kept, whose header it believes by skipping verification from its trust root.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import structlog
from grpc import aio

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward_chain.genesis import Genesis
from cipherward_chain.light import LightClient
from cipherward_chain.light_skipping import LightSource, fetch, skip_to
from cipherward_chain.light_source import GrpcLightSource, LightBlockUnavailable
from cipherward_chain.rejections import BlockRejected
from cipherward_chain.root_file import RootFile, RootMalformed
from cipherward_chain.trust import checkpoint_at
from cipherward_member.errors import TooFarBehind, TrustUnusable
from cipherward_member.following import ChainProgress, NanosecondClock, light_client

log: structlog.stdlib.BoundLogger = structlog.get_logger()

STATUS_SECONDS = 2.0  # for one answer from memory; a ledger that starts refuses at once
AGAIN_SECONDS = 0.5  # between two questions to a ledger that is away
# A ledger drops blocks while a newcomer fetches the oldest one: asking again gets a younger one.
ATTEMPTS = 5
GAP_LOOK_SECONDS = 30.0  # a service that is behind says so within a minute


def read_trust_root(path: Path, genesis: Genesis) -> RootFile:
    """Return the trust root in a file, which is of this genesis, or raise `TrustUnusable`."""
    try:
        found = RootFile.parse(path.read_bytes())
    except OSError as error:
        raise TrustUnusable(
            f"the trust root {path} cannot be read ({error.strerror}); check the path"
        ) from None
    except RootMalformed as error:
        raise TrustUnusable(
            f"the trust root {path} is refused: {error}; get it from the members again"
        ) from None
    if found.root != genesis.trust_root():
        raise TrustUnusable(
            f"the trust root {path} is of another genesis; give files of one alliance"
        )
    return found


async def begin(
    genesis: Genesis,
    stored: bytes,
    channel: aio.Channel,
    *,
    root: RootFile | None = None,
    clock: NanosecondClock = time.time_ns,
) -> LightClient:
    """Return a light client where this service goes on.

    With a stored place it does not wait for a ledger that is away: `notice_gap` looks again later.
    Without one it waits until the ledger answers, since there is nothing that it could do.

    Args:
        genesis: the trust root, unless `root` is a later one of the same chain.
        stored: the checkpoint that the last applied block left, or b"".
        channel: to the ledger whose blocks will be followed.
        root: as `read_trust_root` returns it: needed when the genesis is older than the trusting
            period and the ledger has dropped the first blocks.
        clock: nanoseconds of Unix time.

    Raises:
        CheckpointUnusable: what is stored is damaged, or not of this genesis.
        TooFarBehind: the ledger has dropped the block after the stored place.
        TrustUnusable: the ledger's oldest header cannot be believed from the trust root, or it
            says itself that its chain has another genesis.
    """
    client = light_client(genesis, stored)
    ledger = LedgerServiceStub(channel)
    if client.checkpoint is not None:
        status = await _status(ledger)
        if status is not None:
            _refuse_other(genesis, status)
            _refuse_gap(client.height, status)
        return client
    for _ in range(ATTEMPTS):
        status = await _status_for_certain(ledger)
        _refuse_other(genesis, status)
        while status.catching_up and not status.first_height:
            # It may begin with a snapshot: where its blocks begin is not known yet.
            await asyncio.sleep(AGAIN_SECONDS)
            status = await _status_for_certain(ledger)
        if status.first_height <= 1:
            return client
        source = GrpcLightSource(channel, genesis.chain_id)
        trusted = root or RootFile.of_genesis(genesis)
        try:
            return await _skipped(trusted, source, status.first_height, clock())
        except LightBlockUnavailable:
            log.info("light_block_unavailable", first_height=status.first_height)
            await asyncio.sleep(AGAIN_SECONDS)
        except BlockRejected as error:
            raise TrustUnusable(
                f"the ledger's oldest block cannot be believed ({error.reason}: {error}); give a "
                "trust root with a checkpoint that several members have confirmed"
            ) from None
    raise TrustUnusable(
        "the ledger does not answer the headers that lead from the trust root to its oldest block; "
        "give a newer trust root, or another member's ledger"
    )


async def _skipped(
    trusted: RootFile, source: LightSource, first_height: int, now_ns: int
) -> LightClient:
    """Return a client whose next block is `first_height`, or that of the root if it is later."""
    point = trusted.point
    target = await fetch(source, max(first_height, point.height))
    if target.height > point.height:
        await skip_to(point, target, source, now_ns)
    elif target.hash != point.header_hash:
        raise TrustUnusable(
            "the ledger has another header than the trust root's checkpoint: one of them is of "
            "another chain, or the chain has forked; compare it with other members"
        )
    else:
        target.verify()
    return LightClient(trusted.root, checkpoint_at(target, trusted.root))


async def _status(ledger: LedgerServiceStub) -> pb.GetStatusResponse | None:
    """Return where the ledger's chain stands, or None if it does not answer."""
    try:
        return await ledger.GetStatus(pb.GetStatusRequest(), timeout=STATUS_SECONDS)
    except aio.AioRpcError as error:
        log.info("ledger_away", code=error.code().name)
        return None


async def _status_for_certain(ledger: LedgerServiceStub) -> pb.GetStatusResponse:
    while True:
        status = await _status(ledger)
        if status is not None:
            return status
        await asyncio.sleep(AGAIN_SECONDS)


def _refuse_other(genesis: Genesis, status: pb.GetStatusResponse) -> None:
    """Refuse a ledger of another alliance under this chain's id: no block of it would verify."""
    if status.genesis_digest not in (b"", genesis.digest):  # an earlier release does not say it
        raise TrustUnusable(
            f"the ledger is of another chain that is called {genesis.chain_id}, too: it was begun "
            f"with the genesis {status.genesis_digest.hex()}, and the genesis file here has the "
            f"digest {genesis.digest.hex()}; correct the ledger's address or the file"
        )


def _refuse_gap(height: int, status: pb.GetStatusResponse) -> None:
    first_height = status.served_from_height or status.first_height
    if first_height > height + 1:
        raise TooFarBehind(
            f"the last block seen here is {height}, and the ledger keeps none before "
            f"{first_height}: orders between them would be lost; restore this service's data "
            "from a newer backup, or follow a ledger that keeps more blocks"
        )


async def notice_gap(
    progress: ChainProgress, channel: aio.Channel, look_seconds: float = GAP_LOOK_SECONDS
) -> None:
    """Look now and then, while no block comes, whether the ledger has dropped the next one.

    For a service that was started while its ledger was away. Never returns.

    Raises:
        TooFarBehind: it has.
    """
    ledger = LedgerServiceStub(channel)
    while True:
        await asyncio.sleep(look_seconds)
        if progress.fresh or not progress.height:
            continue
        status = await _status(ledger)
        if status is not None:
            _refuse_gap(progress.height, status)
