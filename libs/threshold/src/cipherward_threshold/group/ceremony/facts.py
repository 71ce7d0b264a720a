"""What has been said in a ceremony, and what follows from it.

Dealers and receivers stand here by index. Nothing is checked here: `rules` decides what becomes a
fact, `transcript` decides when.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from cipherward_threshold.group.ceremony import phases
from cipherward_threshold.group.ceremony.messages import Shares
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.curve import IDENTITY, ONE, G, G1Point, Scalar, msm, octets
from cipherward_threshold.group.keys import ThresholdKey
from cipherward_threshold.group.polynomials import interpolate, lagrange_at_zero, powers


@dataclass(slots=True)
class Facts:
    """The messages of one ceremony that count.

    Attributes:
        enrolled: receiver -> its sealing key.
        deals: dealer -> its commitments, in the order of the log.
        complaints: receiver -> the dealers that it complains about.
        answers: dealer -> receiver -> the revealed share.
        extracted: dealer -> its polynomial as points.
        rebuilt: receiver -> dealer -> the share that the receiver published.
        ready: receivers that proved their share.
        key: the key, once nothing can change it any more.
    """

    plan: Plan
    enrolled: dict[int, bytes] = field(default_factory=dict[int, bytes])
    deals: dict[int, tuple[G1Point, ...]] = field(default_factory=dict[int, tuple[G1Point, ...]])
    complaints: dict[int, tuple[int, ...]] = field(default_factory=dict[int, tuple[int, ...]])
    answers: dict[int, dict[int, Shares]] = field(default_factory=dict[int, dict[int, Shares]])
    extracted: dict[int, tuple[G1Point, ...]] = field(
        default_factory=dict[int, tuple[G1Point, ...]]
    )
    rebuilt: dict[int, dict[int, Shares]] = field(default_factory=dict[int, dict[int, Shares]])
    ready: dict[int, None] = field(default_factory=dict[int, None])
    key: ThresholdKey | None = None

    def copy(self) -> Facts:
        """Return facts that grow apart from these; what was said is shared, it never changes."""
        return Facts(
            self.plan,
            dict(self.enrolled),
            dict(self.deals),
            dict(self.complaints),
            dict(self.answers),
            dict(self.extracted),
            dict(self.rebuilt),
            dict(self.ready),
            self.key,
        )

    def awaited(self, phase: str) -> tuple[int, ...]:
        """Return who may speak in a phase and has not, by index: dealers or receivers."""
        due: Collection[int]
        said: Collection[int]
        match phase:
            case phases.ENROL:
                due, said = range(1, len(self.plan.members) + 1), self.enrolled
            case phases.DEAL:
                due, said = self.may_deal, self.deals
            case phases.COMPLAIN:
                due, said = self.enrolled, self.complaints
            case phases.ANSWER:
                due, said = self.asked, self.answers
            case phases.EXTRACT:
                due, said = self.qualified, self.extracted
            case phases.REBUILD:
                due, said = self.enrolled if self.lost else (), self.rebuilt
            case _:
                due, said = self.enrolled, self.ready
        return tuple(sorted(set(due) - set(said)))

    @property
    def may_deal(self) -> tuple[int, ...]:
        """Dealers that are there: whoever is to get a share too has shown it by enrolling."""
        there = {self.plan.members[receiver - 1] for receiver in self.enrolled}
        gone = set(self.plan.members) - there
        named = enumerate(self.plan.dealers, start=1)
        return tuple(dealer for dealer, name in named if name and name not in gone)

    def complainants(self, dealer: int) -> tuple[int, ...]:
        """Return the receivers that complain about a dealer, ascending."""
        return tuple(sorted(r for r, about in self.complaints.items() if dealer in about))

    @property
    def asked(self) -> tuple[int, ...]:
        """Dealers that can answer: with as many complaints as the threshold they are out, and their
        answers would publish enough shares to rebuild their secret."""
        return tuple(
            dealer
            for dealer in self.deals
            if 0 < len(self.complainants(dealer)) < self.plan.threshold
        )

    @property
    def qualified(self) -> tuple[int, ...]:
        """Dealers whose deals count, in the order of the log: nobody complains, or fewer than the
        threshold do and all are answered."""
        return tuple(
            dealer
            for dealer in self.deals
            if dealer in self.answers or not self.complainants(dealer)
        )

    @property
    def missing(self) -> tuple[int, ...]:
        """Qualified dealers that hide their polynomial: the others publish their shares of it."""
        return tuple(dealer for dealer in self.qualified if dealer not in self.extracted)

    @property
    def lost(self) -> tuple[int, ...]:
        """Missing dealers of which fewer shares are known than rebuild a polynomial."""
        return tuple(d for d in self.missing if len(self.known(d)) < self.plan.threshold)

    def known(self, dealer: int) -> dict[int, Scalar]:
        """Return a dealer's published shares, by receiver."""
        found = {receiver: shares[0] for receiver, shares in self.answers.get(dealer, {}).items()}
        for receiver, said in self.rebuilt.items():
            if dealer in said:
                found[receiver] = said[dealer][0]
        return found

    def weights(self) -> dict[int, Scalar]:
        """Return the factor of each dealer's share in a receiver's own.

        A new key is the sum of all qualified dealers; a resharing interpolates the first of them
        that are as many as open the old sharing.
        """
        if self.plan.old is None:
            return dict.fromkeys(self.qualified, ONE)
        chosen = self.qualified[: self.plan.old.threshold]
        return dict(zip(chosen, lagrange_at_zero(chosen), strict=True))

    def make_key(self) -> ThresholdKey | None:
        """Return the key that follows from the deals, or None if a point of it is the identity
        (then it is nobody's secret; it does not happen by chance).
        """
        plan, weights = self.plan, self.weights()
        dealt = [self._coefficients(dealer) for dealer in weights]
        factors = list(weights.values())
        shared = [msm(column, factors) for column in zip(*dealt, strict=True)]
        indexes = range(1, len(plan.members) + 1)
        points = [msm(shared, powers(index, plan.threshold)) for index in indexes]
        if IDENTITY in (shared[0], *points):
            return None
        return ThresholdKey(
            plan.chain_id,
            plan.purpose,
            plan.key_epoch,
            plan.sharing,
            plan.threshold,
            octets(shared[0]),
            tuple(octets(point) for point in points),
        )

    def _coefficients(self, dealer: int) -> tuple[G1Point, ...]:
        """Return a dealer's polynomial as points."""
        if self.plan.old is not None:
            return self.deals[dealer]
        if dealer in self.extracted:
            return self.extracted[dealer]
        known = self.known(dealer)
        enough = sorted(known)[: self.plan.threshold]
        return tuple(G * a for a in interpolate({index: known[index] for index in enough}))
