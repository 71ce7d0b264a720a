"""The product under load: a CometBFT alliance whose ledgers take transactions over mTLS."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil

from bench.load.target import SUBSCRIBED, Block, Cost, Refused
from bench.stage import Stage, some_services
from cipherward.comet.v1 import types_pb2 as comet
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.results import APPLIED
from cipherward_client.alliance.create import hospitals
from cipherward_client.alliance.layout import CHAIN_SERVICES, MEMBER_SERVICES
from cipherward_client.alliance.parts import COMETBFT, Parts
from tests.servers.cometbft import cometbft_binary

CALL_SECONDS = 60.0  # a queue of a few seconds, with room
NODE = "node"


@dataclass(frozen=True, slots=True)
class Ledgers:
    """Every member's ledger, called by the hospital's own system. A `Target`."""

    stage: Stage

    @property
    def members(self) -> Sequence[str]:
        """Who takes transactions."""
        return tuple(self.stage.hospitals)

    async def submit(self, member: str, batch: Sequence[bytes]) -> None:
        """Have a member's ledger put transactions on its disk."""
        ledger = self.stage.hospitals[member].alliance.ledger
        request = pb.SubmitBatchRequest(transactions=batch)
        answer = await ledger.SubmitBatch(request, timeout=CALL_SECONDS)
        reasons = {verdict.reason for verdict in answer.verdicts} - {""}
        if reasons:
            raise Refused(", ".join(sorted(reasons)))

    async def blocks(self, member: str) -> AsyncGenerator[Block, None]:
        """Yield a member's proven blocks, as its services get them."""
        ledger = self.stage.hospitals[member].alliance.ledger
        status = await ledger.GetStatus(pb.GetStatusRequest(), timeout=CALL_SECONDS)
        # The newest block is proven by the next one.
        first = pb.StreamBlocksRequest(from_height=max(1, status.height))
        call = ledger.StreamBlocks(first)
        yield SUBSCRIBED
        try:
            while isinstance(answer := await call.read(), pb.StreamBlocksResponse):
                block = answer.block
                for result in block.results:
                    if comet.ExecTxResult.FromString(result).code != APPLIED:
                        raise Refused("an act was not applied")
                transactions = list(block.transactions)
                yield Block(0, len(transactions), transactions)
        finally:
            call.cancel()

    async def transactions(self, member: str, height: int) -> Sequence[bytes]:
        """Blocks come with their transactions: nothing is left to ask for."""
        raise NotImplementedError

    def cost(self) -> Cost:
        """Return the processes by service, the nodes apart, and the data folders."""
        processes: dict[str, list[int]] = {}
        for name, pid in self.stage.supervisor.pids.items():
            processes.setdefault(name.partition("/")[2], []).append(pid)
        nodes = [
            child.pid
            for pid in processes["ledger"]
            for child in psutil.Process(pid).children()
            if child.name() == cometbft_binary().name
        ]
        homes = [self.stage.folder.member(member) for member in self.members]
        folders = {service: [home.data(service) for home in homes] for service in processes}
        folders[NODE] = [home.data("ledger") / NODE for home in homes]
        return Cost({**processes, NODE: nodes}, folders)


@asynccontextmanager
async def running_ledgers(
    members: int,
    *,
    profile: str = "latency",
    everything: bool = False,
    more: Mapping[str, str] | None = None,
) -> AsyncGenerator[Ledgers]:
    """Run an alliance of so many members, every member with its node.

    Args:
        profile: what the nodes are tuned for.
        everything: with identity, storage and compute; else what the chain needs, only.
        more: settings of every ledger that differ from what ships.
    """
    parts = Parts(engine=COMETBFT, cometbft=str(cometbft_binary()))
    services = (*CHAIN_SERVICES, *(MEMBER_SERVICES if everything else ()))
    names = [(member, service) for member, _ in hospitals(members) for service in services]
    settings = {"ledger": {"CONSENSUS_PROFILE": profile, **(more or {})}}
    async with some_services(names, parts=parts, members=members, settings=settings) as stage:
        yield Ledgers(stage)
