"""Staff's openings: they hold the identity key of who presents, and nothing can be exchanged."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cipherward_anoncred.credential import Credential, scope_base
from cipherward_anoncred.curve import (
    COFACTOR,
    GENERATOR,
    IDENTITY,
    G1Point,
    Scalar,
    clear_cofactor,
    random_scalars,
    read_point,
    read_scalar,
    serialize,
    xy_octets,
)
from cipherward_anoncred.errors import OpeningInvalid, PresentationRejected
from cipherward_anoncred.octets import i2osp
from cipherward_anoncred.opening import OPENING_OCTETS, Encryption, read_opening_key
from cipherward_anoncred.presentation import (
    FIRSTS_END,
    POINTS_END,
    VERSION_WITH_OPENING,
    WITH_OPENING,
    Accountable,
    challenge,
    present,
    present_accountably,
    pseudonym_of,
    statement_octets,
)
from cipherward_anoncred.relation import ProofCommitment, Statement, respond
from cipherward_anoncred.schema import header_of
from cipherward_anoncred.scheme import read_signature
from cipherward_anoncred.verification import Claim, verify, verify_batch

if TYPE_CHECKING:  # the fixtures' type; pytest itself brings the fixtures
    from libs.anoncred.tests.conftest import Hospital

SCOPE, CONTEXT, SHOWN = b"duty:north:7", b"the body of a transaction", (1,)
# A test plays all members at once; who has this decrypts.
SHARED = Scalar(0x5EC2E7)
KEY = (GENERATOR * SHARED).to_compressed_bytes()
OTHER_KEY = (GENERATOR * Scalar(77)).to_compressed_bytes()
FIRSTS_TO = WITH_OPENING.firsts_end


def shown_by(
    credential: Credential, context: bytes = CONTEXT, key: bytes = KEY, scope: bytes = SCOPE
) -> Accountable:
    return present_accountably(
        credential, opening_key=key, disclosed=SHOWN, scope=scope, context=context
    )


def claim_of(credential: Credential, shown: Accountable, **changes: object) -> Claim:
    claim = Claim.under_schema(
        credential.public_key,
        credential.header,
        [(i, credential.attributes[i]) for i in SHOWN],
        SCOPE,
        CONTEXT,
    )
    return replace(claim, **{"opening_key": KEY, "opening": shown.opening, **changes})


def opened(opening: bytes) -> bytes:
    """What the members would find."""
    e1, e2 = read_point(opening[:48]), read_point(opening[48:])
    return (e2 - e1 * SHARED).to_compressed_bytes()


def refused(claim: Claim, octets: bytes) -> bool:
    """Refused alone and in a batch, with one text."""
    with pytest.raises(PresentationRejected, match=r"^presentation rejected$"):
        verify(claim, octets)
    return verify_batch([(claim, octets)]) == [False]


@pytest.fixture(scope="module")
def shown(clinician: Credential) -> Accountable:
    return shown_by(clinician)


@pytest.fixture(scope="module")
def claim(clinician: Credential, shown: Accountable) -> Claim:
    return claim_of(clinician, shown)


# --- what it holds


def test_an_opening_gives_the_key_that_the_issuer_has_registered(clinic: Hospital) -> None:
    credential, record = clinic.enrol()
    shown = shown_by(credential)
    assert len(shown.opening) == OPENING_OCTETS
    assert len(shown.octets) == WITH_OPENING.octets_expected(hidden=3) == 641 + 192 + 32 + 32
    claim = claim_of(credential, shown)
    assert verify(claim, shown.octets) == credential.pseudonym(SCOPE) == pseudonym_of(shown.octets)
    assert verify_batch([(claim, shown.octets)]) == [True]
    assert opened(shown.opening) == record.identity


def test_openings_of_one_holder_cannot_be_told_from_those_of_two(
    clinic: Hospital, clinician: Credential
) -> None:
    """Nothing is common to two of them but what the members find inside."""
    one, again = shown_by(clinician), shown_by(clinician, b"another body")
    halves = {o.opening[at : at + 48] for o in (one, again) for at in (0, 48)}
    assert len(halves) == 4
    assert opened(one.opening) == opened(again.opening) == clinician.identity()
    assert opened(shown_by(clinic.enrol()[0]).opening) != clinician.identity()


def test_a_claim_with_an_opening_crosses_a_process_border(claim: Claim, shown: Accountable) -> None:
    assert verify(pickle.loads(pickle.dumps(claim)), shown.octets)  # noqa: S301  our own octets


# --- whose it is


def test_a_patient_is_never_opened(patient: Credential, shown: Accountable) -> None:
    with pytest.raises(OpeningInvalid):
        present_accountably(
            patient, opening_key=KEY, disclosed=[], scope=b"study:1", context=CONTEXT
        )
    octets = present(patient, disclosed=[], scope=b"study:1", context=CONTEXT)
    claim = Claim.under_schema(patient.public_key, patient.header, [], b"study:1", CONTEXT)
    assert verify(claim, octets)
    for key, opening in ((KEY, shown.opening), (KEY, b""), (b"", shown.opening)):
        assert refused(replace(claim, opening_key=key, opening=opening), octets)


def test_a_right_proof_of_an_opening_is_refused_from_a_patient(patient: Credential) -> None:
    """A wallet that would encrypt its holder's identity finds no verifier for it."""
    octets, opening = by_hand(patient, shown=(), scope=b"study:1")
    claim = Claim.under_schema(patient.public_key, patient.header, [], b"study:1", CONTEXT)
    assert refused(replace(claim, opening_key=KEY, opening=opening), octets)


def test_staff_presents_without_an_opening_while_there_is_no_key(clinician: Credential) -> None:
    octets = present(clinician, disclosed=SHOWN, scope=SCOPE, context=CONTEXT)
    claim = claim_of(clinician, Accountable(octets, b""), opening_key=b"")
    assert verify(claim, octets) == clinician.pseudonym(SCOPE)


def test_the_two_forms_do_not_mix(clinician: Credential, claim: Claim, shown: Accountable) -> None:
    plain = present(clinician, disclosed=SHOWN, scope=SCOPE, context=CONTEXT)
    bare = replace(claim, opening_key=b"", opening=b"")
    assert refused(bare, shown.octets)
    assert refused(claim, plain)
    assert refused(replace(claim, opening=b""), shown.octets)
    assert refused(replace(claim, opening_key=b""), shown.octets)
    assert refused(replace(claim, opening=b""), plain)
    assert refused(replace(claim, opening_key=b""), plain)
    # another version octet makes neither of the other
    assert refused(claim, VERSION_WITH_OPENING + plain[1:])
    assert refused(bare, b"\x01" + shown.octets[1:])
    cut = b"\x01" + shown.octets[1:FIRSTS_END] + shown.octets[FIRSTS_TO:-32]
    assert refused(bare, cut)


# --- what it is bound to


def test_an_opening_is_bound_to_every_part_of_its_claim(
    clinic: Hospital, clinician: Credential, claim: Claim, shown: Accountable
) -> None:
    member, role = clinician.attributes
    again, other = shown_by(clinician), shown_by(clinic.enrol()[0])
    e1, e2 = shown.opening[:48], shown.opening[48:]
    rho = Scalar(5)
    rerandomised = serialize(
        [read_point(e1) + GENERATOR * rho, read_point(e2) + read_point(KEY) * rho]
    )
    somebody_else = serialize([read_point(e1), read_point(e2) + GENERATOR])
    for changes in (
        {"opening": again.opening},
        {"opening": other.opening},
        {"opening": e2 + e1},
        {"opening": e1 + e1},
        {"opening": e1 + again.opening[48:]},
        {"opening": rerandomised},
        {"opening": somebody_else},
        {"opening": shown.opening + b"\0"},
        {"opening": e1},
        {"opening_key": OTHER_KEY},
        {"opening_key": GENERATOR.to_compressed_bytes()},
        {"opening_key": KEY + b"\0"},
        {"opening_key": bytes([0xC0]) + bytes(47)},
        {"context": CONTEXT + b"!"},
        {"scope": b"duty:north:8"},
        {"header": header_of("staff", "north", 8)},
        {"header": header_of("staff", "south", 7)},
        {"disclosed": ()},
        {"disclosed": ((0, member), (1, role))},
    ):
        assert refused(replace(claim, **changes), shown.octets), changes
    assert verify(claim, shown.octets)
    assert verify(claim_of(clinician, again), again.octets)


def test_every_flipped_bit_of_proof_and_opening_is_refused(
    claim: Claim, shown: Accountable
) -> None:
    # one bit in every eleventh octet meets every field; which bit goes round with the place
    for at in range(0, len(shown.octets), 11):
        bent = bytearray(shown.octets)
        bent[at] ^= 1 << at % 8
        with pytest.raises(PresentationRejected):
            pytest.fail(f"octet {at}: {verify(claim, bytes(bent))!r}")
    for at in range(0, OPENING_OCTETS, 11):
        opening = bytearray(shown.opening)
        opening[at] ^= 1 << at % 8
        assert refused(replace(claim, opening=bytes(opening)), shown.octets), at


def test_octets_that_are_no_key_are_refused_before_anything_is_made(
    clinician: Credential, torsion: G1Point
) -> None:
    outside = outside_the_subgroup(KEY, torsion)
    for key in (b"", KEY[:47], bytes(48), bytes([0xC0]) + bytes(47), outside):
        with pytest.raises(OpeningInvalid):
            shown_by(clinician, key=key)


# --- forgeries


def by_hand(
    credential: Credential,
    *,
    shown: tuple[int, ...] = SHOWN,
    scope: bytes = SCOPE,
    encrypted: Scalar | None = None,
    bend: Callable[[list[G1Point]], None] = lambda firsts: None,
) -> tuple[bytes, bytes]:
    """A presentation and opening of a prover that encrypts what it likes and is right otherwise."""
    scalars = credential.scalars()
    statement = Statement.make(
        credential.layout, credential.domain(), shown, [scalars[i] for i in shown]
    )
    nonces = random_scalars(ProofCommitment.nonces_needed(statement))
    proof = ProofCommitment.make(statement, *read_signature(credential.signature), scalars, nonces)
    rho, rho_nonce = random_scalars(2)
    secret = scalars[-1] if encrypted is None else encrypted
    encryption = Encryption.make(read_opening_key(KEY), (nonces[-1], secret), (rho_nonce, rho))
    base = scope_base(scope)
    points = serialize([*proof.points, base * scalars[-1]])
    firsts = [*proof.firsts, base * nonces[-1], *encryption.firsts]
    bend(firsts)
    hashed = xy_octets(firsts)
    public = statement_octets(statement, scope, KEY)
    c = challenge(public, points + encryption.octets, hashed, CONTEXT, WITH_OPENING)
    responses = respond([*proof.pairs, encryption.pair], c)
    return VERSION_WITH_OPENING + points + hashed + serialize(responses), encryption.octets


def test_the_prover_by_hand_is_right_where_it_does_not_lie(clinician: Credential) -> None:
    octets, opening = by_hand(clinician)
    assert verify(claim_of(clinician, Accountable(octets, opening)), octets)


def test_nobody_encrypts_another_ones_identity(clinic: Hospital, clinician: Credential) -> None:
    victim = read_scalar(clinic.enrol()[0].secret)
    for encrypted in (victim, Scalar(1), read_scalar(clinician.secret) + Scalar(1)):
        octets, opening = by_hand(clinician, encrypted=encrypted)
        assert refused(claim_of(clinician, Accountable(octets, opening)), octets)


def outside_the_subgroup(octets: bytes, torsion: G1Point) -> bytes:
    return (read_point(octets) + torsion).to_compressed_bytes()


@pytest.mark.parametrize("place", [0, 48])
def test_openings_outside_the_subgroup_are_refused(
    claim: Claim, shown: Accountable, torsion: G1Point, place: int
) -> None:
    half = outside_the_subgroup(shown.opening[place : place + 48], torsion)
    opening = shown.opening[:place] + half + shown.opening[place + 48 :]
    assert refused(replace(claim, opening=opening), shown.octets)


def test_an_opening_key_outside_the_subgroup_is_refused(
    claim: Claim, shown: Accountable, torsion: G1Point
) -> None:
    assert refused(replace(claim, opening_key=outside_the_subgroup(KEY, torsion)), shown.octets)


@pytest.mark.parametrize("place", [3, 4])
def test_a_first_message_outside_the_subgroup_gives_one_verdict_alone_and_in_batches(
    clinician: Credential, claim: Claim, shown: Accountable, torsion: G1Point, place: int
) -> None:
    assert COFACTOR > 1
    assert clear_cofactor(torsion) == IDENTITY

    def bend(firsts: list[G1Point]) -> None:
        firsts[place] = firsts[place] + torsion

    octets, opening = by_hand(clinician, bend=bend)
    bent = claim_of(clinician, Accountable(octets, opening))
    for _ in range(10):  # weights are drawn anew each time
        assert verify(bent, octets) == clinician.pseudonym(SCOPE)
        assert verify_batch([(bent, octets), (claim, shown.octets)]) == [True, True]
        assert verify_batch([(bent, octets), (claim, b""), (bent, octets)]) == [True, False, True]
    assert opened(opening) == clinician.identity()


# --- batches and nonces


def test_a_batch_names_its_bad_ones_whatever_their_form(
    clinic: Hospital, clinician: Credential, patient: Credential
) -> None:
    other = clinic.enrol()[0]
    jobs: list[tuple[Claim, bytes]] = []
    for number in range(6):
        credential = (clinician, other)[number % 2]
        context = i2osp(number)
        shown = shown_by(credential, context)
        jobs.append((claim_of(credential, shown, context=context), shown.octets))
    plain = present(patient, disclosed=[], scope=b"study:1", context=CONTEXT)
    of_patient = Claim.under_schema(patient.public_key, patient.header, [], b"study:1", CONTEXT)
    jobs.append((of_patient, plain))
    assert verify_batch(jobs) == [True] * 7
    jobs[1] = (replace(jobs[1][0], opening=jobs[3][0].opening), jobs[1][1])
    jobs[4] = (replace(jobs[4][0], opening_key=OTHER_KEY), jobs[4][1])
    assert verify_batch(jobs) == [i not in (1, 4) for i in range(7)]


def test_a_broken_source_repeats_an_opening_for_one_context_only(clinician: Credential) -> None:
    def made(context: bytes, key: bytes = KEY) -> Accountable:
        return present_accountably(
            clinician,
            opening_key=key,
            disclosed=SHOWN,
            scope=SCOPE,
            context=context,
            rng=lambda count: b"\x2a" * count,
        )

    one, other, elsewhere = made(b"a"), made(b"b"), made(b"a", OTHER_KEY)
    assert made(b"a") == one
    for another in (other, elsewhere):
        assert one.opening[:48] != another.opening[:48]
        assert one.octets[1:145] != another.octets[1:145]
        for at in range(POINTS_END, FIRSTS_TO, 96):
            assert one.octets[at : at + 96] != another.octets[at : at + 96]
    # and the plain form draws from a stream of its own
    plain = present(
        clinician, disclosed=SHOWN, scope=SCOPE, context=b"a", rng=lambda count: b"\x2a" * count
    )
    assert plain[1:145] != one.octets[1:145]
