"""The members' shared keys: between what the chain says of them and the arithmetic on them.

The contract service and every member compute the same from the same order, so it stands once.
"""

from __future__ import annotations

from cipherward_chain.group_key_orders import CeremonyOrder
from cipherward_chain.group_keys import GroupKeyEntry, KeyHolder
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.ceremony.transcript import Completed
from cipherward_threshold.group.keys import ThresholdKey


def threshold_key(chain_id: str, entry: GroupKeyEntry) -> ThresholdKey:
    """Return a sharing as the key that slots and shares are made and verified with."""
    return ThresholdKey(
        chain_id=chain_id,
        purpose=entry.purpose,
        key_epoch=entry.key_epoch,
        sharing=entry.sharing,
        threshold=entry.threshold,
        public_key=entry.public_key,
        points=entry.points,
    )


def plan_of(chain_id: str, order: CeremonyOrder) -> Plan:
    """Return the plan of an ordered ceremony.

    Raises:
        PlanRejected: it cannot be carried out; no contract orders that.
        KeyRejected: what it renews is no key.
    """
    if order.old is None:
        return Plan.new_key(
            chain_id=chain_id,
            purpose=order.purpose,
            ceremony=order.ceremony,
            key_epoch=order.key_epoch,
            members=order.members,
            window=order.window,
        )
    return Plan.resharing(
        threshold_key(chain_id, order.old),
        ceremony=order.ceremony,
        holders=[holder.member for holder in order.old.holders],
        ready=order.dealers,
        members=order.members,
        window=order.window,
    )


def entry_of(plan: Plan, made: Completed, height: int) -> GroupKeyEntry:
    """Return the key that a ceremony has made, as the state has it from block `height` on."""
    key = made.key
    return GroupKeyEntry(
        purpose=key.purpose,
        key_epoch=key.key_epoch,
        sharing=key.sharing,
        threshold=key.threshold,
        public_key=key.public_key,
        holders=tuple(
            KeyHolder(member, index, point, index in made.ready)
            for index, (member, point) in enumerate(
                zip(plan.members, key.points, strict=True), start=1
            )
        ),
        ceremony=plan.ceremony,
        height=height,
    )
