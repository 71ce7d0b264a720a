"""What may be in a block: every member says the same of the same bytes, whatever the time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward.comet.v1 import abci_pb2 as abci
from cipherward.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from cipherward_chain.wire import exact_bytes, timestamp_of
from cipherward_contract.testing import Presented
from cipherward_ledger.checks import Rules
from cipherward_ledger.clock import NANOSECONDS
from cipherward_ledger.comet import proposals as proposing
from cipherward_ledger.comet.proposals import EXPIRED_MAX, Proposals
from cipherward_ledger.mempool import FRAME_BYTES
from cipherward_ledger.presentations import PresentationVerifier
from cipherward_ledger.verification import Verifier

TRANSACTIONS_MAX = 5
BLOCK_BYTES = 1 << 20
ACCEPT, REJECT = abci.PROPOSAL_STATUS_ACCEPT, abci.PROPOSAL_STATUS_REJECT


@pytest.fixture
async def proposals(world: Any) -> AsyncIterator[Proposals]:
    async with world.channel(world.identity_port, "identity") as channel:
        presentations = PresentationVerifier(IdentityServiceStub(channel))
        verifier = Verifier(Rules(world.genesis.chain_id, 65_536, 64, 600), presentations)
        asking = asyncio.create_task(presentations.run())
        yield Proposals(verifier, world.clock, TRANSACTIONS_MAX)
        asking.cancel()
        verifier.close()


async def prepare(
    proposals: Proposals, world: Any, offered: Sequence[bytes], *, size: int = BLOCK_BYTES
) -> list[bytes]:
    request = abci.RequestPrepareProposal(
        max_tx_bytes=size, txs=offered, height=5, time=timestamp_of(world.clock.now_ns())
    )
    return list((await proposals.prepare(request)).txs)


async def process(proposals: Proposals, contents: Sequence[bytes]) -> int:
    request = abci.RequestProcessProposal(txs=contents, height=5)
    return (await proposals.process(request)).status


def flipped(content: bytes) -> bytes:
    message = tx_pb.Transaction.FromString(content)
    message.authorization = message.authorization[:-1] + bytes([message.authorization[-1] ^ 1])
    return exact_bytes(message)


def presented(world: Any) -> bytes:
    """Return a transaction whose presentation only identity can judge."""
    return world.transaction(signer=Presented("record:" + "ab" * 16, "hospital-a"))


async def test_valid_transactions_are_accepted_and_an_empty_block_too(
    world: Any, proposals: Proposals
) -> None:
    assert await process(proposals, world.transactions(3)) == ACCEPT
    assert await process(proposals, []) == ACCEPT


async def test_one_invalid_transaction_votes_the_block_down(
    world: Any, proposals: Proposals
) -> None:
    good = world.transactions(2)
    for bad in (
        flipped(good[0]),
        b"",
        good[0] + b"\0",
        bytes(65_537),
        world.transaction(chain_id="elsewhere"),
    ):
        assert await process(proposals, [*good, bad]) == REJECT


async def test_an_id_twice_in_a_block_votes_it_down(world: Any, proposals: Proposals) -> None:
    content = world.transaction()
    assert await process(proposals, [content, content]) == REJECT
    twin = world.authorized_again(content, world.signer)
    assert await process(proposals, [content, twin]) == REJECT


async def test_time_never_votes_a_block_down(world: Any, proposals: Proposals) -> None:
    """An expired transaction is refused by its result: clocks differ, and votes must not."""
    assert await process(proposals, [world.transaction(seconds=-3_600)]) == ACCEPT
    assert await process(proposals, [world.transaction(seconds=86_400)]) == ACCEPT


async def test_a_presentation_that_identity_cannot_judge_now_votes_the_block_down(
    world: Any, proposals: Proposals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposing, "PROCESS_SECONDS", 0.05)
    world.identity.gate.clear()
    assert await process(proposals, [presented(world)]) == REJECT
    assert await process(proposals, world.transactions(1)) == ACCEPT


async def test_a_check_says_why_and_refuses_what_has_expired(
    world: Any, proposals: Proposals
) -> None:
    good = world.transaction()
    contents = [good, flipped(good), world.transaction(seconds=-5), b"x"]
    verdicts = await proposals.check(contents)
    assert [one.code for one in verdicts] == [0, 1, 1, 1]
    assert [one.codespace for one in verdicts] == [
        "",
        "AUTHORIZATION_REJECTED",
        "TRANSACTION_EXPIRED",
        "TRANSACTION_MALFORMED",
    ]


async def test_a_proposal_keeps_the_order_and_leaves_out_what_is_invalid_or_twice(
    world: Any, proposals: Proposals
) -> None:
    first, second, third = world.transactions(3)
    twin = world.authorized_again(first, world.signer)
    offered = [first, flipped(second), twin, second, first, b"x", third]
    assert await prepare(proposals, world, offered) == [first, second, third]


async def test_a_proposal_is_bounded_in_number_and_bytes(world: Any, proposals: Proposals) -> None:
    contents = world.transactions(TRANSACTIONS_MAX + 2)
    assert await prepare(proposals, world, contents) == contents[:TRANSACTIONS_MAX]
    size = sum(len(content) + FRAME_BYTES for content in contents[:3])
    assert await prepare(proposals, world, contents, size=size) == contents[:3]
    assert await prepare(proposals, world, contents, size=size - 1) == contents[:2]


async def test_what_has_expired_leaves_the_mempools_in_blocks_but_does_not_crowd_them(
    world: Any, proposals: Proposals, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EXPIRED_MAX > 0
    monkeypatch.setattr(proposing, "EXPIRED_MAX", 2)
    expired = [world.transaction(seconds=-60) for _ in range(4)]
    fresh = world.transactions(2)
    assert await prepare(proposals, world, [*expired, *fresh]) == [*expired[:2], *fresh]


async def test_a_proposer_that_cannot_verify_in_time_proposes_an_empty_block(
    world: Any, proposals: Proposals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposing, "PREPARE_SECONDS", 0.05)
    world.identity.gate.clear()
    assert await prepare(proposals, world, [presented(world), *world.transactions(1)]) == []


async def test_a_full_block_is_not_kept_waiting_by_what_comes_after_it(
    world: Any, proposals: Proposals
) -> None:
    world.identity.gate.clear()
    contents = world.transactions(TRANSACTIONS_MAX)
    assert await prepare(proposals, world, [*contents, presented(world)]) == contents


async def test_what_was_chosen_in_time_is_proposed(world: Any, proposals: Proposals) -> None:
    world.identity.gate.clear()
    contents = world.transactions(TRANSACTIONS_MAX)
    offered = [*contents[:-1], flipped(contents[-1]), presented(world)]
    assert await prepare(proposals, world, offered) == contents[:-1]


async def test_what_is_proposed_is_accepted(world: Any, proposals: Proposals) -> None:
    content = world.transaction()
    offered = [content, flipped(content), world.transaction(seconds=-NANOSECONDS // NANOSECONDS)]
    chosen = await prepare(proposals, world, offered)
    assert content in chosen
    assert await process(proposals, chosen) == ACCEPT
