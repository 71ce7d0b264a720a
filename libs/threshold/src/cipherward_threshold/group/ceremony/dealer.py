"""The dealer's side of a ceremony: its deal, its answers, its points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cipherward_threshold.group.ceremony import phases
from cipherward_threshold.group.ceremony.facts import Facts
from cipherward_threshold.group.ceremony.messages import (
    Shares,
    deal_body,
    extraction_body,
    shares_body,
)
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.ceremony.proofs import commit, prove_extraction
from cipherward_threshold.group.ceremony.sealing import Sealing, part_place
from cipherward_threshold.group.ceremony.seeds import Secrets
from cipherward_threshold.group.curve import Scalar, octets
from cipherward_threshold.group.polynomials import evaluate


@dataclass(frozen=True, slots=True)
class Dealer:
    """A member that deals, by its index.

    free_term: the old share that it deals on in a resharing; None for a new key.
    """

    plan: Plan
    index: int
    secrets: Secrets
    sealing: Sealing
    free_term: Scalar | None = field(repr=False)

    def deal(self, facts: Facts) -> bytes:
        """Return the body of the deal: the same shares each time, sealed anew."""
        polynomials = self._polynomials()
        sealed = [
            self._sealed(facts, receiver, _values(polynomials, receiver))
            for receiver in range(1, len(self.plan.members) + 1)
        ]
        return deal_body(commit(self.plan, polynomials), sealed)

    def answer(self, facts: Facts) -> bytes | None:
        """Return the body that reveals what was complained about, None if the deal is not ours."""
        if not self._ours(facts):
            return None
        polynomials = self._polynomials()
        asked = facts.complainants(self.index)
        return shares_body({receiver: _values(polynomials, receiver) for receiver in asked})

    def extraction(self, facts: Facts) -> bytes | None:
        """Return the body with the polynomial as points, None if the deal is not ours."""
        if not self._ours(facts):
            return None
        commitments = octets(*facts.deals[self.index])
        nonces = self.secrets.nonces(phases.EXTRACT, 2, commitments)
        return extraction_body(prove_extraction(self.plan, self.index, self._polynomials(), nonces))

    def _polynomials(self) -> list[list[Scalar]]:
        return self.secrets.polynomials(self.free_term)

    def _sealed(self, facts: Facts, receiver: int, values: Shares) -> bytes:
        """Return a receiver's part; nothing for one that has no key, or whose key takes nothing:
        it may complain, and the answer publishes no share but its own.
        """
        public_key = facts.enrolled.get(receiver)
        if public_key is None:
            return b""
        place = part_place(self.plan, self.secrets.member, self.plan.members[receiver - 1])
        try:
            return self.sealing.seal(octets(*values), public_key, place)
        except ValueError:
            return b""

    def _ours(self, facts: Facts) -> bool:
        """Return whether the deal in the log follows from this seed, and not from a lost one.

        The last coefficient tells: the first one is the old share in a resharing, whatever the
        seed.
        """
        last = [polynomial[-1:] for polynomial in self._polynomials()]
        return facts.deals[self.index][-1:] == commit(self.plan, last)


def _values(polynomials: Sequence[Sequence[Scalar]], receiver: int) -> Shares:
    return tuple(evaluate(polynomial, receiver) for polynomial in polynomials)
