"""The traces of orders that are carried out after their block: one book a process, in memory.

An order waits in the service's store, often for a long time, and over restarts; its trace does not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final

from cipherward_chain.orders import Order
from cipherward_kit import tracing
from cipherward_kit.tracing import Attribute, Attributes, Kind, SpanContext
from cipherward_member.reports import OrderKey

# About 300 bytes each; more wait only where something is wrong, and then the newest matter.
ORDERS_MAX: Final = 4_096

_orders: OrderedDict[OrderKey, tuple[str, SpanContext]] = OrderedDict()


def remember(orders: Iterable[Order], context: SpanContext) -> None:
    """Note that a block's orders belong to a span."""
    for order in orders:
        _orders[OrderKey(order.height, order.index)] = (order.instruction, context)
        while len(_orders) > ORDERS_MAX:
            _orders.popitem(last=False)


@contextmanager
def carrying_out(key: OrderKey) -> Generator[None]:
    """Make what runs in the context a span of the order's trace, if it has one."""
    known = _orders.get(key)
    if known is None:
        yield
        return
    instruction, parent = known
    told: Attributes = {Attribute.HEIGHT: key.height, Attribute.INSTRUCTIONS: (instruction,)}
    span = tracing.begin("order", Kind.INTERNAL, parent, told)
    with tracing.ended(span):
        yield
