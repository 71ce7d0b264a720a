"""Shared keys made in memory, by the real ceremony, for the tests of every part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cipherward_chain.group_key_orders import CeremonyOrder
from cipherward_chain.group_keys import GroupKeyEntry
from cipherward_chain.testing import seed_of
from cipherward_member.ceremony_steps import FollowedCeremony, Self
from cipherward_member.ceremony_store import CeremonyMessage
from cipherward_member.shared_keys import threshold_key
from cipherward_threshold.group.ceremony.plan import enough_of
from cipherward_threshold.group.keys import ThresholdKey

WINDOW = 10  # heights; nobody is late here


@dataclass(frozen=True, slots=True)
class SharedKey:
    """A key in force: its entry in the state, and every member's share (32 bytes)."""

    chain_id: str
    entry: GroupKeyEntry
    shares: Mapping[str, bytes] = field(repr=False)

    @property
    def key(self) -> ThresholdKey:
        """The key as slots and shares are made with."""
        return threshold_key(self.chain_id, self.entry)


def make_shared_key(
    chain_id: str,
    purpose: str,
    members: Sequence[str],
    *,
    key_epoch: int = 1,
    old: SharedKey | None = None,
    start: int = 1,
) -> SharedKey:
    """Return a new key of `members`, or with `old` its next sharing; about 50 ms for four."""
    names = tuple(sorted(members))
    before = None if old is None else old.entry
    order = CeremonyOrder(
        ceremony=seed_of(f"{purpose}/{key_epoch}/{start}")[:16],
        purpose=purpose,
        key_epoch=key_epoch if before is None else before.key_epoch,
        sharing=1 if before is None else before.sharing + 1,
        members=names,
        dealers=names if before is None else tuple(one.member for one in before.holders),
        threshold=enough_of(len(names)),
        window=WINDOW,
        start=start,
        old=before,
    )
    there = sorted({*order.members, *order.dealers})
    seats = {name: FollowedCeremony(Self(chain_id, name), order) for name in there}
    seeds = {name: seed_of(f"{name}/{purpose}/{start}") for name in seats}
    dealt: Mapping[str, bytes] = {} if old is None else old.shares
    height = start
    while any(seat.phase != "over" for seat in seats.values()):
        height += 1
        said = [
            (name, *one)
            for name, seat in seats.items()
            if seat.awaits_us
            for one in seat.owed(seeds[name], dealt.get(name))
        ]
        messages = [
            CeremonyMessage(order.ceremony, height, place, name, kind, body)
            for place, (name, kind, body) in enumerate(said)
        ]
        for seat in seats.values():
            seat.take(messages, height)
    entry = next(iter(seats.values())).entry(height + 1)
    if entry is None:
        raise AssertionError("nobody was at fault, and there is no key")
    shares = {name: seats[name].share(seeds[name]) for name in order.members}
    return SharedKey(chain_id, entry, shares)
