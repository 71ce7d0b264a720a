"""Known answers: what is signed, hashed or stored keeps its octets from release to release.

The digests were made by this library.  A changed one is a changed format: it needs a new version of
the tag that stands in front, and credentials issued before it stop working.
"""

from __future__ import annotations

from hashlib import sha256

from cipherward_anoncred.credential import Credential, identity_base
from cipherward_anoncred.issuance import (
    HolderSecret,
    grant_first,
    grant_same_secret,
    request_first,
    request_same_secret,
)
from cipherward_anoncred.octets import i2osp
from cipherward_anoncred.presentation import present
from cipherward_anoncred.schema import attribute, header_of, parse_header
from cipherward_anoncred.scheme import generate_issuer_key
from cipherward_anoncred.verification import Claim, verify

SESSION = b"a nonce of the session"
ROLE = attribute("role", "text", "patient")


def fixed(count: int) -> bytes:
    return bytes(range(count))


def digest(octets: bytes) -> str:
    return sha256(octets).hexdigest()[:16]


def test_known_answers() -> None:
    north, south = (generate_issuer_key(name * 32) for name in (b"n", b"s"))
    at_north, at_south = (header_of("patient", name, 7) for name in ("north", "south"))
    request, pending = request_first(
        HolderSecret(i2osp(2024, 32)), issuer="north", header=at_north, session=SESSION, rng=fixed
    )
    grant = grant_first(
        north,
        request,
        issuer="north",
        header=at_north,
        session=SESSION,
        attributes=[ROLE],
        rng=fixed,
    )
    credential = pending.accept(grant.octets, north.public, [ROLE])
    second, second_pending = request_same_secret(
        credential, issuer="south", header=at_south, session=SESSION, rng=fixed
    )
    second_grant = grant_same_secret(
        south,
        second,
        issuer="south",
        header=at_south,
        session=SESSION,
        attributes=[ROLE],
        earlier_issuer=(north.public, at_north),
    )
    second_credential = second_pending.accept(second_grant.octets, south.public, [ROLE])
    shown = present(second_credential, disclosed=[0], scope=b"study:1", context=b"body", rng=fixed)
    claim = Claim.under_schema(south.public, at_south, [(0, ROLE)], b"study:1", b"body")
    assert verify(claim, shown) == credential.pseudonym(b"study:1")
    assert Credential.from_octets(credential.to_octets()) == credential
    assert {
        "header": digest(at_north),
        "attribute": digest(ROLE),
        "identity base": digest(identity_base(parse_header(at_north)).to_compressed_bytes()),
        "first request": digest(request),
        "pending request": digest(pending.to_octets()),
        "first grant": digest(grant.octets),
        "issuer record": digest(grant.record.to_octets()),
        "credential": digest(credential.to_octets()),
        "second request": digest(second),
        "second grant": digest(second_grant.octets),
        "presentation": digest(shown),
    } == {
        "header": "285966c860fb22bf",
        "attribute": "f4b7c5718b4d0607",
        "identity base": "72afe18a99b7c849",
        "first request": "d12f55acfc0d54ce",
        "pending request": "bbade1c3ddc77e5a",
        "first grant": "4b57ac11b42af583",
        "issuer record": "09bc49082e0e8844",
        "credential": "63f5574e7a9affb2",
        "second request": "51194416a2aec2c6",
        "second grant": "53579825f7f6dd8e",
        "presentation": "a2d9eaa1a857f1d3",
    }
