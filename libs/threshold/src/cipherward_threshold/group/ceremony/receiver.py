"""The receiver's side of a ceremony: what it was sent, its complaints, its share."""

from __future__ import annotations

from collections.abc import Mapping

from cipherward_threshold.group.ceremony import phases
from cipherward_threshold.group.ceremony.facts import Facts
from cipherward_threshold.group.ceremony.messages import Shares, complaint_body, shares_body
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.ceremony.proofs import bases, prove_ready, shares_fit
from cipherward_threshold.group.ceremony.sealing import Sealing, part_place
from cipherward_threshold.group.ceremony.seeds import Secrets
from cipherward_threshold.group.curve import (
    IDENTITY,
    ZERO,
    G,
    Scalar,
    blinded_product,
    msm,
    random_scalar,
    read_scalars,
)
from cipherward_threshold.group.errors import NoShare
from cipherward_threshold.group.keys import ThresholdKey, holder_point
from cipherward_threshold.group.polynomials import powers


class Receiver:
    """A member that gets a share, by its index.

    `parts` of the methods has the sealed part for this member of each deal in the log, by dealer.
    """

    __slots__ = ("_index", "_opened", "_plan", "_sealing", "_secrets")

    def __init__(self, plan: Plan, index: int, secrets: Secrets, sealing: Sealing) -> None:
        self._plan = plan
        self._index = index
        self._secrets = secrets
        self._sealing = sealing
        self._opened: dict[tuple[int, bytes], Shares | None] = {}  # opening costs 0.3 ms each time

    @property
    def public_key(self) -> bytes:
        """The sealing key that this member enrols with."""
        return self._sealing.public_key

    def key_lost(self, facts: Facts) -> bool:
        """Return whether the member enrolled with another sealing key than this one."""
        enrolled = facts.enrolled.get(self._index)
        return enrolled is not None and enrolled != self._sealing.public_key

    def complaint(self, facts: Facts, parts: Mapping[str, bytes]) -> bytes | None:
        """Return the body that names the bad deals, or None when the fault must be on this side:
        more are bad than dealers may be faulty. The answers would publish this member's share.
        """
        bad = self._bad_deals(facts, parts)
        dealers = sum(1 for name in self._plan.dealers if name)
        faulty = max(1, dealers - self._plan.dealers_min)
        if len(bad) > faulty or len(bad) == len(facts.deals):
            return None
        return complaint_body(bad)

    def rebuilding(self, facts: Facts, parts: Mapping[str, bytes]) -> bytes | None:
        """Return the body with this member's shares of the missing dealers, None without any."""
        found = {dealer: self._dealt(facts, dealer, parts) for dealer in facts.missing}
        known = {dealer: shares for dealer, shares in found.items() if shares is not None}
        return shares_body(known) if known else None

    def ready(self, facts: Facts, parts: Mapping[str, bytes]) -> bytes | None:
        """Return the body that proves this member's share, None if it has none."""
        key = facts.key
        if key is None:
            return None
        try:
            share = self.share(facts, key, parts)
        except NoShare:
            return None
        (nonce,) = self._secrets.nonces(phases.READY, 1, key.digest)
        return prove_ready(self._plan, key, self._index, share, nonce)

    def share(self, facts: Facts, key: ThresholdKey, parts: Mapping[str, bytes]) -> Scalar:
        """Return this member's share of the key, or raise `NoShare`."""
        total = ZERO
        for dealer, weight in facts.weights().items():
            shares = self._dealt(facts, dealer, parts)
            if shares is None:
                raise NoShare("a dealer's part is missing or wrong", dealer=dealer)
            total = total + weight * shares[0]
        if blinded_product(G, total) != holder_point(key, self._index):
            raise NoShare("the parts do not fit the key")
        return total

    def _bad_deals(self, facts: Facts, parts: Mapping[str, bytes]) -> list[int]:
        """Return the dealers whose part is missing or wrong: all parts are checked at once under
        random weights, and one by one only when that fails.
        """
        dealt = {dealer: self._open(dealer, parts) for dealer in facts.deals}
        sums, points, weights = [ZERO] * self._plan.bases, list(bases(self._plan)), list[Scalar]()
        for dealer, shares in dealt.items():
            if shares is None:
                continue
            chance = random_scalar()
            sums = [total + chance * s for total, s in zip(sums, shares, strict=True)]
            points += facts.deals[dealer]
            weights += [-(chance * power) for power in powers(self._index, self._plan.threshold)]
        if msm(points, sums + weights) == IDENTITY:
            return [dealer for dealer, shares in dealt.items() if shares is None]
        return [d for d, shares in dealt.items() if not self._fits(facts, d, shares)]

    def _dealt(self, facts: Facts, dealer: int, parts: Mapping[str, bytes]) -> Shares | None:
        """Return what a dealer gave to this member, revealed or sealed, if it is right."""
        revealed = facts.answers.get(dealer, {}).get(self._index)
        shares = revealed or self._open(dealer, parts)
        return shares if self._fits(facts, dealer, shares) else None

    def _fits(self, facts: Facts, dealer: int, shares: Shares | None) -> bool:
        if shares is None:
            return False
        return shares_fit(self._plan, facts.deals[dealer], self._index, shares)

    def _open(self, dealer: int, parts: Mapping[str, bytes]) -> Shares | None:
        name = self._plan.dealers[dealer - 1]
        sealed = parts.get(name, b"")
        known = (dealer, sealed)
        if known not in self._opened:
            try:
                raw = self._sealing.open(sealed, part_place(self._plan, name, self._secrets.member))
                self._opened[known] = read_scalars(raw, self._plan.bases)
            except ValueError:  # does not open here, or holds something else
                self._opened[known] = None
        return self._opened[known]
