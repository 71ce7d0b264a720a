"""`cipherward alliance start`: one member's own services, until they are stopped."""

from __future__ import annotations

import asyncio

from cipherward_chain.genesis import Genesis
from cipherward_client.alliance.belonging import genesis_of
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.one_member import running_member
from cipherward_client.alliance.parts import COMETBFT, Parts
from cipherward_client.cli import context
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir, As
from cipherward_client.cli.output import Output
from cipherward_client.cli.parts import (
    Asked,
    CometbftBinary,
    Feed,
    KafkaAddress,
    MongoAddress,
    Store,
    chosen_parts,
)
from cipherward_client.cli.stopping import folder_explained, stopping_at_signals
from cipherward_client.sdk.errors import explaining


def start(
    member: As,
    feed: Feed = None,
    store: Store = None,
    kafka: KafkaAddress = None,
    mongo: MongoAddress = None,
    cometbft: CometbftBinary = None,
    alliance: AllianceDir = DEFAULT_FOLDER,
) -> None:
    """Run a member's services on this machine until it is stopped, as `dev` runs everybody's.

    They are for trying out: in a hospital they run in Kubernetes. A chain that begins makes its
    first block when more than two thirds of its members run.
    """
    folder = context.alliance_folder(alliance)
    with explaining():
        genesis = genesis_of(folder, member)
    parts, _ = chosen_parts(folder, Asked(genesis.engine, feed, store, kafka, mongo, cometbft))
    with folder_explained():
        context.run(_run(folder, member, genesis, parts, Output(as_json=False)))


async def _run(
    folder: AllianceFolder, member: str, genesis: Genesis, parts: Parts, output: Output
) -> None:
    def lost(process: str, words: str) -> None:
        output.say(f"{process} has stopped for good: {words}")

    output.say(f"Starting {member} of {genesis.chain_id}; logs: {folder.logs}. Ctrl-C stops it.")
    if parts.engine == COMETBFT and len(genesis.members) > 1:
        output.say("Its ledger is ready as soon as more than two thirds of the members run.")
    with stopping_at_signals() as stopping:
        try:
            async with running_member(
                folder, member, parts, lambda name: output.say(f"{name} is ready"), lost
            ):
                output.say(f"{member} runs.")
                await stopping.wait()
        except asyncio.CancelledError:
            if not stopping.is_set():
                raise
    output.say("Stopped; the same command goes on from here.")
