"""Opening sums among the members: the set's shares, this member's own first, combined.

What is opened so is for the members alone: counts, and checks that are zero. Results go to the key
of whoever asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cipherward_chain.batches import packed
from cipherward_compute.arithmetic.shares import opened_counts
from cipherward_compute.failures import ShareRefused
from cipherward_compute.guardian import Guardian
from cipherward_compute.instructions import ReleaseCounts
from cipherward_compute.member import Member
from cipherward_compute.peers import Peers, from_all
from cipherward_compute.studies import News
from cipherward_threshold.errors import ThresholdError


@dataclass(frozen=True, slots=True)
class Opened:
    """What sums open to.

    slots: how many integers of each ciphertext. circuit: what happened to them. bound: the most
    that an integer can be, of either sign; None if the circuit's own is all that is known.
    """

    profile: str
    slots: Sequence[int]
    circuit: str
    bound: int | None = None


class Opening:
    """Opens what the chain orders to be opened to all members."""

    def __init__(self, member: Member, guardian: Guardian, peers: Peers, news: News) -> None:
        self._member = member
        self._guardian = guardian
        self._peers = peers
        self._news = news

    async def open(self, order: ReleaseCounts, batch: bytes, what: Opened) -> list[int]:
        """Return the integers of all ciphertexts, those of one behind those of the other.

        Args:
            batch: the packed sums as this member made them.

        Raises:
            StepFailed: this member can give no share, or together they open nothing.
            PeerWrong: a peer's share is none.
        """
        study, key = order.shared.study, order.shared.key
        shares: dict[str, bytes] = {}
        if self._member.id in order.online:
            own = await self._guardian.share_counts(order, batch, what.circuit)
            shares[self._member.id] = packed(own)
            self._news.tell(study)  # a peer may be waiting for it
        shares |= await from_all(
            self._member.others(order.online),
            lambda name: self._peers.decryption_shares(name, study, key),
        )
        points = self._member.points(order.online)
        try:
            return await self._member.pool.run(
                opened_counts,
                what.profile,
                batch,
                {name: (points[name], share) for name, share in shares.items()},
                what.slots,
                what.circuit,
                what.bound,
            )
        except ThresholdError as error:
            raise ShareRefused(f"the sums do not open: {error}") from None
