"""Presentations: what passes, and everything that must not."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cipherward_anoncred import nym
from cipherward_anoncred.credential import (
    Credential,
    credential_layout,
    scope_base,
    signed_header,
)
from cipherward_anoncred.curve import (
    IDENTITY,
    ORDER,
    G1Point,
    Scalar,
    clear_cofactor,
    msm,
    random_scalars,
    read_point,
    read_scalar,
    serialize,
    xy_octets,
)
from cipherward_anoncred.errors import (
    DisclosureInvalid,
    Malformed,
    PresentationRejected,
    SchemaUnknown,
    ScopeInvalid,
)
from cipherward_anoncred.issuance import renew
from cipherward_anoncred.octets import i2osp
from cipherward_anoncred.presentation import (
    FIRSTS_END,
    POINTS_END,
    VERSION,
    challenge,
    present,
    pseudonym_of,
    statement_octets,
)
from cipherward_anoncred.relation import (
    ProofCommitment,
    ProofEquations,
    Statement,
    respond,
)
from cipherward_anoncred.schema import attribute, header_of
from cipherward_anoncred.scheme import read_signature, sign_scalars
from cipherward_anoncred.verification import Claim, verify, verify_batch

if TYPE_CHECKING:  # the fixtures' type; pytest itself brings the fixtures
    from libs.anoncred.tests.conftest import Hospital

SCOPE, CONTEXT = b"duty:north:7", b"the body of a transaction"
SHOWN = (1,)  # the role of a member of staff


def claim_of(credential: Credential, **changes: object) -> Claim:
    claim = Claim.under_schema(
        credential.public_key,
        credential.header,
        [(i, credential.attributes[i]) for i in SHOWN],
        SCOPE,
        CONTEXT,
    )
    return replace(claim, **changes)


def shown_by(credential: Credential, context: bytes = CONTEXT) -> bytes:
    return present(credential, disclosed=SHOWN, scope=SCOPE, context=context)


@pytest.fixture(scope="module")
def shown(clinician: Credential) -> bytes:
    return shown_by(clinician)


@pytest.fixture(scope="module")
def claim(clinician: Credential) -> Claim:
    return claim_of(clinician)


def refused(claim: Claim, octets: bytes) -> bool:
    """Refused alone and in a batch, with one text."""
    with pytest.raises(PresentationRejected, match=r"^presentation rejected$") as refusal:
        verify(claim, octets)
    return refusal.value.__cause__ is None and verify_batch([(claim, octets)]) == [False]


# --- what passes


@pytest.mark.parametrize("disclosed", [(), (0,), (1,), (0, 1)])
def test_a_presentation_proves_what_it_discloses(
    clinician: Credential, disclosed: tuple[int, ...]
) -> None:
    octets = present(clinician, disclosed=disclosed, scope=SCOPE, context=CONTEXT)
    claim = claim_of(clinician, disclosed=tuple((i, clinician.attributes[i]) for i in disclosed))
    assert len(octets) == 641 + 32 * (2 - len(disclosed))
    assert verify(claim, octets) == clinician.pseudonym(SCOPE) == pseudonym_of(octets)
    assert verify_batch([(claim, octets)]) == [True]


def test_a_presentation_shows_a_patient_by_pseudonym_only(patient: Credential) -> None:
    claim = Claim.under_schema(patient.public_key, patient.header, [], b"study:1", CONTEXT)
    octets = present(patient, disclosed=[], scope=b"study:1", context=CONTEXT)
    assert verify(claim, octets) == patient.pseudonym(b"study:1")
    again = present(patient, disclosed=[], scope=b"study:1", context=CONTEXT)
    # nothing but the pseudonym is common to two presentations
    pieces = [{o[i : i + 16] for i in range(1, len(o), 16)} for o in (octets, again)]
    assert len(pieces[0] & pieces[1]) == 3  # its 48 octets


def test_credentials_of_two_hospitals_prove_one_pseudonym(north: Hospital, south: Hospital) -> None:
    at_north, _ = north.enrol()
    at_south, _ = south.enrol_same(at_north)
    proven = {
        verify(
            Claim.under_schema(each.public_key, each.header, [], b"study:1", CONTEXT),
            present(each, disclosed=[], scope=b"study:1", context=CONTEXT),
        )
        for each in (at_north, at_south)
    }
    assert proven == {at_north.pseudonym(b"study:1")}


def test_a_renewed_credential_proves_the_same_pseudonym_under_its_new_header_only(
    clinic: Hospital,
) -> None:
    old, record = clinic.enrol()
    fresh = old.renewed(renew(clinic.key, record, clinic.header(8)), clinic.header(8))
    assert verify(claim_of(fresh), shown_by(fresh)) == old.pseudonym(SCOPE)
    assert refused(claim_of(fresh), shown_by(old))
    assert refused(claim_of(old), shown_by(fresh))


def test_a_credential_is_the_drafts_own(clinician: Credential) -> None:
    """It presents through ProofGenWithNym too, to any verifier that conforms."""
    covered = nym.NymMessages(
        clinician.attributes,
        (),
        read_scalar(clinician.blind),
        (read_scalar(clinician.secret),),
    )
    proof, pseudonym = nym.prove(
        clinician.public_key,
        clinician.signature,
        clinician.header,
        b"ph",
        SCOPE,
        covered,
        SHOWN,
    )
    nym.check_proof(
        clinician.public_key,
        proof,
        clinician.header,
        b"ph",
        SCOPE,
        pseudonym,
        secrets=1,
        signer=2,
        disclosed=[(1, clinician.attributes[1])],
    )
    assert pseudonym == clinician.pseudonym(SCOPE)


def test_a_claim_crosses_a_process_border(claim: Claim, shown: bytes) -> None:
    assert verify(pickle.loads(pickle.dumps(claim)), shown)  # noqa: S301  our own octets


# --- what a presentation is bound to


def test_a_presentation_is_bound_to_every_part_of_its_claim(
    clinician: Credential, patient: Credential, claim: Claim, shown: bytes
) -> None:
    member, role = clinician.attributes
    for changes in (
        {"context": CONTEXT + b"!"},
        {"context": b""},
        {"scope": b"duty:north:8"},
        {"scope": b""},
        {"scope": b"x" * 257},
        {"header": header_of("staff", "north", 8)},
        {"header": header_of("staff", "south", 7)},
        {"header": header_of("patient", "north", 7)},
        {"header": b""},
        {"header": claim.header + b"\0"},
        {"issuer_public_key": patient.public_key},
        {"issuer_public_key": bytes([0xC0]) + bytes(95)},
        {"issuer_public_key": b""},
        {"attribute_count": 1},
        {"attribute_count": 3},
        {"attribute_count": 0},
        {"attribute_count": -1},
        {"attribute_count": 33},
        {"attribute_count": 10**9},
        {"disclosed": ()},
        {"disclosed": ((1, member),)},
        {"disclosed": ((0, role),)},
        {"disclosed": ((0, member), (1, role))},
        {"disclosed": ((1, role), (1, role))},
        {"disclosed": ((1, role), (0, member))},
        {"disclosed": ((-1, role),)},
        {"disclosed": ((2, role),)},
        {"disclosed": ((3, role),)},
        {"disclosed": ((1, b"physician"),)},
    ):
        assert refused(replace(claim, **changes), shown), changes
    assert verify(claim, shown)


@pytest.mark.parametrize("indexes", [(2,), (3,), (-1,), (1, 0), (0, 0), (0, 1, 2, 3)])
def test_the_blind_and_the_secret_are_never_disclosed(
    clinician: Credential, indexes: tuple[int, ...]
) -> None:
    with pytest.raises(DisclosureInvalid):
        present(clinician, disclosed=indexes, scope=SCOPE, context=CONTEXT)


@pytest.mark.parametrize("scope", [b"", b"x" * 257])
def test_a_presentation_has_a_scope(clinician: Credential, scope: bytes) -> None:
    with pytest.raises(ScopeInvalid):
        present(clinician, disclosed=(), scope=scope, context=CONTEXT)
    with pytest.raises(ScopeInvalid):
        clinician.pseudonym(scope)


def test_a_claim_takes_its_number_of_attributes_from_the_schema(clinician: Credential) -> None:
    assert claim_of(clinician).attribute_count == 2
    with pytest.raises(SchemaUnknown):
        Claim.under_schema(
            clinician.public_key, header_of("visitor", "north", 7), [], SCOPE, CONTEXT
        )
    with pytest.raises(Malformed):
        Claim.under_schema(clinician.public_key, b"", [], SCOPE, CONTEXT)


# --- what a presentation's octets are


def test_every_flipped_bit_is_refused(claim: Claim, shown: bytes) -> None:
    # one bit in every ninth octet meets every field; which bit goes round with the place
    for at in range(0, len(shown), 9):
        bent = shown[:at] + bytes([shown[at] ^ 1 << at % 8]) + shown[at + 1 :]
        with pytest.raises(PresentationRejected):
            pytest.fail(f"octet {at}: {verify(claim, bent)!r}")


def bent_at(shown: bytes, at: int, octets: bytes) -> bytes:
    return shown[:at] + octets + shown[at + len(octets) :]


INFINITE = bytes([0xC0]) + bytes(47)
BENT: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda shown: b"",
    "another version": lambda shown: b"\x02" + shown[1:],
    "an octet short": lambda shown: shown[:-1],
    "an octet more": lambda shown: shown + b"\0",
    "a response short": lambda shown: shown[:-32],
    "a response more": lambda shown: shown + i2osp(1, 32),
    "Abar is the identity": lambda shown: bent_at(shown, 1, INFINITE),
    "Bbar is the identity": lambda shown: bent_at(shown, 49, INFINITE),
    "Abar and Bbar are the identity": lambda shown: bent_at(shown, 1, INFINITE * 2),
    "D is the identity": lambda shown: bent_at(shown, 97, INFINITE),
    "the pseudonym is the identity": lambda shown: bent_at(shown, 145, INFINITE),
    "a first message is the identity": lambda shown: bent_at(shown, POINTS_END, bytes(96)),
    "a response is zero": lambda shown: bent_at(shown, FIRSTS_END, bytes(32)),
    "a response is not canonical": lambda shown: bent_at(
        shown,
        FIRSTS_END,
        i2osp((int.from_bytes(shown[FIRSTS_END : FIRSTS_END + 32], "big") + ORDER) % 2**256, 32),
    ),
}


@pytest.mark.parametrize("what", BENT)
def test_bent_octets_are_refused(claim: Claim, shown: bytes, what: str) -> None:
    assert refused(claim, BENT[what](shown))


@given(st.binary(max_size=800))
def test_octets_of_chance_are_refused(octets: bytes) -> None:
    claim = Claim(bytes(96), b"", 1, (), SCOPE, CONTEXT)
    with pytest.raises(PresentationRejected):
        verify(claim, octets)
    with pytest.raises(PresentationRejected):
        pseudonym_of(octets)


def test_a_pseudonym_is_read_from_a_presentation_only(shown: bytes) -> None:
    for octets in (
        b"",
        shown[:200],
        shown[:-1],
        b"\x02" + shown[1:],
        bent_at(shown, 145, INFINITE),
    ):
        with pytest.raises(PresentationRejected):
            pseudonym_of(octets)


# --- forgeries


def test_a_pseudonym_of_somebody_else_is_refused(
    clinic: Hospital, claim: Claim, shown: bytes
) -> None:
    other = clinic.enrol()[0].pseudonym(SCOPE)
    assert refused(claim, bent_at(shown, POINTS_END - 48, other))


def test_a_proof_without_a_signature_fails_at_the_pairing(
    clinician: Credential, claim: Claim, shown: bytes
) -> None:
    """Anybody can satisfy the equations with an Abar of their own; the pairing stops it."""
    a = read_point(clinician.signature[:48])
    made_up = (a * Scalar(7)).to_compressed_bytes() + clinician.signature[48:]
    forged = shown_by(replace(clinician, signature=made_up))
    assert refused(claim, forged)
    assert verify_batch([(claim, forged), (claim, shown)]) == [False, True]


def forged_on(seen: bytes, statement: Statement, hashed_firsts: bytes, pseudonym: G1Point) -> bytes:
    """A forgery by somebody who has seen one presentation and knows no secret.

    Abar and Bbar are the seen ones, so the pairing holds; responses are random, and the first
    messages are made to fit them and a challenge over `hashed_firsts`.
    """
    abar, bbar, d = (read_point(seen[at : at + 48]) for at in (1, 49, 97))
    points = serialize([abar, bbar, d, pseudonym])
    c = challenge(statement_octets(statement, SCOPE), points, hashed_firsts, CONTEXT)
    responses = random_scalars(3 + len(statement.hidden))
    proof = ProofEquations.make(statement, (abar, bbar, d), responses, c)
    nym_first = msm([scope_base(SCOPE), pseudonym], [responses[-1], -c])
    firsts = xy_octets([*(msm(*equation) for equation in proof.firsts), nym_first])
    return VERSION + points + firsts + serialize(responses)


def test_first_messages_made_after_the_challenge_are_refused(
    clinician: Credential, claim: Claim, shown: bytes
) -> None:
    shape = credential_layout(2)
    values = shape.message_scalars([clinician.attributes[1]])
    statement = Statement.make(shape, clinician.domain(), SHOWN, values)
    for hashed in (b"", shown[POINTS_END:FIRSTS_END]):
        for pseudonym in (read_point(clinician.pseudonym(SCOPE)), scope_base(SCOPE)):
            assert refused(claim, forged_on(shown, statement, hashed, pseudonym))


def test_a_credential_changed_by_its_holder_proves_nothing(clinician: Credential) -> None:
    chief = attribute("role", "text", "head of department")
    promoted = replace(clinician, attributes=(clinician.attributes[0], chief))
    other_secret = replace(clinician, secret=i2osp(5, 32))
    for changed in (promoted, other_secret):
        assert refused(claim_of(changed), shown_by(changed))


# --- batches


def test_a_batch_names_its_bad_ones(
    clinic: Hospital, patient: Credential, clinician: Credential
) -> None:
    other = clinic.enrol()[0]
    jobs: list[tuple[Claim, bytes]] = []
    for number in range(9):
        context = i2osp(number)
        credential = (clinician, other)[number % 2]
        jobs.append((claim_of(credential, context=context), shown_by(credential, context)))
    of_patient = Claim.under_schema(patient.public_key, patient.header, [], b"study:1", CONTEXT)
    jobs.append((of_patient, present(patient, disclosed=[], scope=b"study:1", context=CONTEXT)))
    assert verify_batch(jobs) == [True] * 10
    jobs[3] = (jobs[3][0], jobs[2][1])
    jobs[7] = (replace(jobs[7][0], context=b"no"), jobs[7][1])
    jobs[9] = (jobs[9][0], b"")
    assert verify_batch(jobs) == [i not in (3, 7, 9) for i in range(10)]
    assert verify_batch([]) == []
    assert verify_batch([jobs[3], jobs[7]]) == [False, False]


def made_by_hand(
    credential: Credential,
    *,
    shown: tuple[int, ...] = SHOWN,
    added_to_t2: G1Point = IDENTITY,
    added_to_abar: G1Point = IDENTITY,
) -> bytes:
    """A presentation by a prover that adds what it likes and is right in everything else."""
    scalars = credential.scalars()
    statement = Statement.make(
        credential.layout, credential.domain(), shown, [scalars[i] for i in shown]
    )
    nonces = random_scalars(ProofCommitment.nonces_needed(statement))
    a, e = read_signature(credential.signature)
    abar_scale = nonces[0] * nonces[1]
    changed = a + added_to_abar * abar_scale.inverse()
    proof = ProofCommitment.make(statement, changed, e, scalars, nonces)
    base = scope_base(SCOPE)
    t1, t2 = proof.firsts
    points = serialize([*proof.points, base * scalars[-1]])
    firsts = xy_octets([t1, t2 + added_to_t2, base * nonces[-1]])
    c = challenge(statement_octets(statement, SCOPE), points, firsts, CONTEXT)
    return VERSION + points + firsts + serialize(respond(proof.pairs, c))


@pytest.mark.parametrize("what", ["T2", "Abar"])
def test_errors_that_cancel_out_between_two_presentations_are_refused(
    clinician: Credential, claim: Claim, what: str
) -> None:
    """Without a weight of its own per equation, a batch would add these two up to zero."""
    assert verify(claim, made_by_hand(clinician))
    shift = G1Point()

    def bend(point: G1Point) -> bytes:
        if what == "T2":
            return made_by_hand(clinician, added_to_t2=point)
        return made_by_hand(clinician, added_to_abar=point)

    bent = [bend(each) for each in (shift, -shift)]
    for octets in bent:
        assert refused(claim, octets)
    assert verify_batch([(claim, octets) for octets in bent]) == [False, False]


def test_a_blind_that_says_something_is_not_disclosed(clinic: Hospital) -> None:
    """A holder who chose the hash of an attribute as blind could show it as a third attribute."""
    header, (member, role) = clinic.header(), clinic.attributes
    shape = credential_layout(2)
    title = attribute("title", "text", "head of department")
    (blind,) = shape.message_scalars([title])
    scalars = [*shape.message_scalars([member, role]), blind, Scalar(5)]
    credential = Credential(
        public_key=clinic.key.public,
        header=header,
        attributes=(member, role),
        signature=sign_scalars(
            clinic.key.scalar(), clinic.key.public, shape, signed_header(header), scalars
        ),
        blind=blind.to_be_bytes(),
        secret=i2osp(5, 32),
    )
    credential.check()
    assert verify(claim_of(credential), made_by_hand(credential))
    shown = made_by_hand(credential, shown=(1, 2))
    assert refused(claim_of(credential, disclosed=((1, role), (2, title))), shown)


def test_a_part_outside_the_subgroup_gives_one_verdict_alone_and_in_every_batch(
    clinician: Credential, claim: Claim, shown: bytes, torsion: G1Point
) -> None:
    assert not torsion.is_in_subgroup()
    assert clear_cofactor(torsion) == IDENTITY
    bent = made_by_hand(clinician, added_to_t2=torsion)
    t2 = G1Point.from_xy_bytes_unchecked_be(bent[POINTS_END + 96 : POINTS_END + 192])
    assert not t2.is_in_subgroup()
    for _ in range(10):  # weights are drawn anew each time
        assert verify(claim, bent) == clinician.pseudonym(SCOPE)
        assert verify_batch([(claim, bent), (claim, shown)]) == [True, True]
        assert verify_batch([(claim, bent), (claim, b""), (claim, bent)]) == [True, False, True]


@pytest.mark.parametrize("at", [1, 49, 97, 145])
def test_points_outside_the_subgroup_are_refused(
    claim: Claim, shown: bytes, torsion: G1Point, at: int
) -> None:
    point = G1Point.from_compressed_bytes(shown[at : at + 48]) + torsion
    assert refused(claim, bent_at(shown, at, point.to_compressed_bytes()))
