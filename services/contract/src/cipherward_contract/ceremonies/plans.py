"""What a ceremony is to be, computed from its terms, the registry and the keys in force.

A proposer says for which purpose, which epoch and which members; who deals, how many shares open
and how many must be ready follow from these, the same on every machine.
"""

from __future__ import annotations

from cipherward_chain.fields import Fields
from cipherward_chain.group_key_orders import CeremonyOrder
from cipherward_chain.group_keys import HOLDERS_MAX, GroupKeyEntry
from cipherward_contract.blocks import Block
from cipherward_contract.ceremonies.entries import (
    DEADLINE,
    DEADLINE_END,
    Running,
    ceremony_key,
    ceremony_of,
)
from cipherward_contract.ceremonies.shared_keys import (
    guardians_of,
    newest_key_epoch,
    shared_key,
)
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.templates.values import Values
from cipherward_member import shared_keys
from cipherward_threshold.group.ceremony.plan import Plan, enough_of
from cipherward_threshold.group.errors import GroupError

# Ceremonies at once: one a purpose.
RUNNING_MAX = 8


def ceremony_refused(why: str) -> Refused:
    """Return the refusal of a ceremony, or of a message in one."""
    return Refused(Reason.CEREMONY_REFUSED, why)


def load_running(block: Block, ceremony: bytes) -> Running | None:
    """Return the ceremony of a contract, if it runs."""
    raw = block.state.get(ceremony_key(ceremony))
    return None if raw is None else Running.from_bytes(raw)


def all_running(block: Block) -> list[tuple[bytes, Running]]:
    """Return the ceremonies that run, the one whose window closes first before the others."""
    found: list[tuple[bytes, Running]] = []
    for key, _ in block.state.scan(DEADLINE, DEADLINE_END, RUNNING_MAX):
        running = load_running(block, ceremony_of(key))
        if running is not None:
            found.append((ceremony_of(key), running))
    return found


def order_for(block: Block, ceremony: bytes, terms: Values) -> CeremonyOrder:
    """Return what the contract `ceremony` with these terms is to order in this block.

    Args:
        terms: checked; with `purpose`, `key_epoch` (0: a new key), `members` and `window`.

    Raises:
        Refused: a member may not act, the epoch has no key, or another ceremony of that purpose
            runs.
    """
    fields = Fields(terms)
    purpose, members = fields.text("purpose"), fields.texts("members")
    key_epoch, window = fields.integer("key_epoch"), fields.integer("window")
    if len(members) > HOLDERS_MAX:
        raise ceremony_refused(f"at most {HOLDERS_MAX} members share a key")
    if not block.rules.active.keys() >= set(members):
        raise ceremony_refused("one of the members is suspended or removed")
    if any(running.order.purpose == purpose for _, running in all_running(block)):
        raise ceremony_refused("another ceremony of that purpose runs")
    old = shared_key(block.state, purpose, key_epoch) if key_epoch else None
    if key_epoch and old is None:
        raise ceremony_refused("there is no key of that epoch to renew")
    dealers = members if old is None else _dealers(block, old)
    order = CeremonyOrder(
        ceremony=ceremony,
        purpose=purpose,
        key_epoch=key_epoch or newest_key_epoch(block.state, purpose) + 1,
        sharing=1 if old is None else old.sharing + 1,
        members=members,
        dealers=dealers,
        threshold=enough_of(len(members)),
        window=window,
        start=block.height,
        old=old,
    )
    plan_of(block, order)  # refuses what cannot succeed
    return order


def _dealers(block: Block, old: GroupKeyEntry) -> tuple[str, ...]:
    """Return who can deal what they hold, by the index of their share."""
    ready = guardians_of(old.to_bytes(), block.rules.active_ids)
    return tuple(holder.member for holder in old.holders if holder.member in ready)


def plan_of(block: Block, order: CeremonyOrder) -> Plan:
    """Return the plan of a ceremony that is ordered, or refuse one that cannot be carried out."""
    try:
        return shared_keys.plan_of(block.rules.chain_id, order)
    except GroupError as error:
        raise ceremony_refused(str(error)) from error
