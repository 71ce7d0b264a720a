"""Who belongs to the alliance now, as the node needs to know it: whose nodes may connect, where
they are, and this member's place among the validators.

The registry is contract's and changes by blocks only. Addresses are from alliance.json, which is
read again at each change: they lead somewhere, and prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from cipherward.comet.v1 import abci_pb2 as abci
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_ledger.comet.metrics import PEERS_REFUSED
from cipherward_ledger.comet.node_config import NodePeer
from cipherward_ledger.ticker import Validators

FILTER_ID = "/p2p/filter/id/"
REFUSED = 1  # any code but 0
# From one member's restart to the next one's: a node is back within three seconds, so that no two
# are down together on a machine that is not far too slow.
RESTART_SECONDS = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Registry(Protocol):
    """Who knows the registry. Adapters: contract, and a list in tests of this module."""

    async def registry(self) -> pb.GetRegistryResponse:
        """Return it as of the newest committed block."""
        ...


class Membership:
    """The registry as of the newest refresh."""

    def __init__(
        self,
        member: str,
        *,
        founder: bool,
        registry: Registry,
        addresses: Callable[[], Mapping[str, str]],
        validators: Validators,
    ) -> None:
        """Describe the membership of `member`.

        Args:
            member: whose node this is.
            founder: whether the genesis has it: else it may not be admitted yet.
            registry: who is asked.
            addresses: reads host:port of each member's node.
            validators: what the ticker looks at.
        """
        self.member = member
        self._belonged = founder
        self._source = registry
        self._addresses = addresses
        self._validators = validators
        self._registry = pb.GetRegistryResponse()
        self._nodes: frozenset[str] = frozenset()
        self.removed_at = 0  # the height at which it was seen that this member is no more
        self.shrunk_at = 0  # the height of the newest refresh, if somebody was no more then

    async def refresh(self) -> bool:
        """Ask for the registry; return whether the peers of this node are others now."""
        before = self.peers()
        earlier = {one.member_id for one in self._registry.members}
        self._registry = await self._source.registry()
        members = self._registry.members
        gone = earlier - {one.member_id for one in members}
        self.shrunk_at = self._registry.height if gone else 0
        self._nodes = frozenset(one.node_id.hex() for one in members if one.node_id)
        voting = [one.member_id for one in members if one.voting_power]
        seated = self.member in voting
        self._validators.index = voting.index(self.member) if seated else None
        self._validators.count = max(len(voting), 1)
        belongs = any(one.member_id == self.member for one in members)
        if self._belonged and not belongs:
            self.removed_at = self._registry.height
        self._belonged = self._belonged or belongs
        return self.peers() != before

    def peers(self) -> tuple[NodePeer, ...]:
        """Return the other members' nodes."""
        addresses = self._addresses()
        return tuple(
            NodePeer(one.node_id, addresses.get(one.member_id, ""))
            for one in self._registry.members
            if one.node_id and one.member_id != self.member
        )

    def restart_delay(self) -> float:
        """Return how many seconds this node lets the members before it restart theirs."""
        before = [one for one in self._registry.members if one.node_id]
        for place, one in enumerate(before):
            if one.member_id == self.member:
                return place * RESTART_SECONDS
        return 0.0

    def query(self, path: str) -> abci.ResponseQuery:
        """Say whether a node may be a peer; its connection proves its id."""
        if path.startswith(FILTER_ID) and path.removeprefix(FILTER_ID) not in self._nodes:
            PEERS_REFUSED.inc()
            log.warning("peer_refused", node=path.removeprefix(FILTER_ID)[:40])
            return abci.ResponseQuery(code=REFUSED, log="not a member's node")
        return abci.ResponseQuery()
