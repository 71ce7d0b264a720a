"""Verification: the same answer at any time, remembered by hash, and never a guess."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from cipherward_chain.wire import exact_bytes
from cipherward_ledger.checks import Rules
from cipherward_ledger.clock import NANOSECONDS
from cipherward_ledger.presentations import PresentationVerifier
from cipherward_ledger.testing import id_of
from cipherward_ledger.verification import Verifier


def rules_of(world: Any) -> Rules:
    return Rules(world.genesis.chain_id, 65_536, 64, 600)


@pytest.fixture
async def verifier(world: Any) -> AsyncIterator[Verifier]:
    async with world.channel(world.identity_port, "identity") as channel:
        one = Verifier(rules_of(world), PresentationVerifier(IdentityServiceStub(channel)))
        yield one
        one.close()


def counted(how: str) -> int:
    return round(
        REGISTRY.get_sample_value("cipherward_ledger_verifications_total", {"outcome": how}) or 0
    )


async def reasons(
    verifier: Verifier, contents: list[bytes], now_ns: int | None = None
) -> list[str]:
    verified = await verifier.verify(contents, now_ns)
    return [one.refusal.reason if one.refusal else "" for one in verified]


def flipped(content: bytes) -> bytes:
    """Return the same body under an authorization with one bit turned."""
    message = tx_pb.Transaction.FromString(content)
    message.authorization = message.authorization[:-1] + bytes([message.authorization[-1] ^ 1])
    return exact_bytes(message)


async def test_every_fault_has_its_reason_in_order(world: Any, verifier: Verifier) -> None:
    good, other = world.transactions(2)
    cases = {
        good: "",
        b"": "TRANSACTION_MALFORMED",
        good + b"\0": "TRANSACTION_MALFORMED",
        bytes(65_537): "TRANSACTION_TOO_LARGE",
        world.transaction(chain_id="elsewhere"): "WRONG_CHAIN",
        flipped(other): "AUTHORIZATION_REJECTED",
        other: "",
    }
    for _ in range(2):
        verified = await verifier.verify(list(cases))
        assert [one.refusal.reason if one.refusal else "" for one in verified] == [*cases.values()]
        entries = [one.entry for one in verified]
        assert [entry is None for entry in entries] == [False] + [True] * 3 + [False] * 3
        assert entries[0] is not None
        assert (entries[0].id, entries[0].content) == (id_of(good), good)


async def test_a_valid_transaction_is_checked_once_and_an_invalid_one_every_time(
    world: Any, verifier: Verifier
) -> None:
    good = world.transactions(70)  # several threads' pieces
    bad = [flipped(content) for content in good[:5]]
    checked, remembered = counted("checked"), counted("remembered")
    expected = [""] * 70 + ["AUTHORIZATION_REJECTED"] * 5
    for _ in range(3):
        assert await reasons(verifier, [*good, *bad]) == expected
    assert counted("checked") - checked == 70 + 3 * 5
    assert counted("remembered") - remembered == 2 * 70


async def test_another_authorization_of_a_valid_body_is_not_taken_for_valid(
    world: Any, verifier: Verifier
) -> None:
    content = world.transaction()
    assert await reasons(verifier, [content]) == [""]
    stolen = world.authorized_again(content, world.member("hospital-b"))
    twins = [flipped(content), stolen]
    assert {id_of(twin) for twin in twins} == {id_of(content)}
    assert await reasons(verifier, [*twins, content]) == ["AUTHORIZATION_REJECTED"] * 2 + [""]


async def test_time_is_asked_about_only_when_it_is_given(world: Any, verifier: Verifier) -> None:
    content = world.transaction(seconds=300)
    expires_ns = (world.clock.now_ns() // NANOSECONDS + 300) * NANOSECONDS
    early, late = expires_ns - 700 * NANOSECONDS, expires_ns + 2 * NANOSECONDS
    unseen = ["EXPIRY_TOO_FAR", "TRANSACTION_EXPIRED"]
    checked = counted("checked")
    for _ in range(2):
        assert await reasons(verifier, [content], early) == unseen[:1]
        assert await reasons(verifier, [content], late) == unseen[1:]
        assert await reasons(verifier, [content]) == [""]  # valid whatever the time, and remembered
        assert await reasons(verifier, [content], expires_ns - NANOSECONDS) == [""]
    assert counted("checked") - checked == 3


async def test_an_expired_transaction_costs_no_signature(world: Any, verifier: Verifier) -> None:
    forged = flipped(world.transaction(seconds=10))
    late = world.clock.now_ns() + 60 * NANOSECONDS
    assert await reasons(verifier, [forged], late) == ["TRANSACTION_EXPIRED"]
    assert await reasons(verifier, [forged]) == ["AUTHORIZATION_REJECTED"]


async def test_what_is_remembered_is_bounded_and_the_longest_unused_goes_first(world: Any) -> None:
    first, second, third, fourth = world.transactions(4)
    async with world.channel(world.identity_port, "identity") as channel:
        presentations = PresentationVerifier(IdentityServiceStub(channel))
        verifier = Verifier(rules_of(world), presentations, remembered_max=3)
        for content in (first, second, third, first, fourth):
            await verifier.verify([content])
        remembered, checked = counted("remembered"), counted("checked")
        await verifier.verify([first, third, fourth])
        assert counted("remembered") - remembered == 3
        await verifier.verify([second])
        assert counted("checked") - checked == 1
        verifier.close()
