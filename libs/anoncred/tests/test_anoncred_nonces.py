"""Hedged nonces: what a broken random source gives away, which is nothing but repetition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cipherward_anoncred.credential import Credential
from cipherward_anoncred.curve import Scalar, random_scalars, read_scalar, serialize, xy_octets
from cipherward_anoncred.issuance import HolderSecret, request_first, request_same_secret
from cipherward_anoncred.presentation import (
    FIRSTS_END,
    POINTS_END,
    challenge,
    present,
    statement_octets,
)
from cipherward_anoncred.relation import ProofCommitment, Statement, respond
from cipherward_anoncred.scheme import read_signature
from cipherward_anoncred.verification import Claim, verify

if TYPE_CHECKING:  # the fixtures' type; pytest itself brings the fixtures
    from libs.anoncred.tests.conftest import Hospital

SCOPE = b"study:1"
SESSION = b"a nonce of the session"


def broken(count: int) -> bytes:
    """A random source that always gives the same."""
    return b"\x2a" * count


def statement_of(credential: Credential) -> Statement:
    return Statement.make(credential.layout, credential.domain(), (), ())


def challenge_of(credential: Credential, octets: bytes, context: bytes) -> Scalar:
    """What every reader of a presentation can compute."""
    public = statement_octets(statement_of(credential), SCOPE)
    return challenge(public, octets[1:POINTS_END], octets[POINTS_END:FIRSTS_END], context)


def extracted(
    one: list[Scalar], c_one: Scalar, other: list[Scalar], c_other: Scalar
) -> list[Scalar]:
    """The two-challenge formula: the witnesses, if both answers used the same nonces."""
    scale = (c_one - c_other).inverse()
    return [(a - b) * scale for a, b in zip(one, other, strict=True)]


def responses_of(octets: bytes) -> list[Scalar]:
    return [read_scalar(octets[at : at + 32]) for at in range(FIRSTS_END, len(octets), 32)]


def test_two_challenges_for_one_first_message_would_give_the_secret_away(
    patient: Credential,
) -> None:
    """The control: the formula of the next test does find the secret where nonces repeat."""
    statement = statement_of(patient)
    nonces = random_scalars(ProofCommitment.nonces_needed(statement))
    signature = read_signature(patient.signature)
    proof = ProofCommitment.make(statement, *signature, patient.scalars(), nonces)
    assert serialize(proof.points)
    assert xy_octets(proof.firsts)
    one, other = Scalar(5), Scalar(9)
    found = extracted(respond(proof.pairs, one), one, respond(proof.pairs, other), other)
    assert found[-1] == read_scalar(patient.secret)


def test_a_broken_source_does_not_give_the_secret_away(patient: Credential) -> None:
    contexts = (b"one transaction", b"another transaction")
    shown = [
        present(patient, disclosed=(), scope=SCOPE, context=context, rng=broken)
        for context in contexts
    ]
    for octets, context in zip(shown, contexts, strict=True):
        claim = Claim.under_schema(patient.public_key, patient.header, [], SCOPE, context)
        assert verify(claim, octets) == patient.pseudonym(SCOPE)
    for at in range(POINTS_END, FIRSTS_END, 96):
        assert shown[0][at : at + 96] != shown[1][at : at + 96]
    c_one, c_other = (
        challenge_of(patient, octets, context)
        for octets, context in zip(shown, contexts, strict=True)
    )
    found = extracted(responses_of(shown[0]), c_one, responses_of(shown[1]), c_other)
    secrets = {patient.secret, patient.blind, *(s.to_be_bytes() for s in patient.scalars())}
    assert not secrets & {each.to_be_bytes() for each in found}


def test_a_broken_source_repeats_itself_for_one_context_only(patient: Credential) -> None:
    def shown(scope: bytes, context: bytes) -> bytes:
        return present(patient, disclosed=(), scope=scope, context=context, rng=broken)

    # one context: the same presentation to the octet, so the same challenge
    assert shown(SCOPE, b"a") == shown(SCOPE, b"a")
    # another scope or context: nothing in common but the pseudonym of a common scope
    assert shown(SCOPE, b"a")[1:145] != shown(b"study:2", b"a")[1:145]
    assert shown(SCOPE, b"a")[1:145] != shown(SCOPE, b"b")[1:145]


def test_a_working_source_makes_presentations_of_one_context_unlinkable(
    patient: Credential,
) -> None:
    one, other = (present(patient, disclosed=(), scope=SCOPE, context=b"a") for _ in range(2))
    assert one[1:145] != other[1:145]


def test_requests_are_hedged_too(patient: Credential, south: Hospital) -> None:
    wallet = HolderSecret.generate()

    def first(session: bytes) -> tuple[bytes, bytes]:
        request, pending = request_first(
            wallet, issuer="south", header=south.header(), session=session, rng=broken
        )
        return request[1:49], pending.blind

    def same(session: bytes) -> tuple[bytes, bytes]:
        request, pending = request_same_secret(
            patient, issuer="south", header=south.header(), session=session, rng=broken
        )
        return request[1:145], pending.blind

    for ask in (first, same):
        assert ask(SESSION) == ask(SESSION)
        (points, blind), (other_points, other_blind) = ask(SESSION), ask(SESSION + b"!")
        assert points != other_points
        assert blind != other_blind
