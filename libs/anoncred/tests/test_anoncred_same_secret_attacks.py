"""A cheater who would mix two secrets into one request on an earlier credential.

The prover here is written a second time, on purpose: it can put one secret into the commitment,
another into the identity, and answer with either.  Only the honest choice passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cipherward_anoncred import domains
from cipherward_anoncred.credential import (
    Credential,
    credential_layout,
    identity_base,
    secret_generators,
    signed_header,
)
from cipherward_anoncred.curve import (
    Scalar,
    hash_to_scalar,
    msm,
    random_scalars,
    read_scalar,
    serialize,
)
from cipherward_anoncred.errors import RequestRejected
from cipherward_anoncred.octets import pack
from cipherward_anoncred.schema import parse_header
from cipherward_anoncred.scheme import read_signature

if TYPE_CHECKING:  # the fixtures' type; pytest itself brings the fixtures
    from libs.anoncred.tests.conftest import Hospital

SESSION = b"a nonce of the session"
OTHER = Scalar(123456789)


def request_of(
    credential: Credential,
    hospital: Hospital,
    *,
    committed: Scalar,
    identified: Scalar,
    answered: Scalar,
    signed: Scalar | None = None,
) -> bytes:
    """A request whose commitment, identity and answer are of the given secrets.

    `signed` is the secret that the cheater pretends the earlier signature is on.
    """
    shape = credential_layout(len(credential.attributes))
    domain = shape.domain(credential.public_key, signed_header(credential.header))
    messages = credential.scalars()
    if signed is not None:
        messages[-1] = signed
    a, e = read_signature(credential.signature)
    r1, r2, e_nonce, r1_nonce, r3_nonce, blind, blind_nonce = random_scalars(7)
    nonces = random_scalars(shape.count)
    d = shape.b_value(domain, messages) * r2
    abar = a * (r1 * r2)
    bbar = msm([d, abar], [r1, -e])
    q2, j1 = secret_generators()
    base = identity_base(parse_header(hospital.header()))
    points = [abar, bbar, d, msm([q2, j1], [blind, committed]), base * identified]
    firsts = [
        msm([abar, d], [e_nonce, r1_nonce]),
        msm([d, *shape.messages], [r3_nonce, *nonces]),
        msm([q2, j1], [blind_nonce, nonces[-1]]),
        base * nonces[-1],
    ]
    binding = pack(hospital.name.encode(), hospital.header(), SESSION)
    hashed = pack(binding, domain.to_be_bytes(), serialize(points), serialize(firsts))
    c = hash_to_scalar(hashed, domains.REQUEST_SAME_SECRET)
    witnesses = [*messages[:-1], answered]
    answers = [n + w * c for n, w in zip(nonces, witnesses, strict=True)]
    tail = [
        e_nonce + e * c,
        r1_nonce - r1 * c,
        r3_nonce - r2.inverse() * c,
        *answers,
        blind_nonce + blind * c,
        c,
    ]
    return b"\x02" + serialize([*points, *tail])


def offer(credential: Credential, hospital: Hospital, request: bytes) -> bytes:
    earlier = (credential.public_key, credential.header)
    return hospital.grant_same(request, SESSION, earlier).record.identity


def test_the_honest_choice_passes(patient: Credential, south: Hospital) -> None:
    k = read_scalar(patient.secret)
    request = request_of(patient, south, committed=k, identified=k, answered=k)
    expected = identity_base(parse_header(south.header())) * k
    assert offer(patient, south, request) == expected.to_compressed_bytes()


@pytest.mark.parametrize("lie", ["committed", "identified", "answered"])
@pytest.mark.parametrize("rest", ["honest", "lying"])
def test_two_secrets_in_one_request_are_refused(
    patient: Credential, south: Hospital, lie: str, rest: str
) -> None:
    k = read_scalar(patient.secret)
    honest, lying = (k, OTHER) if rest == "honest" else (OTHER, k)
    choice = {name: honest for name in ("committed", "identified", "answered")} | {lie: lying}
    with pytest.raises(RequestRejected):
        offer(patient, south, request_of(patient, south, **choice))


def test_a_secret_that_nobody_signed_is_refused(patient: Credential, south: Hospital) -> None:
    # all of the request is of one secret, and only the pairing shows that the signature is not
    request = request_of(
        patient, south, committed=OTHER, identified=OTHER, answered=OTHER, signed=OTHER
    )
    with pytest.raises(RequestRejected):
        offer(patient, south, request)


def test_another_secret_throughout_but_in_the_signature_is_refused(
    patient: Credential, south: Hospital
) -> None:
    request = request_of(patient, south, committed=OTHER, identified=OTHER, answered=OTHER)
    with pytest.raises(RequestRejected):
        offer(patient, south, request)
