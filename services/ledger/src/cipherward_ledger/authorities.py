"""Whose certificates the ledger's server accepts: those of the registry, as blocks change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_kit.tls import TrustRegistry

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Authorities:
    """What the server trusts, and how that follows the registry.

    trust: of the server; it begins with the genesis. own: this member's authority (PEM by its id),
        which counts also while the state does not name it: its services follow its ledger to the
        block in which it is admitted.
    """

    trust: TrustRegistry
    own: Mapping[str, bytes]

    def follow(self, registry: pb.GetRegistryResponse) -> None:
        """Accept the authorities of the registry, and those of nobody that it dropped."""
        named = {one.member_id: one.ca_certificate.encode() for one in registry.members}
        for member, why in self.trust.replace({**named, **self.own}).items():
            log.warning("authority_left_out", member=member, why=why)
