"""The result of a transaction, as the next header certifies it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.canonical import NotCanonical, decode, encode
from cipherward_chain.errors import ChainError
from cipherward_chain.fields import Fields
from cipherward_chain.wire import NotExact, exact_bytes, parse_exact

APPLIED, REFUSED = 0, 1  # the only codes: every act was applied, or none


class ResultMalformed(ChainError):
    """Bytes are not a result of this chain's state machine."""

    reason = "RESULT_MALFORMED"


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """What became of a transaction.

    `reason` is empty when it was applied, else UPPER_SNAKE; `policies` are the sorted ids of the
    policies that decided; its orders are `order_count` of the block's, from `first_order` on.
    """

    reason: str = ""
    policies: tuple[str, ...] = ()
    first_order: int = 0
    order_count: int = 0
    message: str = ""

    @property
    def applied(self) -> bool:
        """Whether every act was applied."""
        return not self.reason

    def to_bytes(self) -> bytes:
        """Return the one serialised cipherward.comet.v1.ExecTxResult."""
        content = encode(
            {
                "reason": self.reason,
                "policies": self.policies,
                "orders": [self.first_order, self.order_count],
                "message": self.message,
            }
        )
        return exact_bytes(
            comet.ExecTxResult(code=REFUSED if self.reason else APPLIED, data=content)
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> TransactionResult:
        """Return the result whose one serialised form is `raw`, or raise `ResultMalformed`."""
        try:
            message = parse_exact(comet.ExecTxResult, raw)
            fields = Fields(decode(message.data))
            orders = fields.items("orders")
            reason, text = fields.text("reason"), fields.text("message")
            policies = fields.texts("policies")
            fields.end()
        except (NotExact, NotCanonical) as error:
            raise ResultMalformed(f"not a result: {error}") from error
        first, count = _pair(orders)
        found = cls(reason, policies, first, count, text)
        if found.to_bytes() != raw or list(policies) != sorted(set(policies)):
            raise ResultMalformed("not the one form of a result")
        return found


def _pair(orders: Sequence[object]) -> tuple[int, int]:
    if len(orders) != 2:
        raise ResultMalformed("a result names a first order and a count")
    first, count = orders
    if type(first) is not int or type(count) is not int or first < 0 or count < 0:
        raise ResultMalformed("a result names a first order and a count")
    return first, count
