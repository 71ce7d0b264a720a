"""A use of a risk score: what is asked, what is secret about it, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from cipherward_chain.canonical import decode_map, encode
from cipherward_chain.fields import Fields
from cipherward_member.reports import OrderKey


@dataclass(frozen=True, slots=True)
class Contract:
    """A risk score as blocks have proposed it; `model` is its text's digest."""

    id: bytes
    hospital: str
    source: bytes
    model: bytes


@dataclass(frozen=True, slots=True)
class Secret:
    """What only this member knows of a use: the seed of its key, and whose slots are scored.

    slots: one a reference, in the order of the request; two references may be one patient's.
    """

    seed: bytes = field(repr=False)
    references: tuple[bytes, ...] = field(repr=False)
    slots: tuple[int, ...] = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return it as it is sealed."""
        return encode(
            {"seed": self.seed, "references": list(self.references), "slots": list(self.slots)}
        )

    @classmethod
    def parse(cls, octets: bytes) -> Secret:
        """Return what `to_bytes` wrote."""
        fields = Fields(decode_map(octets))
        references = [one for one in fields.items("references") if isinstance(one, bytes)]
        slots = [one for one in fields.items("slots") if isinstance(one, int)]
        return cls(fields.octets("seed"), tuple(references), tuple(slots))


@dataclass(frozen=True, slots=True)
class Asking:
    """A use that is to begin.

    name: of what is asked, keyed. request: what the chain names. expires: of the transaction.
    """

    id: bytes
    request_id: str
    name: bytes
    study: bytes
    request: bytes
    variables: int
    transaction_id: bytes
    transaction: bytes = field(repr=False)
    expires: int


@dataclass(frozen=True, slots=True)
class Score:
    """The answer for one patient; probability: 0 of a linear model."""

    reference: bytes = field(repr=False)
    known: int = field(repr=False)
    linear: float = field(repr=False)
    probability: float = field(repr=False)


@dataclass(frozen=True, slots=True)
class Use:
    """A use, as whoever asked sees it; `scores` only once they are released."""

    state: str
    failure_reason: str
    failure: str
    variables: int
    release: OrderKey | None
    scores: tuple[Score, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Due:
    """A use whose scores a block has released, and that are not read yet."""

    id: bytes
    contract: Contract
    order: OrderKey
