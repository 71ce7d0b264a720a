"""Whose certificates a server accepts: those of the registry, as blocks change it.

Contract and ledger go by the registry of the committed state. The services that follow proven
blocks have `cipherward_member.registry` instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from cipherward_chain.authorities import authorities_in_force
from cipherward_chain.genesis import Genesis
from cipherward_chain.members import AuthoritiesSet
from cipherward_kit.tls import TrustRegistry
from cipherward_member.alliance_files import known_authorities, trust_registry

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Authorities:
    """What a server trusts, and how that follows the registry.

    trust: of the server; it begins with the genesis. own: this member's authority (PEM by its id),
        which counts also while the state does not name it: a newcomer's services bring each other
        to the block in which it is admitted. proven: changes, by member, that count before the
        state has them: services show certificates of now while the blocks are of before.
    """

    trust: TrustRegistry
    own: Mapping[str, bytes]
    proven: Mapping[str, AuthoritiesSet] = field(default_factory=dict[str, AuthoritiesSet])

    @classmethod
    def of(cls, genesis: Genesis, member: str) -> Authorities:
        """Return what a server of `member`, whom the genesis has, trusts before the first block."""
        own = {member: known_authorities(genesis)[member]}
        return cls(trust_registry(genesis), own, genesis.authorities)

    def follow(self, registered: Mapping[str, str], height: int) -> None:
        """Accept the authorities of the registry, and those of nobody that it dropped.

        Args:
            registered: PEM by member id, as the registry has them after the block at `height`.
        """
        counting = authorities_in_force(registered, height, self.proven)
        for member, why in self.trust.replace({**self.own, **counting}).items():
            log.warning("authority_left_out", member=member, why=why)
