"""`spend_budget` counts what may be had only so often, over all contracts and all who ask.

To spend nothing is always possible, and leaves no trace.
"""

from __future__ import annotations

from collections.abc import Mapping

from cipherward_chain.canonical import Value
from cipherward_chain.fields import Fields
from cipherward_contract.blocks import Block
from cipherward_contract.instructions.kinds import NOTHING, ORDERED, Consequence, Given, own
from cipherward_contract.marks import budget_entry, budget_key, budget_spent
from cipherward_contract.refusals import Reason, Refused


def _after(block: Block, arguments: Mapping[str, Value]) -> tuple[bytes, int, bool]:
    """Return the budget's key, what would be spent of it then, and whether that is too much."""
    fields = Fields(arguments)
    key = budget_key(fields.text("budget"))
    amount, limit = fields.integer("amount"), fields.integer("limit")
    raw = block.state.get(key)
    spent = (0 if raw is None else budget_spent(raw)) + amount
    return key, spent, amount > 0 and spent > limit


def _spend(block: Block, given: Given) -> Consequence:
    key, spent, is_too_much = _after(block, given.arguments)
    if is_too_much:
        raise Refused(Reason.BUDGET_SPENT, "what may be had of this is spent")
    if given.arguments["amount"] == 0:
        return NOTHING
    block.state.put(key, budget_entry(spent))
    return ORDERED


def _obstacle(block: Block, arguments: Mapping[str, Value]) -> str:
    return Reason.BUDGET_SPENT.value if _after(block, arguments)[2] else ""


SPEND_BUDGET = own("spend_budget", "budget amount limit", _spend, _obstacle)
