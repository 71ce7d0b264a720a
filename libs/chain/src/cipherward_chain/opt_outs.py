"""What a member signs when it has taken a patient's choice about studies.

The statement never goes on the chain: it is the patient's, who can show it to anybody with the
member's public key at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from cipherward_chain.authorization import (
    AuthorizationMalformed,
    AuthorizationRejected,
    MemberSigner,
    check_signed,
    parse_authorization,
)
from cipherward_chain.canonical import NotCanonical, decode_map, encode
from cipherward_chain.domains import OPT_OUT_RECEIPT
from cipherward_chain.errors import ChainError
from cipherward_chain.fields import Fields

Choice: TypeAlias = Literal["in", "out"]
Kind: TypeAlias = Literal["pseudonym", "reference"]
CHOICES: Final = ("in", "out")
KINDS: Final = ("pseudonym", "reference")


class OptOutReceiptRejected(ChainError):
    """A receipt is not that member's signed statement about a patient's choice."""

    reason = "OPT_OUT_RECEIPT_REJECTED"


@dataclass(frozen=True, slots=True)
class OptOutStatement:
    """What a member says that it has taken.

    subject: a pseudonym (48 bytes) of the scope `care_scope(member)`, or a reference to rows.
    height: the member's newest block then; the choice counts for studies that a later one starts.
    """

    chain_id: str
    member: str
    kind: Kind
    subject: bytes
    choice: Choice
    height: int

    def to_bytes(self) -> bytes:
        """Return the canonical statement."""
        return encode(
            {
                "chain_id": self.chain_id,
                "member": self.member,
                "kind": self.kind,
                "subject": self.subject,
                "choice": self.choice,
                "height": self.height,
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> OptOutStatement:
        """Return the statement that `raw` is, or raise NotCanonical."""
        fields = Fields(decode_map(raw))
        kind, choice = fields.text("kind"), fields.text("choice")
        if kind not in KINDS or choice not in CHOICES:
            raise NotCanonical("a statement of another kind or choice")
        found = cls(
            chain_id=fields.text("chain_id"),
            member=fields.text("member"),
            kind=kind,
            subject=fields.octets("subject"),
            choice=choice,
            height=fields.integer("height"),
        )
        fields.end()
        return found


def care_scope(member: str) -> str:
    """Return the scope in which a patient is known to one member, and never on the chain."""
    return f"care:{member}"


def sign_statement(statement: OptOutStatement, signer: MemberSigner) -> bytes:
    """Return the member's serialised Authorization over a statement."""
    return signer.authorize(OPT_OUT_RECEIPT + statement.to_bytes())


def verify_statement(raw: bytes, authorization: bytes, public_key: bytes) -> OptOutStatement:
    """Return the statement that the member with `public_key` (32 bytes) has signed.

    Raises:
        OptOutReceiptRejected: another key, another member, or not such a statement.
    """
    try:
        statement = OptOutStatement.from_bytes(raw)
        signed = parse_authorization(authorization)
        check_signed(signed, OPT_OUT_RECEIPT + raw)
    except (NotCanonical, AuthorizationMalformed, AuthorizationRejected) as error:
        raise OptOutReceiptRejected(f"no receipt of a choice: {error}") from error
    by = signed.member
    if (by.member_id, by.public_key) != (statement.member, public_key):
        raise OptOutReceiptRejected("the receipt is signed by another than the member it names")
    return statement
