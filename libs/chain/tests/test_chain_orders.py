"""Orders, the entry that proves them, and results."""

from __future__ import annotations

import pytest

from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.canonical import Value, encode
from cipherward_chain.merkle import root
from cipherward_chain.orders import Order, OrderMalformed, OrdersEntry
from cipherward_chain.results import ResultMalformed, TransactionResult
from cipherward_chain.wire import (
    NotExact,
    exact_bytes,
    parse_exact,
    timestamp_ns,
    timestamp_of,
    varint,
)

ORDER = Order(7, 1, bytes(16), "consent", "release_key", {"record": bytes(16), "ends": 5})
MAP: dict[str, Value] = {
    "height": 7,
    "index": 1,
    "instance": bytes(16),
    "template": "consent",
    "instruction": "release_key",
    "arguments": {"record": bytes(16), "ends": 5},
}


def test_an_order_is_its_canonical_map() -> None:
    assert ORDER.to_bytes() == encode(MAP)
    assert Order.from_bytes(ORDER.to_bytes()) == ORDER
    assert ORDER.fields().octets("record", length=16) == bytes(16)


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"height": "7"},
        {"index": -1},
        {"index": True},
        {"instance": "x"},
        {"template": b"x"},
        {"instruction": 1},
        {"arguments": []},
        {"more": 1},
    ],
)
def test_an_order_out_of_form_is_refused(change: dict[str, Value]) -> None:
    with pytest.raises(OrderMalformed):
        Order.from_bytes(encode({**MAP, **change}))


@pytest.mark.parametrize("name", sorted(MAP))
def test_an_order_that_lacks_something_is_refused(name: str) -> None:
    with pytest.raises(OrderMalformed):
        Order.from_bytes(encode({key: value for key, value in MAP.items() if key != name}))


def test_the_entry_binds_height_count_and_root() -> None:
    orders = [ORDER.to_bytes(), ORDER.to_bytes()]
    entry = OrdersEntry.of(7, orders)
    assert entry.to_bytes() == encode({"height": 7, "count": 2, "root": root(orders)})
    assert OrdersEntry.from_bytes(entry.to_bytes()) == entry


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"height": 7, "count": 2},
        {"height": 0, "count": 0, "root": bytes(32)},
        {"height": 1, "count": -1, "root": bytes(32)},
        {"height": 1, "count": 0, "root": b""},
    ],
)
def test_an_entry_out_of_form_is_refused(value: Value) -> None:
    with pytest.raises(OrderMalformed):
        OrdersEntry.from_bytes(encode(value))


@pytest.mark.parametrize(
    "result",
    [
        TransactionResult(),
        TransactionResult(policies=("a", "b"), first_order=3, order_count=2),
        TransactionResult(reason="POLICY_DENIED", message="no policy permits it"),
    ],
)
def test_a_result_comes_back_from_its_bytes(result: TransactionResult) -> None:
    assert TransactionResult.from_bytes(result.to_bytes()) == result
    message = comet.ExecTxResult.FromString(result.to_bytes())
    assert message.code == (0 if result.applied else 1)
    assert result.applied is (result.reason == "")


GOOD: dict[str, Value] = {"reason": "", "policies": ["a"], "orders": [0, 0], "message": ""}


@pytest.mark.parametrize(
    ("code", "change"),
    [
        (1, {}),
        (2, {"reason": "X"}),
        (0, {"reason": "X"}),
        (0, {"policies": ["b", "a"]}),
        (0, {"policies": ["a", "a"]}),
        (0, {"policies": [1]}),
        (0, {"orders": [0]}),
        (0, {"orders": [0, -1]}),
        (0, {"orders": [True, 0]}),
        (0, {"orders": ["0", 0]}),
        (0, {"message": 1}),
        (0, {"more": 1}),
    ],
)
def test_a_result_out_of_form_is_refused(code: int, change: dict[str, Value]) -> None:
    good = exact_bytes(comet.ExecTxResult(data=encode(GOOD)))
    assert TransactionResult.from_bytes(good).policies == ("a",)
    raw = exact_bytes(comet.ExecTxResult(code=code, data=encode({**GOOD, **change})))
    with pytest.raises(ResultMalformed):
        TransactionResult.from_bytes(raw)


def test_a_result_with_gas_is_not_of_this_machine() -> None:
    with pytest.raises(ResultMalformed):
        TransactionResult.from_bytes(exact_bytes(comet.ExecTxResult(data=encode(GOOD), gas_used=1)))


@pytest.mark.parametrize(
    ("number", "octets"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (-1, "ffffffffffffffffff01"),
        (1 << 63, "80" * 9 + "01"),
    ],
)
def test_varints_are_protobufs(number: int, octets: str) -> None:
    assert varint(number).hex() == octets


@pytest.mark.parametrize("nanoseconds", [0, 1, -1, 1_795_378_827_221_550_815])
def test_times_come_back_from_timestamps(nanoseconds: int) -> None:
    assert timestamp_ns(timestamp_of(nanoseconds)) == nanoseconds


def test_a_text_that_is_not_utf8_is_not_exact() -> None:
    with pytest.raises(NotExact):
        parse_exact(comet.Header, b"\x12\x01\xff")
