"""One member's side of a ceremony: what it owes to the log, and its share in the end.

Everything follows from a seed that is stored before the first message, so a member that crashes
says again what the log still lacks. A deal that is made twice has the same shares under other
randomness of the sealing; the first in the log counts. The sealing key serves this ceremony only:
deals stay on the chain for ever, and whoever took a lasting key would read all of a member's shares
from them.
"""

from __future__ import annotations

from collections.abc import Mapping

from cipherward_threshold.group.ceremony import phases
from cipherward_threshold.group.ceremony.dealer import Dealer
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.ceremony.receiver import Receiver
from cipherward_threshold.group.ceremony.sealing import Sealing
from cipherward_threshold.group.ceremony.seeds import Secrets, sealing_secret
from cipherward_threshold.group.ceremony.transcript import Transcript
from cipherward_threshold.group.curve import Scalar, octets
from cipherward_threshold.group.errors import KeyShareRejected, NoShare, PlanRejected
from cipherward_threshold.group.shares import holder_secret

__all__ = ["Sealing", "sealing_secret"]


class Participant:
    """A member in one ceremony. It keeps nothing that does not follow from its arguments.

    Args:
        member: one that deals, gets a share, or both.
        seed: 32 random bytes, stored before the first message, destroyed after the ceremony.
        sealing: with the key pair of `sealing_secret(seed, plan.session)`.
        old_share: in a resharing, this member's share of the old sharing (32 bytes); without it the
            member deals nothing.

    Raises:
        PlanRejected: the plan has no such member.
        SeedRejected: the seed is out of form.
        KeyShareRejected: `old_share` is not this member's share of the old sharing.
    """

    __slots__ = ("_dealer", "_member", "_receiver")

    def __init__(
        self,
        plan: Plan,
        member: str,
        seed: bytes,
        sealing: Sealing,
        old_share: bytes | None = None,
    ) -> None:
        secrets = Secrets(plan, member, seed)
        place, index = plan.receiver(member), plan.dealer(member)
        if place is None and index is None:
            raise PlanRejected("a ceremony's plan has no such member")
        self._member = member
        self._receiver = Receiver(plan, place, secrets, sealing) if place else None
        self._dealer: Dealer | None = None
        free_term = _dealt_on(plan, index, old_share)
        if index is not None and (plan.old is None or free_term is not None):
            self._dealer = Dealer(plan, index, secrets, sealing, free_term)

    def owed(self, transcript: Transcript, parts: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
        """Return the messages, as (kind, body), that this member still owes in the open window.

        One at most. None at all when the member enrolled with another sealing key than it has: it
        could open nothing, and its complaints would make the others publish its share.

        Args:
            transcript: advanced to the height after the newest block, the first that can hold the
                message.
            parts: the sealed part for this member of each deal in the log, by dealer.
        """
        if self._member not in transcript.awaited:
            return []
        if self._receiver and self._receiver.key_lost(transcript.facts):
            return []
        phase = transcript.phase
        if phase in phases.DEALERS_SPEAK:
            body = self._as_dealer(transcript)
        else:
            body = self._as_receiver(transcript, parts)
        return [] if body is None else [(phase, body)]

    def share(self, transcript: Transcript, parts: Mapping[str, bytes]) -> bytes:
        """Return this member's share of the key, 32 bytes, checked against the key.

        Raises:
            NoShare: it has none, or there is no key yet.
        """
        key = transcript.facts.key
        if key is None or self._receiver is None:
            raise NoShare("the ceremony has made no key for this member")
        return octets(self._receiver.share(transcript.facts, key, parts))

    def _as_dealer(self, transcript: Transcript) -> bytes | None:
        facts, dealer = transcript.facts, self._dealer
        if dealer is None:
            return None
        match transcript.phase:
            case phases.DEAL:
                return dealer.deal(facts)
            case phases.ANSWER:
                return dealer.answer(facts)
            case _:
                return dealer.extraction(facts)

    def _as_receiver(self, transcript: Transcript, parts: Mapping[str, bytes]) -> bytes | None:
        facts, receiver = transcript.facts, self._receiver
        if receiver is None:
            return None
        match transcript.phase:
            case phases.ENROL:
                return receiver.public_key
            case phases.COMPLAIN:
                return receiver.complaint(facts, parts)
            case phases.REBUILD:
                return receiver.rebuilding(facts, parts)
            case _:
                return receiver.ready(facts, parts)


def _dealt_on(plan: Plan, index: int | None, old_share: bytes | None) -> Scalar | None:
    if old_share is None:
        return None
    if plan.old is None or index is None:
        raise KeyShareRejected("this member has no old share to deal")
    return holder_secret(plan.old, index, old_share)
