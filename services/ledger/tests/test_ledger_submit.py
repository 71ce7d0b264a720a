"""Submitting: what is admitted, and every way to be refused."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from typing import Any

import pytest

from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.domains import pseudonym_authorizer
from cipherward_chain.receipts import verify_receipt
from cipherward_chain.wire import exact_bytes
from cipherward_kit.testing import eventually
from cipherward_ledger.mempool import Bounds

DEADLINE = 20.0
SMALL_ORDER_KEY = bytes([1]) + bytes(31)  # the neutral element


async def test_a_submitted_transaction_gets_a_receipt_that_verifies_offline(
    world: Any, ledger: Any
) -> None:
    content = world.transaction()
    transaction_id = await ledger.submit(content)
    receipt = verify_receipt(await ledger.receipt(transaction_id), world.genesis.trust_root())
    assert receipt.transaction.id == transaction_id
    assert receipt.transaction.raw == content
    assert receipt.result.applied
    assert receipt.engine == "solo"


async def test_the_same_bytes_again_are_the_same_transaction(world: Any, ledger: Any) -> None:
    content = world.transaction()
    first = await ledger.submit(content)
    await ledger.receipt(first)
    assert await ledger.submit(content) == first
    assert [v.reason for v in await ledger.submit_batch([content, content])] == ["", ""]
    other = await ledger.submit(world.transaction())
    await ledger.receipt(other)
    assert world.contract.applied == [first, other]


async def test_whoever_sees_a_body_cannot_have_it_refused_to_its_author(
    world: Any, ledger: Any, reason_of_call: Any
) -> None:
    content = world.transaction()
    thief = world.member("hospital-b")
    stolen = world.authorized_again(content, thief)
    expected = "UNAUTHENTICATED/AUTHORIZATION_REJECTED"
    assert await reason_of_call(ledger.submit(stolen)) == expected
    verdicts = await ledger.submit_batch([stolen, content, stolen])
    rejected = "AUTHORIZATION_REJECTED"
    assert [v.reason for v in verdicts] == [rejected, "", rejected]
    receipt = verify_receipt(
        await ledger.receipt(verdicts[1].transaction_id), world.genesis.trust_root()
    )
    assert receipt.transaction.raw == content
    assert await reason_of_call(ledger.submit(stolen)) == expected  # also once it is in a block
    assert len(world.contract.applied) == 1


def altered(content: bytes, **fields: bytes) -> bytes:
    message = tx_pb.Transaction.FromString(content)
    for name, value in fields.items():
        setattr(message, name, value)
    return exact_bytes(message)


class SmallOrderSigner:
    """Signs with a key under which some libraries take any signature."""

    authorizer = pseudonym_authorizer(SMALL_ORDER_KEY)

    def authorize(self, context: bytes) -> bytes:
        signature = tx_pb.PseudonymSignature(public_key=SMALL_ORDER_KEY, signature=bytes(64))
        return exact_bytes(tx_pb.Authorization(pseudonym=signature))


def with_a_wrong_signature(content: bytes) -> bytes:
    authorization = bytearray(tx_pb.Transaction.FromString(content).authorization)
    authorization[-1] ^= 1
    return altered(content, authorization=bytes(authorization))


async def test_every_refusal_of_a_single_transaction_has_its_reason(
    world: Any, ledger: Any, reason_of_call: Any
) -> None:
    good = world.transaction()
    cases = {
        b"no transaction": "INVALID_ARGUMENT/TRANSACTION_MALFORMED",
        b"": "INVALID_ARGUMENT/TRANSACTION_MALFORMED",
        good + b"\x1a\x01x": "INVALID_ARGUMENT/TRANSACTION_MALFORMED",  # an unknown field
        altered(good, body=b""): "INVALID_ARGUMENT/TRANSACTION_MALFORMED",
        bytes(65_537): "INVALID_ARGUMENT/TRANSACTION_TOO_LARGE",
        world.transaction(chain_id="another-chain"): "INVALID_ARGUMENT/WRONG_CHAIN",
        world.transaction(seconds=-5): "FAILED_PRECONDITION/TRANSACTION_EXPIRED",
        world.transaction(seconds=700): "INVALID_ARGUMENT/EXPIRY_TOO_FAR",
        with_a_wrong_signature(good): "UNAUTHENTICATED/AUTHORIZATION_REJECTED",
        world.transaction(signer=SmallOrderSigner()): "UNAUTHENTICATED/AUTHORIZATION_REJECTED",
    }
    for content, expected in cases.items():
        assert await reason_of_call(ledger.submit(content)) == expected
    verdicts = await ledger.submit_batch([*cases, good])
    assert [v.reason for v in verdicts] == [*(one.split("/")[1] for one in cases.values()), ""]
    assert [bool(v.transaction_id) for v in verdicts] == [False] * 5 + [True] * 6
    await ledger.receipt(verdicts[-1].transaction_id)
    assert world.contract.applied == [verdicts[-1].transaction_id]


async def test_a_batch_is_bounded_in_number_and_bytes(ledger: Any, reason_of_call: Any) -> None:
    too_many = pb.SubmitBatchRequest(transactions=[b"x"] * 513)
    too_long = pb.SubmitBatchRequest(transactions=[bytes(65_000)] * 33)
    for request in (too_many, too_long):
        call = ledger.stub.SubmitBatch(request, timeout=DEADLINE)
        assert await reason_of_call(call) == "INVALID_ARGUMENT/BATCH_TOO_LARGE"
    assert len(await ledger.submit_batch([b"x"] * 512)) == 512


async def test_a_batch_that_does_not_fit_the_outbox_is_refused_whole(
    world: Any, reason_of_call: Any
) -> None:
    small = dataclasses.replace(world, pending=Bounds(count=3, size=1024 * 1024))
    async with small.ledger() as ledger:
        await ledger.ready()
        request = pb.SubmitBatchRequest(transactions=small.transactions(4))
        call = ledger.stub.SubmitBatch(request, timeout=DEADLINE)
        assert await reason_of_call(call) == "RESOURCE_EXHAUSTED/OUTBOX_FULL"
        assert [v.reason for v in await ledger.submit_batch(small.transactions(3))] == [""] * 3


async def test_a_stream_of_batches_is_answered_in_order(world: Any, ledger: Any) -> None:
    batches = [world.transactions(count) for count in (3, 1, 2)]
    call = ledger.stub.SubmitStream(timeout=DEADLINE)
    for batch in batches:  # all of them ahead of the first answer
        await call.write(pb.SubmitStreamRequest(transactions=batch))
    await call.done_writing()
    answers = [answer async for answer in call]
    assert [len(answer.verdicts) for answer in answers] == [3, 1, 2]
    assert {v.reason for answer in answers for v in answer.verdicts} == {""}
    await eventually(lambda: len(world.contract.applied) == 6)


async def test_a_stream_ends_with_the_reason_of_a_batch_that_is_too_large(
    world: Any, ledger: Any, reason_of_call: Any
) -> None:
    call = ledger.stub.SubmitStream(timeout=DEADLINE)
    await call.write(pb.SubmitStreamRequest(transactions=world.transactions(1)))
    assert len((await call.read()).verdicts) == 1
    await call.write(pb.SubmitStreamRequest(transactions=[b"x"] * 513))
    assert await reason_of_call(call.read()) == "INVALID_ARGUMENT/BATCH_TOO_LARGE"


@pytest.mark.slow
async def test_before_contract_has_answered_nothing_is_admitted(
    make_world: Any, reason_of_call: Any
) -> None:
    world = make_world()
    async with world.ledger() as ledger:
        content = world.transaction()
        assert await reason_of_call(ledger.submit(content)) == "UNAVAILABLE/CONTRACT_AWAY"
        assert not ledger.around.readiness.ready
        async with world.serve_contract():
            await ledger.ready()
            await ledger.receipt(await ledger.submit(content))


@pytest.mark.slow
async def test_the_chain_waits_for_contract_and_goes_on(world: Any, reason_of_call: Any) -> None:
    lonely = dataclasses.replace(world, contract_port=world.spare_port())
    async with lonely.ledger() as ledger:
        async with lonely.serve_contract():
            await ledger.ready()
            receipt = await ledger.receipt(await ledger.submit(lonely.transaction()))
            proof = verify_receipt(receipt, lonely.genesis.trust_root()).height + 1
            await eventually(lambda: lonely.contract.committed == proof)  # then nothing is to do
        waiting = await ledger.submit(lonely.transaction())  # admitted: nobody has noticed yet
        await eventually(lambda: not ledger.around.readiness.ready)
        assert (
            await reason_of_call(ledger.submit(lonely.transaction())) == "UNAVAILABLE/CONTRACT_AWAY"
        )
        height = (await ledger.status()).height
        async with lonely.serve_contract():
            await ledger.ready()
            receipt = await ledger.receipt(waiting)
            assert verify_receipt(receipt, lonely.genesis.trust_root()).height >= height


async def test_one_body_submitted_by_many_at_once_is_applied_once(world: Any, ledger: Any) -> None:
    content = world.transaction()
    ids = await asyncio.gather(*(ledger.submit(content) for _ in range(40)))
    assert len(set(ids)) == 1
    await ledger.receipt(ids[0])
    await ledger.receipt(await ledger.submit(world.transaction()))
    assert world.contract.applied.count(ids[0]) == 1


async def test_a_caller_that_goes_away_never_leaves_its_transaction_on_disk_only(
    world: Any, ledger: Any
) -> None:
    contents = world.transactions(60)
    for turns, content in enumerate(contents):
        call = ledger.stub.Submit(pb.SubmitRequest(transaction=content), timeout=DEADLINE)
        for _ in range(turns):  # from before it is sent to after it is answered
            await asyncio.sleep(0)
        call.cancel()
    await ledger.receipt(await ledger.submit(world.transaction()))

    async def none_waits() -> bool:
        return (await ledger.status()).pending == 0

    await eventually(none_waits)
    connection = sqlite3.connect(world.database)
    assert connection.execute("SELECT COUNT(*) FROM outbox").fetchone() == (0,)
    connection.close()
