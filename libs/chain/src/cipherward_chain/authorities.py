"""A member's authorities that changed after the genesis, or after its admission, believed because a
block ordered it.

Whoever follows the chain learns of a change by itself. The proof is for whoever begins: a service
that has not followed yet, and clients, which follow no blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from cipherward_chain.checkpoint import TrustRoot
from cipherward_chain.members import AuthoritiesSet, Member
from cipherward_chain.orders import Order
from cipherward_chain.orders_proof import OrdersProof, OrdersProofRejected

INSTRUCTION: Final = "set_authorities"
FOLDER: Final = "authorities"  # beside the genesis and the endpoints: FOLDER/<member>.json


class AuthoritiesRejected(OrdersProofRejected):
    """A document does not prove which authorities a member has."""

    reason = "AUTHORITIES_REJECTED"


@dataclass(frozen=True, slots=True)
class AuthoritiesProof(OrdersProof):
    """The proof of the act that decided it: its receipt and its block."""

    rejected: ClassVar[type[OrdersProofRejected]] = AuthoritiesRejected

    def verify(self, trust_root: TrustRoot, member_id: str) -> AuthoritiesSet:
        """Return the authorities that the block gave the member. Takes some ms.

        Raises:
            AuthoritiesRejected: the chain does not prove it.
        """
        found = self.ordered(trust_root, member_id, INSTRUCTION, authorities_set_by)
        for one in reversed(found):  # of several in a block the last counts
            if one.member == member_id:
                return one
        raise AuthoritiesRejected(f"that block does not change the authorities of {member_id}")


def authorities_set_by(order: Order) -> AuthoritiesSet:
    """Return what an order `set_authorities` gives whom, or raise NotCanonical."""
    fields = order.fields()
    return AuthoritiesSet(fields.text("member"), fields.text("authorities"), order.height)


def members_authorities(
    members: Iterable[Member], height: int, proven: Mapping[str, AuthoritiesSet]
) -> dict[str, bytes]:
    """As `authorities_in_force`, of the members of a registry or genesis, in their order."""
    registered = {member.id: member.ca_certificate for member in members}
    return authorities_in_force(registered, height, proven)


def authorities_in_force(
    registered: Mapping[str, str], height: int, proven: Mapping[str, AuthoritiesSet]
) -> dict[str, bytes]:
    """Return the members' authorities that count (PEM by id), in the order of `registered`.

    Args:
        registered: PEM by member id, as a registry has them after the block at `height`.
        proven: changes by member: one that is later than `height` counts before it is followed, so
            that who begins with an old registry accepts the certificates of now.
    """
    later = {one.member: one.authorities for one in proven.values() if one.height > height}
    return {member: later.get(member, pem).encode() for member, pem in registered.items()}
