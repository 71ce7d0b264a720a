"""Receipts and blocks: what is answered when."""

from __future__ import annotations

import asyncio
from typing import Any

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.comet import ValidatorSet, parse_commit, parse_header
from cipherward_chain.light import verify_commit
from cipherward_chain.receipts import verify_receipt
from cipherward_kit.testing import eventually

DEADLINE = 20.0


async def test_every_transaction_of_a_full_batch_gets_its_receipt(world: Any, ledger: Any) -> None:
    verdicts = await ledger.submit_batch(world.transactions(300))  # two blocks: 200 fit one
    receipts: list[bytes] = []
    for at in range(0, 300, 100):
        some = verdicts[at : at + 100]
        receipts += await asyncio.gather(*(ledger.receipt(v.transaction_id) for v in some))
    root = world.genesis.trust_root()
    verified = [verify_receipt(receipt, root) for receipt in receipts]
    assert [one.transaction.id for one in verified] == [v.transaction_id for v in verdicts]
    assert len({one.height for one in verified}) >= 2


async def test_unknown_and_malformed_ids_have_their_reasons(
    ledger: Any, reason_of_call: Any
) -> None:
    unknown = ledger.receipt(bytes(32), wait=True)
    assert await reason_of_call(unknown) == "NOT_FOUND/TRANSACTION_UNKNOWN"
    short = ledger.receipt(bytes(31))
    assert await reason_of_call(short) == "INVALID_ARGUMENT/TRANSACTION_ID_MALFORMED"


async def test_a_receipt_is_not_given_before_the_block_is_proven(
    world: Any, ledger: Any, reason_of_call: Any
) -> None:
    world.contract.gate.clear()  # the chain stands in the middle of a block
    transaction_id = await ledger.submit(world.transaction())
    expected = "FAILED_PRECONDITION/NOT_YET_PROVEN"
    assert await reason_of_call(ledger.receipt(transaction_id, wait=False)) == expected
    request = pb.GetReceiptRequest(transaction_id=transaction_id, wait=True)
    assert await reason_of_call(ledger.stub.GetReceipt(request, timeout=0.5)) == expected
    world.contract.gate.set()
    receipt = verify_receipt(await ledger.receipt(transaction_id), world.genesis.trust_root())
    assert receipt.transaction.id == transaction_id


async def test_blocks_are_given_once_they_are_proven(
    world: Any, ledger: Any, reason_of_call: Any
) -> None:
    transaction_id = await ledger.submit(world.transaction())
    receipt = verify_receipt(await ledger.receipt(transaction_id), world.genesis.trust_root())
    request = pb.GetBlockRequest(height=receipt.height)
    block = (await ledger.stub.GetBlock(request, timeout=DEADLINE)).block
    assert receipt.transaction.raw in block.transactions
    newest = (await ledger.status()).height
    for height in (0, newest, newest + 1, 1 << 63):
        call = ledger.stub.GetBlock(pb.GetBlockRequest(height=height), timeout=DEADLINE)
        assert await reason_of_call(call) == "NOT_FOUND/BLOCK_UNKNOWN"


async def test_light_blocks_are_signed_headers_with_their_validators(
    world: Any, ledger: Any, reason_of_call: Any
) -> None:
    await ledger.receipt(await ledger.submit(world.transaction()))
    newest = (await ledger.status()).height
    for height in (1, 3, newest):
        request = pb.GetLightBlockRequest(height=height)
        light = (await ledger.stub.GetLightBlock(request, timeout=DEADLINE)).light_block
        header, commit = parse_header(light.header), parse_commit(light.commit)
        assert header.height == height
        verify_commit(header, commit, ValidatorSet.from_bytes(light.validators))
    answer = await ledger.stub.GetLightBlock(pb.GetLightBlockRequest(), timeout=DEADLINE)
    assert parse_header(answer.light_block.header).height >= newest
    beyond = pb.GetLightBlockRequest(height=newest + 9)
    call = ledger.stub.GetLightBlock(beyond, timeout=DEADLINE)
    assert await reason_of_call(call) == "NOT_FOUND/BLOCK_UNKNOWN"


async def test_the_status_names_the_chain_and_where_it_stands(world: Any, ledger: Any) -> None:
    await ledger.receipt(await ledger.submit(world.transaction()))
    await eventually(lambda: world.contract.committed == 4)  # ours, and its proof
    status = await ledger.status()
    assert (status.chain_id, status.engine) == (world.genesis.chain_id, "solo")
    assert status.height == world.contract.committed
    assert status.app_hash == world.contract.state_with({}).root()
    assert (status.first_height, status.pending, status.catching_up) == (1, 0, False)
