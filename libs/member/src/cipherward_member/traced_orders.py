"""The traces of orders that are carried out after their block, and of what is reported of them: one
book a process, in memory.

An order waits in the service's store, often for a long time, and over restarts; its trace does not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

from cipherward_chain.orders import Order
from cipherward_kit import tracing
from cipherward_kit.tracing import Attribute, Attributes, Kind, SpanContext

if TYPE_CHECKING:
    from cipherward_member.reports import OrderKey

Place: TypeAlias = tuple[int, int]  # of an order: height and index

# About 300 bytes each; more wait only where something is wrong, and then the newest matter.
ORDERS_MAX: Final = 4_096

_orders: OrderedDict[Place, tuple[str, SpanContext]] = OrderedDict()
_carried_out: OrderedDict[Place, SpanContext] = OrderedDict()  # those with a span of their own


def remember(orders: Iterable[Order], context: SpanContext) -> None:
    """Note that a block's orders belong to a span."""
    for order in orders:
        _orders[order.height, order.index] = (order.instruction, context)
        while len(_orders) > ORDERS_MAX:
            _orders.popitem(last=False)


@contextmanager
def carrying_out(key: OrderKey) -> Generator[None]:
    """Make what runs in the context a span of the order's trace, if it has one."""
    known = _orders.get((key.height, key.index))
    if known is None:
        yield
        return
    instruction, parent = known
    told: Attributes = {Attribute.HEIGHT: key.height, Attribute.INSTRUCTIONS: (instruction,)}
    span = tracing.begin("order", Kind.INTERNAL, parent, told)
    if span is not None:
        _carried_out[key.height, key.index] = span.context
        while len(_carried_out) > ORDERS_MAX:
            _carried_out.popitem(last=False)
    with tracing.ended(span):
        yield


def span_of(key: OrderKey) -> SpanContext | None:
    """Return the span in which an order was carried out: its own, or its block's; None: untraced.

    The newest one, where it took several attempts.
    """
    place = key.height, key.index
    block = _orders.get(place)
    return _carried_out.get(place, block and block[1])
