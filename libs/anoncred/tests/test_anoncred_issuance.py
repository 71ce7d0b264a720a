"""Issuance: one secret per patient, known to nobody else, and requests that cannot be bent."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from cipherward_anoncred.credential import Credential, identity_base
from cipherward_anoncred.curve import ORDER, G1Point, Scalar, read_scalar
from cipherward_anoncred.errors import (
    CredentialInvalid,
    GrantRejected,
    HeaderMismatch,
    Malformed,
    RequestRejected,
    SchemaMismatch,
    SchemaUnknown,
    SessionInvalid,
)
from cipherward_anoncred.issuance import (
    HolderSecret,
    IssuerRecord,
    PendingRequest,
    grant_first,
    grant_same_secret,
    renew,
    request_first,
    request_same_secret,
)
from cipherward_anoncred.octets import i2osp
from cipherward_anoncred.request_proof import Binding, check_same_secret, prove_same_secret
from cipherward_anoncred.schema import Schema, attribute, header_of, parse_header
from cipherward_anoncred.scheme import IssuerKey, generate_issuer_key

if TYPE_CHECKING:  # the fixtures' type; pytest itself brings the fixtures
    from libs.anoncred.tests.conftest import Hospital

SESSION = b"a nonce of the session"
SCOPES = (b"study:1", b"record:abc", b"care:north")


def first_request(hospital: Hospital) -> tuple[bytes, PendingRequest]:
    return request_first(
        HolderSecret.generate(),
        issuer=hospital.name,
        header=hospital.header(),
        session=SESSION,
    )


# --- one secret


def test_a_patient_of_two_hospitals_has_one_pseudonym_per_scope(
    north: Hospital, south: Hospital
) -> None:
    at_north, north_record = north.enrol()
    at_south, south_record = south.enrol_same(at_north)
    for scope in SCOPES:
        assert at_north.pseudonym(scope) == at_south.pseudonym(scope)
    assert len({at_north.pseudonym(scope) for scope in SCOPES}) == len(SCOPES)
    assert north_record.identity != south_record.identity


def test_a_third_hospital_takes_the_secret_from_a_second_one(
    north: Hospital, south: Hospital
) -> None:
    at_north, _ = north.enrol()
    at_south, _ = south.enrol_same(at_north)
    again, record = north.enrol_same(at_south)
    assert again.pseudonym(b"study:1") == at_north.pseudonym(b"study:1")
    assert record.identity == at_north.identity()  # north sees that it knows this patient


def test_two_first_requests_of_one_wallet_have_two_pseudonyms(
    north: Hospital, south: Hospital
) -> None:
    wallet = HolderSecret.generate()
    one, other = north.enrol(wallet)[0], south.enrol(wallet)[0]
    assert one.pseudonym(b"study:1") != other.pseudonym(b"study:1")


def test_the_registry_holds_the_identity_of_the_whole_secret(north: Hospital) -> None:
    credential, record = north.enrol()
    assert record.identity == credential.identity()
    expected = identity_base(parse_header(north.header())) * read_scalar(credential.secret)
    assert record.identity == expected.to_compressed_bytes()


def test_identities_have_a_base_of_their_own_per_issuer() -> None:
    names = ("north", "south", "nort", "h")
    headers = [parse_header(header_of("patient", name, 7)) for name in names]
    assert len({identity_base(header).to_compressed_bytes() for header in headers}) == 4


def test_staff_is_registered_under_the_key_that_an_opening_gives(clinic: Hospital) -> None:
    credential, record = clinic.enrol()
    expected = G1Point() * read_scalar(credential.secret)
    assert record.identity == credential.identity() == expected.to_compressed_bytes()
    assert clinic.enrol_same(credential)[1].identity == record.identity


def test_the_issuer_adds_entropy_that_the_holder_cannot_choose(north: Hospital) -> None:
    wallet = HolderSecret.generate()
    one, other = north.enrol(wallet)[0], north.enrol(wallet)[0]
    assert len({one.secret, other.secret, wallet.octets}) == 3


def test_a_wallet_keeps_its_secrets_out_of_its_printed_form(
    patient: Credential, north: Hospital
) -> None:
    wallet = HolderSecret.generate()
    pending = first_request(north)[1]
    printed = repr(patient) + repr(wallet) + repr(pending) + repr(north.key)
    for secret in (patient.secret, patient.blind, wallet.octets, pending.secret, north.key.secret):
        assert repr(secret) not in printed
        assert secret.hex() not in printed


# --- a request is good for one issuer, header and session


@pytest.mark.parametrize(
    ("issuer", "epoch", "session"),
    [("north", 7, b"another session nonce"), ("north", 8, SESSION), ("south", 7, SESSION)],
)
def test_a_first_request_is_bound_to_issuer_header_and_session(
    north: Hospital, issuer: str, epoch: int, session: bytes
) -> None:
    request, _ = first_request(north)
    assert north.grant(request, SESSION)
    with pytest.raises(RequestRejected):
        grant_first(
            north.key,
            request,
            issuer=issuer,
            header=header_of("patient", issuer, epoch),
            session=session,
            attributes=north.attributes,
        )


def test_a_request_on_an_earlier_secret_is_bound_to_issuer_header_and_session(
    patient: Credential, south: Hospital, north: Hospital
) -> None:
    request, _ = request_same_secret(
        patient, issuer="south", header=south.header(), session=SESSION
    )
    earlier = (patient.public_key, patient.header)
    assert south.grant_same(request, SESSION, earlier)
    with pytest.raises(RequestRejected):
        south.grant_same(request, b"another session nonce", earlier)
    with pytest.raises(RequestRejected):
        north.grant_same(request, SESSION, earlier)
    with pytest.raises(RequestRejected):
        south.grant_same(request, SESSION, (patient.public_key, north.header(8)))
    with pytest.raises(RequestRejected):
        south.grant_same(request, SESSION, (south.key.public, patient.header))
    with pytest.raises(RequestRejected):
        south.grant_same(request, SESSION, (bytes(96), patient.header))
    with pytest.raises(RequestRejected):
        south.grant_same(request, SESSION, (patient.public_key, b"no header"))
    with pytest.raises(RequestRejected):
        south.grant_same(request, SESSION, (patient.public_key, header_of("staff", "north", 7)))


def test_a_request_of_one_kind_is_none_of_the_other(
    patient: Credential, north: Hospital, south: Hospital
) -> None:
    first, _ = first_request(south)
    same, _ = request_same_secret(patient, issuer="south", header=south.header(), session=SESSION)
    with pytest.raises(RequestRejected):
        south.grant(same, SESSION)
    with pytest.raises(RequestRejected):
        south.grant_same(first, SESSION, (patient.public_key, patient.header))


FLIPS_FIRST = {"kind": 0, "commitment": 20, "identity": 60, "blind": 120, "secret": 150, "c": 180}
FLIPS_SAME = {
    "kind": 0,
    "abar": 20,
    "bbar": 60,
    "d": 110,
    "commitment": 160,
    "identity": 200,
    "e": 260,
    "r1": 290,
    "r3": 320,
    "attribute": 350,
    "earlier blind": 380,
    "secret": 410,
    "blind": 440,
    "c": 470,
}


@pytest.mark.parametrize("field", FLIPS_FIRST)
def test_a_flipped_bit_in_a_first_request_is_refused(north: Hospital, field: str) -> None:
    request, _ = first_request(north)
    assert len(request) == 193
    with pytest.raises(RequestRejected):
        north.grant(flipped(request, FLIPS_FIRST[field]), SESSION)


@pytest.mark.parametrize("field", FLIPS_SAME)
def test_a_flipped_bit_in_a_request_on_an_earlier_secret_is_refused(
    patient: Credential, south: Hospital, field: str
) -> None:
    request, _ = request_same_secret(
        patient, issuer="south", header=south.header(), session=SESSION
    )
    assert len(request) == 1 + 5 * 48 + 8 * 32
    with pytest.raises(RequestRejected):
        south.grant_same(
            flipped(request, FLIPS_SAME[field]), SESSION, (patient.public_key, patient.header)
        )


def flipped(octets: bytes, at: int) -> bytes:
    return octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]


def shortened(octets: bytes) -> bytes:
    return octets[:-1]


def without_a_scalar(octets: bytes) -> bytes:
    return octets[:-32]


def with_an_octet_more(octets: bytes) -> bytes:
    return octets + b"\0"


def with_a_scalar_more(octets: bytes) -> bytes:
    return octets + i2osp(1, 32)


def with_the_identity_as_point(octets: bytes) -> bytes:
    return octets[:49] + bytes([0xC0]) + bytes(47) + octets[97:]


def with_a_scalar_not_below_the_order(octets: bytes) -> bytes:
    return octets[:-32] + i2osp(int.from_bytes(octets[-32:], "big") + ORDER, 33)[1:]


def with_a_zero_scalar(octets: bytes) -> bytes:
    return octets[:-32] + bytes(32)


def nothing(octets: bytes) -> bytes:
    return octets[:0]


BENT = (
    shortened,
    without_a_scalar,
    with_an_octet_more,
    with_a_scalar_more,
    with_the_identity_as_point,
    with_a_scalar_not_below_the_order,
    with_a_zero_scalar,
    nothing,
)


@pytest.mark.parametrize("bend", BENT)
def test_bent_requests_are_refused(
    patient: Credential, north: Hospital, south: Hospital, bend: Callable[[bytes], bytes]
) -> None:
    first, _ = first_request(north)
    with pytest.raises(RequestRejected):
        north.grant(bend(first), SESSION)
    same, _ = request_same_secret(patient, issuer="south", header=south.header(), session=SESSION)
    with pytest.raises(RequestRejected):
        south.grant_same(bend(same), SESSION, (patient.public_key, patient.header))


def test_an_identity_of_another_secret_is_refused(north: Hospital) -> None:
    mine, theirs = first_request(north)[0], first_request(north)[0]
    with pytest.raises(RequestRejected):
        north.grant(mine[:49] + theirs[49:97] + mine[97:], SESSION)


def test_refused_requests_look_all_the_same(north: Hospital) -> None:
    request, _ = first_request(north)
    texts: set[str] = set()
    for bend in BENT:
        with pytest.raises(RequestRejected) as refusal:
            north.grant(bend(request), SESSION)
        texts.add(str(refusal.value))
        assert refusal.value.__cause__ is None
    assert len(texts) == 1


# --- what the parties' own arguments must be


def test_a_header_of_another_issuer_is_refused_on_both_sides(north: Hospital) -> None:
    request, _ = first_request(north)
    with pytest.raises(HeaderMismatch):
        request_first(
            HolderSecret.generate(), issuer="south", header=north.header(), session=SESSION
        )
    with pytest.raises(HeaderMismatch):
        grant_first(
            north.key,
            request,
            issuer="south",
            header=north.header(),
            session=SESSION,
            attributes=north.attributes,
        )


@pytest.mark.parametrize("session", [b"", bytes(15), bytes(257)])
def test_a_session_nonce_that_is_too_short_or_long_is_refused(
    north: Hospital, session: bytes
) -> None:
    with pytest.raises(SessionInvalid):
        request_first(
            HolderSecret.generate(), issuer="north", header=north.header(), session=session
        )


def test_attributes_come_from_the_schema(north: Hospital) -> None:
    request, _ = first_request(north)
    for attributes in ([], [attribute("name", "text", "x")], [*north.attributes] * 2):
        with pytest.raises(SchemaMismatch):
            grant_first(
                north.key,
                request,
                issuer="north",
                header=north.header(),
                session=SESSION,
                attributes=attributes,
            )
    with pytest.raises(SchemaUnknown):
        grant_first(
            north.key,
            request,
            issuer="north",
            header=header_of("visitor", "north", 7),
            session=SESSION,
            attributes=north.attributes,
        )


def test_a_schema_of_ones_own_can_be_issued(north: Hospital) -> None:
    own = {"visitor": Schema("visitor", ("badge", "floor", "day"))}
    header = header_of("visitor", "north", 1)
    attributes = [attribute(name, "text", "1") for name in own["visitor"].attributes]
    request, pending = request_first(
        HolderSecret.generate(), issuer="north", header=header, session=SESSION
    )
    grant = grant_first(
        north.key,
        request,
        issuer="north",
        header=header,
        session=SESSION,
        attributes=attributes,
        schemas=own,
    )
    credential = pending.accept(grant.octets, north.key.public, attributes, schemas=own)
    assert credential.attributes == tuple(attributes)


def test_a_secret_of_staff_is_not_taken_for_a_patient(
    clinician: Credential, south: Hospital
) -> None:
    with pytest.raises(HeaderMismatch):
        request_same_secret(clinician, issuer="south", header=south.header(), session=SESSION)


def test_a_right_proof_on_a_credential_of_another_schema_is_refused(
    north: Hospital, south: Hospital
) -> None:
    """A wallet that asks all the same; the other schema has as many attributes."""
    schemas = {name: Schema(name, ("role",)) for name in ("patient", "visitor")}
    header = header_of("visitor", "north", 1)
    asked, pending = request_first(
        HolderSecret.generate(), issuer="north", header=header, session=SESSION
    )
    grant = grant_first(
        north.key,
        asked,
        issuer="north",
        header=header,
        session=SESSION,
        attributes=north.attributes,
        schemas=schemas,
    )
    visitor = pending.accept(grant.octets, north.key.public, north.attributes, schemas=schemas)
    earlier = (visitor.public_key, visitor.header)
    binding = Binding("south", south.header(), SESSION)
    request = prove_same_secret(visitor, binding, secrets.token_bytes).octets
    assert check_same_secret(request, binding, earlier, 1)
    with pytest.raises(RequestRejected):
        grant_same_secret(
            south.key,
            request,
            issuer="south",
            header=south.header(),
            session=SESSION,
            attributes=south.attributes,
            earlier_issuer=earlier,
            schemas=schemas,
        )


# --- accepting


def test_only_the_grant_that_was_asked_for_is_accepted(
    north: Hospital, south: Hospital, patient: Credential
) -> None:
    request, pending = first_request(north)
    octets = north.grant(request, SESSION).octets
    assert len(octets) == 112
    elsewhere = first_request(north)[1]
    other = [attribute("role", "text", "donor")]
    for keep, grant, public_key, attributes in (
        (elsewhere, octets, north.key.public, north.attributes),
        (pending, octets, south.key.public, north.attributes),
        (pending, octets, bytes(96), north.attributes),
        (pending, octets, b"", north.attributes),
        (pending, octets, north.key.public, other),
        (pending, octets, north.key.public, []),
        (pending, octets[:80], north.key.public, north.attributes),
        (pending, octets[:-1], north.key.public, north.attributes),
        (pending, octets + b"\0", north.key.public, north.attributes),
        (pending, octets[:80] + bytes(32), north.key.public, north.attributes),
        (pending, flipped(octets, 20), north.key.public, north.attributes),
        (pending, flipped(octets, 60), north.key.public, north.attributes),
        (pending, flipped(octets, 100), north.key.public, north.attributes),
        (pending, b"", north.key.public, north.attributes),
    ):
        with pytest.raises(GrantRejected):
            keep.accept(grant, public_key, attributes)
    assert pending.accept(octets, north.key.public, north.attributes).pseudonym(b"s")

    request, pending = request_same_secret(
        patient, issuer="south", header=south.header(), session=SESSION
    )
    octets = south.grant_same(request, SESSION, (patient.public_key, patient.header)).octets
    assert len(octets) == 80
    with pytest.raises(GrantRejected):  # a later issuer cannot slip in entropy
        pending.accept(octets + i2osp(3, 32), south.key.public, south.attributes)
    assert pending.accept(octets, south.key.public, south.attributes)


# --- renewal


def test_a_renewal_keeps_pseudonyms(north: Hospital, south: Hospital) -> None:
    at_north, record = north.enrol()
    at_south, south_record = south.enrol_same(at_north)
    for hospital, credential, kept in (
        (north, at_north, record),
        (south, at_south, south_record),
    ):
        signature = renew(hospital.key, kept, hospital.header(8))
        fresh = credential.renewed(signature, hospital.header(8))
        assert fresh.header == hospital.header(8)
        assert fresh.pseudonym(b"study:1") == at_north.pseudonym(b"study:1")


def test_a_renewal_for_somebody_else_is_refused(north: Hospital) -> None:
    (mine, record), (theirs, _) = north.enrol(), north.enrol()
    signature = renew(north.key, record, north.header(8))
    with pytest.raises(CredentialInvalid):
        theirs.renewed(signature, north.header(8))
    with pytest.raises(CredentialInvalid):
        mine.renewed(signature, north.header(9))
    with pytest.raises(Malformed):
        mine.renewed(signature[:-1], north.header(8))


def test_a_renewal_keeps_issuer_and_schema(north: Hospital, south: Hospital) -> None:
    credential, record = north.enrol()
    signature = renew(north.key, record, north.header(8))
    for header in (south.header(8), header_of("staff", "north", 8)):
        with pytest.raises(HeaderMismatch):
            renew(north.key, record, header)
        with pytest.raises(HeaderMismatch):
            credential.renewed(signature, header)


# --- octets


def test_what_is_kept_comes_back_from_its_octets(north: Hospital, patient: Credential) -> None:
    wallet = HolderSecret.generate()
    request, pending = first_request(north)
    grant = north.grant(request, SESSION)
    assert HolderSecret.from_octets(wallet.to_octets()) == wallet
    assert Credential.from_octets(patient.to_octets()) == patient
    assert IssuerRecord.from_octets(grant.record.to_octets()) == grant.record
    assert IssuerKey.from_secret(north.key.secret) == north.key
    again = PendingRequest.from_octets(pending.to_octets())
    assert again == pending
    assert again.accept(grant.octets, north.key.public, north.attributes)


def test_octets_that_are_bent_are_not_read(north: Hospital, patient: Credential) -> None:
    request, pending = first_request(north)
    record = north.grant(request, SESSION).record
    readers: list[tuple[Callable[[bytes], object], bytes]] = [
        (Credential.from_octets, patient.to_octets()),
        (PendingRequest.from_octets, pending.to_octets()),
        (IssuerRecord.from_octets, record.to_octets()),
        (HolderSecret.from_octets, HolderSecret.generate().to_octets()),
        (IssuerKey.from_secret, north.key.secret),
    ]
    for read, octets in readers:
        for bad in (b"", octets[:-1], octets + b"\0", bytes(len(octets))):
            with pytest.raises(Malformed):
                read(bad)
    with pytest.raises(Malformed):
        HolderSecret.from_octets(i2osp(ORDER, 32))


def test_a_credential_that_was_changed_does_not_check(patient: Credential) -> None:
    patient.check()
    octets = patient.to_octets()
    assert octets.endswith(patient.secret)
    other = (read_scalar(patient.secret) + Scalar(1)).to_be_bytes()
    with pytest.raises(CredentialInvalid):
        Credential.from_octets(octets[:-32] + other).check()


def test_a_record_of_a_bent_base_signs_nothing(north: Hospital) -> None:
    record = north.enrol()[1]
    bad = IssuerRecord(record.issuer, record.schema, 1, record.identity, bytes(48))
    with pytest.raises(Malformed):
        renew(north.key, bad, north.header(8))


def test_issuer_keys_need_enough_material() -> None:
    material = secrets.token_bytes(32)
    assert generate_issuer_key(material) == generate_issuer_key(material)
    with pytest.raises(ValueError, match="31 of 32"):
        generate_issuer_key(material[:-1])
