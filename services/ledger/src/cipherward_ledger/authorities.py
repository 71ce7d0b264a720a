"""Whose certificates the ledger's server accepts: those of the registry, as blocks change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.authorities import authorities_in_force
from cipherward_chain.members import AuthoritiesSet
from cipherward_kit.tls import TrustRegistry

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Authorities:
    """What the server trusts, and how that follows the registry.

    trust: of the server; it begins with the genesis. own: this member's authority (PEM by its id),
        which counts also while the state does not name it: its services follow its ledger to the
        block in which it is admitted. proven: changes, by member, that count before the state has
        them: its services show certificates of now while the ledger follows blocks of before.
    """

    trust: TrustRegistry
    own: Mapping[str, bytes]
    proven: Mapping[str, AuthoritiesSet] = field(default_factory=dict[str, AuthoritiesSet])

    def follow(self, registry: pb.GetRegistryResponse) -> None:
        """Accept the authorities of the registry, and those of nobody that it dropped."""
        named = {one.member_id: one.ca_certificate for one in registry.members}
        counting = authorities_in_force(named, registry.height, self.proven)
        for member, why in self.trust.replace({**self.own, **counting}).items():
            log.warning("authority_left_out", member=member, why=why)
