"""What a ceremony is to make, with whom, and how long each of its windows may last.

A plan stands on the chain before the first message. It counts members of which f = (n - 1) // 3
may be faulty: n - f shares open, n - f dealers make a key, n - f members must prove their share.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cipherward_threshold.group import domains
from cipherward_threshold.group.ceremony import phases
from cipherward_threshold.group.encoding import digest
from cipherward_threshold.group.errors import PlanRejected
from cipherward_threshold.group.keys import HOLDERS_MAX, NUMBER_MAX, PURPOSES, ThresholdKey

CEREMONY_BYTES: Final = 16
_CACHED = 16  # ceremonies that run at once: one or two


@dataclass(frozen=True, slots=True)
class Plan:
    """One ceremony: a new key, or another sharing of one that is in force.

    Attributes:
        chain_id, purpose: as the key's.
        ceremony: the contract that it runs under, 16 bytes.
        key_epoch, sharing, threshold: of the key that it makes.
        members: who gets a share, sorted; the share's index is the place, from 1.
        window: heights that a phase may last, from 1.
        dealers_min: dealers that must qualify. ready_min: members that must prove their share.
        old: the sharing that is dealt on, or None for a new key.
        dealers: who deals, by index from 1. For a new key the members; for a resharing the holders
            of `old` by their index there, with "" in place of one that has no share to deal.

    Raises:
        PlanRejected: a value is out of range, or two contradict one another.
    """

    chain_id: str
    purpose: str
    ceremony: bytes
    key_epoch: int
    sharing: int
    threshold: int
    members: tuple[str, ...]
    window: int
    dealers_min: int
    ready_min: int
    old: ThresholdKey | None
    dealers: tuple[str, ...]

    def __post_init__(self) -> None:
        count = len(self.members)
        _need(bool(self.chain_id) and self.purpose in PURPOSES, "a chain and a known purpose")
        _need(len(self.ceremony) == CEREMONY_BYTES, "a ceremony's id of 16 bytes")
        _need(1 <= self.key_epoch <= NUMBER_MAX, "a key epoch from 1")
        _need(1 <= self.sharing <= NUMBER_MAX, "a sharing from 1")
        _need(1 <= count <= HOLDERS_MAX, f"1 to {HOLDERS_MAX} members")
        _need(all(self.members) and _ascending(self.members), "members sorted, each once")
        _need(1 <= self.threshold <= count, "a threshold that the members can reach")
        _need(self.threshold <= self.ready_min <= count, "enough members that prove their share")
        _need(self.window >= 1, "windows of at least one height")
        _need(1 <= self.dealers_min <= _present(self.dealers), "enough dealers")
        if self.old is None:
            _need(self.dealers == self.members, "the members as dealers of a new key")
        else:
            self._check_resharing(self.old)

    def _check_resharing(self, old: ThresholdKey) -> None:
        same = (old.chain_id, old.purpose, old.key_epoch)
        named = [dealer for dealer in self.dealers if dealer]
        _need(same == (self.chain_id, self.purpose, self.key_epoch), "the old sharing's own key")
        _need(self.sharing > old.sharing, "a sharing after the old one")
        _need(len(self.dealers) == len(old.points), "a dealer for each holder of the old sharing")
        _need(len(set(named)) == len(named), "dealers each once")
        _need(self.dealers_min == old.threshold, "as many dealers as open the old sharing")

    @classmethod
    def new_key(
        cls,
        *,
        chain_id: str,
        purpose: str,
        ceremony: bytes,
        key_epoch: int,
        members: Collection[str],
        window: int,
    ) -> Plan:
        """Return the plan of a new key's first sharing among `members`, or raise `PlanRejected`."""
        enough = enough_of(len(members))
        names = tuple(sorted(members))
        return cls(
            chain_id=chain_id,
            purpose=purpose,
            ceremony=ceremony,
            key_epoch=key_epoch,
            sharing=1,
            threshold=enough,
            members=names,
            window=window,
            dealers_min=enough,
            ready_min=enough,
            old=None,
            dealers=names,
        )

    @classmethod
    def resharing(
        cls,
        old: ThresholdKey,
        *,
        ceremony: bytes,
        holders: Sequence[str],
        ready: Collection[str],
        members: Collection[str],
        window: int,
    ) -> Plan:
        """Return the plan of the sharing after `old` among `members`, or raise `PlanRejected`.

        Args:
            holders: the members of the old sharing, by index.
            ready: those of them that have their share and may deal it.
        """
        enough = enough_of(len(members))
        return cls(
            chain_id=old.chain_id,
            purpose=old.purpose,
            ceremony=ceremony,
            key_epoch=old.key_epoch,
            sharing=old.sharing + 1,
            threshold=enough,
            members=tuple(sorted(members)),
            window=window,
            dealers_min=old.threshold,
            ready_min=enough,
            old=old,
            dealers=tuple(holder if holder in ready else "" for holder in holders),
        )

    @property
    def phases(self) -> tuple[str, ...]:
        """The ceremony's windows, in order."""
        return phases.OF_NEW_KEY if self.old is None else phases.OF_RESHARING

    @property
    def settles(self) -> str:
        """The phase after which nothing changes the key any more: the one before `ready`."""
        return self.phases[-2]

    @property
    def session(self) -> bytes:
        """What every proof and sealed part of this ceremony is bound to, 32 bytes."""
        return _session(self)

    @property
    def bases(self) -> int:
        """Polynomials in a deal: a new key's is hidden by a second one, a resharing's is not."""
        return 2 if self.old is None else 1

    def receiver(self, member: str) -> int | None:
        """Return the index of a member's share, or None if it gets none."""
        return self.members.index(member) + 1 if member in self.members else None

    def dealer(self, member: str) -> int | None:
        """Return a member's index as a dealer, or None if it deals nothing."""
        return self.dealers.index(member) + 1 if member and member in self.dealers else None


def enough_of(members: int) -> int:
    """Return n - f, of which f = (n - 1) // 3 may be faulty."""
    return members - (members - 1) // 3


def _need(found: bool, what: str) -> None:
    if not found:
        raise PlanRejected(f"a ceremony's plan needs {what}")


def _ascending(names: Sequence[str]) -> bool:
    return list(names) == sorted(set(names))


def _present(dealers: Sequence[str]) -> int:
    return sum(1 for dealer in dealers if dealer)


@lru_cache(maxsize=_CACHED)
def _session(plan: Plan) -> bytes:
    numbers = plan.key_epoch, plan.sharing, plan.threshold, plan.window
    least = plan.dealers_min, plan.ready_min
    old = plan.old.digest if plan.old else b""
    named = len(plan.members), *plan.members, *plan.dealers
    return digest(
        domains.CEREMONY_SESSION,
        plan.chain_id,
        plan.purpose,
        plan.ceremony,
        *numbers,
        *least,
        old,
        *named,
    )
