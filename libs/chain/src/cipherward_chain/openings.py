"""Opening who stands behind a pseudonym of staff: the order, and where a guardian's share goes.

The order makes each guardian seal one share to the recipient that the warrant names. Neither the
shares nor the identity are ever on the chain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cipherward_chain.acts import ID_BYTES, MEMBER_ID
from cipherward_chain.authorization import PSEUDONYM_BYTES
from cipherward_chain.canonical import NotCanonical
from cipherward_chain.domains import warrant_context
from cipherward_chain.errors import ChainError
from cipherward_chain.fields import Fields
from cipherward_chain.group_keys import HOLDERS_MAX, POINT_BYTES
from cipherward_chain.orders import Order
from cipherward_chain.sealing import PUBLIC_KEY_BYTES, SealInfo

OPEN_IDENTITY: Final = "open_identity"
CIPHERTEXT_BYTES: Final = 2 * POINT_BYTES
# Whose pseudonyms may be opened. Patients' presentations carry nothing that could be.
DUTY: Final = "duty:"


class WarrantMalformed(ChainError):
    """An order is not a warrant to open a pseudonym of staff."""

    reason = "WARRANT_MALFORMED"


@dataclass(frozen=True, slots=True)
class Warrant:
    """A warrant that the members have voted.

    warrant: the contract's id (16 bytes). scope, pseudonym: who is opened. ciphertext: what its
    presentation carried, 96 bytes. opening_key: what that is encrypted under, 48 bytes, of
    `key_epoch` in the sharing `sharing`, of which `threshold` shares open. guardians: who is to
    make a share, sorted. recipient: the member that may read them, at `recipient_key`.
    """

    warrant: bytes
    scope: str
    pseudonym: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)
    opening_key: bytes
    key_epoch: int
    sharing: int
    threshold: int
    guardians: tuple[str, ...]
    recipient: str
    recipient_key: bytes = field(repr=False)

    @staticmethod
    def of(order: Order) -> Warrant:
        """Return what an `open_identity` order says, or raise `WarrantMalformed`."""
        try:
            fields = order.fields()
            found = Warrant(
                warrant=fields.octets("warrant", length=ID_BYTES),
                scope=fields.text("scope"),
                pseudonym=fields.octets("pseudonym", length=PSEUDONYM_BYTES),
                ciphertext=fields.octets("ciphertext", length=CIPHERTEXT_BYTES),
                opening_key=fields.octets("opening_key", length=POINT_BYTES),
                key_epoch=fields.integer("key_epoch", minimum=1),
                sharing=fields.integer("sharing", minimum=1),
                threshold=fields.integer("threshold", minimum=1),
                guardians=_guardians(fields),
                recipient=fields.text("recipient"),
                recipient_key=fields.octets("recipient_key", length=PUBLIC_KEY_BYTES),
            )
            fields.end()
        except NotCanonical as error:
            raise WarrantMalformed(f"not a warrant: {error}") from error
        if found.warrant != order.instance:
            raise WarrantMalformed("a contract orders the opening that it was voted for")
        if not found.scope.startswith(DUTY):
            raise WarrantMalformed("staff is opened, and nobody else")
        if MEMBER_ID.fullmatch(found.recipient) is None:
            raise WarrantMalformed("a warrant names the member that reads the shares")
        return found

    def context(self, chain_id: str) -> bytes:
        """Return what the proof of every share is bound to: this warrant and its recipient."""
        return warrant_context(chain_id, self.warrant, self.recipient)

    def place(self, chain_id: str, guardian: str) -> SealInfo:
        """Return the place of a guardian's sealed share."""
        recipient = self.recipient.encode()
        return SealInfo(chain_id, self.warrant, f"opening/{guardian}", recipient)


def _guardians(fields: Fields) -> tuple[str, ...]:
    found = fields.texts("guardians")
    if not 0 < len(found) <= HOLDERS_MAX or list(found) != sorted(set(found)):
        raise NotCanonical("guardians are sorted, each once")
    return found
