"""Authorized reads: good for a minute, for one method, once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.authorization import MemberSigner, PseudonymSigner, Signer
from cipherward_chain.domains import presentation_authorizer, read_context, transaction_context
from cipherward_chain.reads import (
    WINDOW_SECONDS,
    ReadGate,
    ReadMalformed,
    ReadRejected,
    build_read,
)
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import seed_of
from cipherward_chain.wire import exact_bytes

CHAIN = "test-chain"
METHOD = "/cipherward.storage.v1.StorageService/GetRecord"
NOW = 1_790_000_000
MEMBER = MemberSigner("hospital-a", seed_of("hospital-a"))
PSEUDONYM = PseudonymSigner(seed_of("pseudonym"))


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> ReadGate:
    return ReadGate(CHAIN, clock)


def read(
    signer: Signer = PSEUDONYM,
    *,
    chain_id: str = CHAIN,
    method: str = METHOD,
    at: float = NOW,
    order: tuple[int, int] | None = None,
) -> pb.AuthorizedRead:
    return build_read(
        method, b"object", chain_id=chain_id, signer=signer, time_ns=int(at * 10**9), order=order
    )


def test_a_member_is_recognised(gate: ReadGate) -> None:
    reader = gate.check(read(MEMBER), METHOD)
    assert (reader.kind, reader.member) == ("member", "hospital-a")
    assert reader.public_key == SigningKey(seed_of("hospital-a")).public_key
    assert (reader.object, reader.order, reader.claim) == (b"object", None, None)


def test_a_pseudonym_is_recognised_with_the_order_it_names(gate: ReadGate) -> None:
    reader = gate.check(read(order=(7, 0)), METHOD)
    assert (reader.kind, reader.member, reader.order) == ("pseudonym", "", (7, 0))
    assert reader.public_key == PSEUDONYM.public_key


class PresentingWallet:
    authorizer = presentation_authorizer(bytes(48))

    def authorize(self, context: bytes) -> bytes:
        presentation = pb.Presentation(
            issuer_public_key=bytes(96),
            header=b"h",
            scope="study:00",
            proof=b"p",
            pseudonym=bytes(48),
        )
        return exact_bytes(pb.Authorization(presentation=presentation))


def test_a_presentation_is_a_claim_until_identity_has_verified_it(gate: ReadGate) -> None:
    question = read(PresentingWallet())
    reader = gate.check(question, METHOD)
    assert (reader.kind, reader.public_key) == ("presentation", b"")
    assert reader.claim is not None
    assert reader.claim.context == read_context(question.body)


@pytest.mark.parametrize("apart", [-WINDOW_SECONDS, 0, WINDOW_SECONDS])
def test_a_read_is_good_for_a_minute_around_its_time(gate: ReadGate, apart: int) -> None:
    assert gate.check(read(at=NOW + apart), METHOD).kind == "pseudonym"


@pytest.mark.parametrize("apart", [-WINDOW_SECONDS - 0.1, WINDOW_SECONDS + 0.1])
def test_a_read_from_another_time_is_rejected(gate: ReadGate, apart: float) -> None:
    with pytest.raises(ReadRejected):
        gate.check(read(at=NOW + apart), METHOD)


def test_a_read_for_another_chain_or_method_is_rejected(gate: ReadGate) -> None:
    with pytest.raises(ReadRejected):
        gate.check(read(chain_id="other-chain"), METHOD)
    with pytest.raises(ReadRejected):
        gate.check(read(), METHOD + "s")


def test_a_read_is_answered_once(gate: ReadGate, clock: Clock) -> None:
    early = read(at=NOW + WINDOW_SECONDS)  # good for the two minutes that follow
    gate.check(early, METHOD)
    for elapsed in (0, WINDOW_SECONDS, 2 * WINDOW_SECONDS):
        clock.now = NOW + elapsed
        with pytest.raises(ReadRejected):
            gate.check(early, METHOD)
    clock.now += 0.1
    gate.check(read(at=clock.now), METHOD)  # by now the early one is forgotten, and too old
    with pytest.raises(ReadRejected):
        gate.check(early, METHOD)


def test_the_memory_is_bounded_and_full_means_no(clock: Clock) -> None:
    gate = ReadGate(CHAIN, clock, nonces_max=2)
    first = read()
    gate.check(first, METHOD)
    gate.check(read(), METHOD)
    with pytest.raises(ReadRejected):
        gate.check(read(), METHOD)
    with pytest.raises(ReadRejected):
        gate.check(first, METHOD)
    clock.now += 2 * WINDOW_SECONDS + 1
    assert gate.check(read(at=clock.now), METHOD).kind == "pseudonym"


def test_a_rejected_read_takes_no_memory(clock: Clock) -> None:
    gate = ReadGate(CHAIN, clock, nonces_max=1)
    forged = read()
    forged.body = read().body
    for _ in range(3):
        with pytest.raises(ReadRejected):
            gate.check(forged, METHOD)
    assert gate.check(read(), METHOD).kind == "pseudonym"


def _other_body(question: pb.AuthorizedRead) -> None:
    question.body = read().body


def _as_a_transaction(question: pb.AuthorizedRead) -> None:
    question.authorization = PSEUDONYM.authorize(transaction_context(question.body))


@pytest.mark.parametrize("change", [_other_body, _as_a_transaction])
def test_a_signature_over_something_else_is_rejected(
    gate: ReadGate, change: Callable[[pb.AuthorizedRead], None]
) -> None:
    question = read()
    change(question)
    with pytest.raises(ReadRejected):
        gate.check(question, METHOD)


def test_all_rejections_look_the_same(gate: ReadGate) -> None:
    again, forged = read(), read()
    gate.check(again, METHOD)
    _other_body(forged)
    texts: set[str] = set()
    for question in (again, forged, read(at=0), read(chain_id="other"), read(method="/x")):
        with pytest.raises(ReadRejected) as caught:
            gate.check(question, METHOD)
        texts.add(str(caught.value))
    assert len(texts) == 1


def _empty(question: pb.AuthorizedRead) -> None:
    question.body = b""


def _unknown_field(question: pb.AuthorizedRead) -> None:
    question.body += b"\xfa\x01\x00"


def _no_authorization(question: pb.AuthorizedRead) -> None:
    question.authorization = b""


def _short_nonce(question: pb.AuthorizedRead) -> None:
    body = pb.ReadBody.FromString(question.body)
    body.nonce = body.nonce[1:]
    question.body = exact_bytes(body)


def _no_time(question: pb.AuthorizedRead) -> None:
    body = pb.ReadBody.FromString(question.body)
    body.ClearField("time")
    question.body = exact_bytes(body)


def _time_out_of_range(question: pb.AuthorizedRead) -> None:
    body = pb.ReadBody.FromString(question.body)
    body.time.nanos = -1
    question.body = exact_bytes(body)


def _too_large(question: pb.AuthorizedRead) -> None:
    body = pb.ReadBody.FromString(question.body)
    body.object = bytes(30_000)
    question.body = exact_bytes(body)


@pytest.mark.parametrize(
    "change",
    [
        _empty,
        _unknown_field,
        _no_authorization,
        _short_nonce,
        _no_time,
        _time_out_of_range,
        _too_large,
    ],
)
def test_a_read_out_of_form_is_malformed(
    gate: ReadGate, change: Callable[[pb.AuthorizedRead], None]
) -> None:
    question = read()
    change(question)
    with pytest.raises(ReadMalformed):
        gate.check(question, METHOD)
