"""Transactions that an anonymous presentation authorises: verified by identity, in batches."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from cipherward_anoncred.credential import Credential
from cipherward_anoncred.holder import HolderSecret, request_first
from cipherward_anoncred.issuance import grant_first
from cipherward_anoncred.presentation import present
from cipherward_anoncred.schema import attribute, header_of
from cipherward_anoncred.scheme import generate_issuer_key
from cipherward_chain.acts import register_pseudonym
from cipherward_chain.authorization import PresentationClaim, Signer
from cipherward_chain.domains import presentation_authorizer
from cipherward_chain.receipts import verify_receipt
from cipherward_chain.testing import seed_of
from cipherward_chain.transactions import context_of, parse_transaction
from cipherward_chain.wire import exact_bytes
from cipherward_kit.testing import eventually
from cipherward_ledger.checks import Rules
from cipherward_ledger.presentations import PresentationVerifier
from cipherward_ledger.verification import Verifier

SCOPE = "record:" + "ab" * 16
ISSUER = generate_issuer_key(seed_of("issuer"))
HEADER = header_of("patient", "hospital-a", 1)
ROLE = attribute("role", "text", "patient")


@dataclasses.dataclass(frozen=True)
class Holder:
    """A patient's wallet: authorises a body by a one-time presentation."""

    credential: Credential
    header: bytes = HEADER

    @property
    def pseudonym(self) -> bytes:
        return self.credential.pseudonym(SCOPE.encode())

    @property
    def authorizer(self) -> bytes:
        return presentation_authorizer(self.pseudonym)

    def authorize(self, context: bytes) -> bytes:
        proof = present(self.credential, disclosed=[0], scope=SCOPE.encode(), context=context)
        presentation = tx_pb.Presentation(
            issuer_public_key=ISSUER.public,
            header=self.header,
            disclosed=[tx_pb.DisclosedAttribute(index=0, value=ROLE)],
            scope=SCOPE,
            proof=proof,
            pseudonym=self.pseudonym,
        )
        return exact_bytes(tx_pb.Authorization(presentation=presentation))


@dataclasses.dataclass(frozen=True)
class Pretender:
    """Presents its own credential under the name of another pseudonym."""

    holder: Holder
    pseudonym: bytes = b"\xa0" + bytes(47)

    @property
    def authorizer(self) -> bytes:
        return presentation_authorizer(self.pseudonym)

    def authorize(self, context: bytes) -> bytes:
        shown = tx_pb.Authorization.FromString(self.holder.authorize(context))
        shown.presentation.pseudonym = self.pseudonym
        return exact_bytes(shown)


@pytest.fixture(scope="module")
def holder() -> Holder:
    session = bytes(32)
    request, pending = request_first(
        HolderSecret.generate(), issuer="hospital-a", header=HEADER, session=session
    )
    granted = grant_first(
        ISSUER, request, issuer="hospital-a", header=HEADER, session=session, attributes=[ROLE]
    )
    return Holder(pending.accept(granted.octets, ISSUER.public, [ROLE]))


def registration(world: Any, holder: Signer, name: str = "key") -> bytes:
    act = register_pseudonym(world.genesis.chain_id, SCOPE, seed_of(name))
    return world.transaction(acts=[act], signer=holder)


async def test_a_presentation_that_identity_verifies_is_admitted(
    world: Any, ledger: Any, holder: Holder
) -> None:
    content = registration(world, holder)
    receipt = await ledger.receipt(await ledger.submit(content))
    assert verify_receipt(receipt, world.genesis.trust_root()).transaction.raw == content


@pytest.mark.slow
async def test_a_presentation_bound_to_another_body_is_rejected_like_a_bad_signature(
    world: Any, ledger: Any, holder: Holder, reason_of_call: Any
) -> None:
    good, other = registration(world, holder, "one"), registration(world, holder, "two")
    swapped = tx_pb.Transaction.FromString(good)
    swapped.authorization = tx_pb.Transaction.FromString(other).authorization
    moved = exact_bytes(swapped)
    forged = registration(world, dataclasses.replace(holder, header=header_of("patient", "x1", 9)))
    expected = "UNAUTHENTICATED/AUTHORIZATION_REJECTED"
    assert await reason_of_call(ledger.submit(moved)) == expected
    verdicts = await ledger.submit_batch([good, moved, other, forged, world.transaction()])
    rejected = "AUTHORIZATION_REJECTED"
    assert [v.reason for v in verdicts] == ["", rejected, "", rejected, ""]
    by_signature = await ledger.submit_batch([bad_signature(world)])
    assert by_signature[0].message == verdicts[1].message


def bad_signature(world: Any) -> bytes:
    message = tx_pb.Transaction.FromString(world.transaction())
    message.authorization = message.authorization[:-1] + bytes([message.authorization[-1] ^ 1])
    return exact_bytes(message)


async def test_a_body_that_its_holder_presents_again_is_a_replay(
    world: Any, ledger: Any, holder: Holder, reason_of_call: Any
) -> None:
    content = registration(world, holder)
    await ledger.receipt(await ledger.submit(content))
    again = world.authorized_again(content, holder)
    assert again != content
    assert await reason_of_call(ledger.submit(again)) == "ALREADY_EXISTS/TRANSACTION_REPLAYED"
    assert len(world.contract.applied) == 1


async def test_a_replay_within_one_batch_is_noticed(
    world: Any, ledger: Any, holder: Holder
) -> None:
    content = registration(world, holder)
    again = world.authorized_again(content, holder)
    verdicts = await ledger.submit_batch([content, again, content])
    assert [v.reason for v in verdicts] == ["", "TRANSACTION_REPLAYED", ""]


@pytest.mark.slow
async def test_of_two_presentations_of_one_body_at_once_exactly_one_is_admitted(
    world: Any, ledger: Any, holder: Holder
) -> None:
    for number in range(10):
        content = registration(world, holder, f"key {number}")
        pair = [[content], [world.authorized_again(content, holder)]]
        answers = await asyncio.gather(*(ledger.submit_batch(one) for one in pair))
        reasons = sorted(answer[0].reason for answer in answers)
        assert reasons == ["", "TRANSACTION_REPLAYED"]


async def test_a_presentation_under_another_pseudonym_is_rejected(
    world: Any, ledger: Any, holder: Holder, reason_of_call: Any
) -> None:
    content = registration(world, Pretender(holder))
    expected = "UNAUTHENTICATED/AUTHORIZATION_REJECTED"
    assert await reason_of_call(ledger.submit(content)) == expected


async def test_the_same_presentation_that_waits_is_not_verified_again(
    world: Any, ledger: Any, holder: Holder
) -> None:
    world.contract.gate.clear()
    await ledger.submit(world.transaction())
    content = registration(world, holder)
    await eventually(lambda: world.contract.stands)
    transaction_id = await ledger.submit(content)
    assert await ledger.submit(content) == transaction_id
    assert sum(world.identity.batches) == 1
    world.contract.gate.set()
    await ledger.receipt(transaction_id)


@pytest.mark.slow
async def test_presentations_that_come_while_identity_works_go_in_one_batch(
    world: Any, holder: Holder
) -> None:
    claims = [claim_of(registration(world, holder, f"key {number}")) for number in range(21)]
    world.identity.gate.clear()
    async with world.channel(world.identity_port, "identity") as channel:
        verifier = PresentationVerifier(IdentityServiceStub(channel))
        running = asyncio.ensure_future(verifier.run())
        first = asyncio.ensure_future(verifier.verify(claims[:1]))
        await eventually(lambda: world.identity.waiting == 1)
        others = [asyncio.ensure_future(verifier.verify([claim])) for claim in claims[1:]]
        await asyncio.sleep(0)  # each queues its claim
        world.identity.gate.set()
        assert await asyncio.gather(first, *others) == [[True]] * 21
        running.cancel()
    assert world.identity.batches == [1, 20]


@pytest.mark.slow
async def test_a_presentation_is_verified_once_and_no_answer_of_an_absent_identity_is_remembered(
    make_world: Any, holder: Holder
) -> None:
    world = make_world()
    content = registration(world, holder)
    again = world.authorized_again(content, holder)  # of the same body: another transaction
    rules = Rules(world.genesis.chain_id, 65_536, 64, 600)
    async with world.channel(world.identity_port, "identity") as channel:
        presentations = PresentationVerifier(IdentityServiceStub(channel))
        verifier = Verifier(rules, presentations)
        running = asyncio.ensure_future(presentations.run())

        async def reasons(*contents: bytes) -> list[str]:
            verified = await verifier.verify(contents)
            return [one.refusal.reason if one.refusal else "" for one in verified]

        signed = world.transaction()
        assert await reasons(content, signed) == ["IDENTITY_AWAY", ""]
        async with world.serve_identity():

            async def valid() -> bool:
                return await reasons(content) == [""]

            await eventually(valid)
            asked = sum(world.identity.batches)
            assert await reasons(content, signed, content) == ["", "", ""]
            assert sum(world.identity.batches) == asked
            assert await reasons(again, content) == ["", ""]
            assert sum(world.identity.batches) == asked + 1
        assert await reasons(content, again) == ["", ""]  # identity is away, and not needed
        running.cancel()
        verifier.close()


def claim_of(content: bytes) -> PresentationClaim:
    parsed = parse_transaction(content)
    return PresentationClaim(parsed.authorization.presentation, context_of(parsed.body_bytes))


@pytest.mark.slow
async def test_without_identity_presentations_are_refused_and_keys_are_admitted(
    make_world: Any, holder: Holder, reason_of_call: Any
) -> None:
    world = make_world()
    async with world.serve_contract(), world.ledger() as ledger:
        await ledger.ready()
        content = registration(world, holder)
        assert await reason_of_call(ledger.submit(content)) == "UNAVAILABLE/IDENTITY_AWAY"
        verdicts = await ledger.submit_batch([content, world.transaction()])
        assert [v.reason for v in verdicts] == ["IDENTITY_AWAY", ""]
        async with world.serve_identity():

            async def admitted() -> bool:
                return (await ledger.submit_batch([content]))[0].reason == ""

            await eventually(admitted)
