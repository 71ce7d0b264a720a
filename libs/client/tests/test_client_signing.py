"""Signing with a credential: the body names the pseudonym, and the presentation is of that one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_anoncred.credential import Credential
from cipherward_anoncred.holder import HolderSecret, request_first
from cipherward_anoncred.issuance import grant_first
from cipherward_anoncred.presentation import pseudonym_of
from cipherward_anoncred.schema import attribute, header_of
from cipherward_anoncred.scheme import generate_issuer_key
from cipherward_anoncred.verification import Claim, verify
from cipherward_chain.authorization import PSEUDONYM_BYTES
from cipherward_chain.group_keys import OPENING
from cipherward_chain.testing import seed_of
from cipherward_chain.transactions import build_transaction, check_authorization, parse_transaction
from cipherward_client.sdk.signing import PresentationSigner
from cipherward_member.testing_keys import make_shared_key

CHAIN = "test-chain"
SCOPE = "study:" + "ab" * 16


@pytest.fixture(scope="module")
def credential() -> Credential:
    return credential_of("patient", attribute("role", "text", "patient"))


@pytest.fixture(scope="module")
def clinician() -> Credential:
    named = {"member": "hospital-a", "role": "clinician"}
    return credential_of("staff", *(attribute(k, "text", value) for k, value in named.items()))


def credential_of(schema: str, *attributes: bytes) -> Credential:
    key, session = generate_issuer_key(seed_of("issuer")), bytes(32)
    header = header_of(schema, "hospital-a", 1)
    request, pending = request_first(
        HolderSecret.generate(), issuer="hospital-a", header=header, session=session
    )
    granted = grant_first(
        key, request, issuer="hospital-a", header=header, session=session, attributes=attributes
    )
    return pending.accept(granted.octets, key.public, attributes)


def test_a_presented_transaction_is_authorised_by_the_pseudonym_that_it_names(
    credential: Credential,
) -> None:
    signer = PresentationSigner(credential, SCOPE)
    raw = build_transaction(
        [pb.Act(tick=pb.Tick())], chain_id=CHAIN, expires_at=1_790_000_000, signer=signer
    )
    claim = check_authorization(parse_transaction(raw), CHAIN)
    assert claim is not None
    shown = claim.presentation
    asked = Claim.under_schema(
        shown.issuer_public_key, shown.header, (), shown.scope.encode(), claim.context
    )
    proven = verify(asked, shown.proof)
    assert proven == shown.pseudonym == pseudonym_of(shown.proof)
    assert len(proven) == PSEUDONYM_BYTES


def test_a_holder_is_another_authorizer_in_another_scope(credential: Credential) -> None:
    scopes = (SCOPE, "study:" + "cd" * 16)
    assert len({PresentationSigner(credential, scope).authorizer for scope in scopes}) == 2


@pytest.mark.parametrize(
    "key", [b"", make_shared_key(CHAIN, OPENING, ["a-1", "b-1"]).key.public_key]
)
def test_staff_presents_with_its_identity_encrypted_once_there_is_a_key(
    clinician: Credential, key: bytes
) -> None:
    scope = "duty:hospital-a:1"
    raw = build_transaction(
        [pb.Act(tick=pb.Tick())],
        chain_id=CHAIN,
        expires_at=1_790_000_000,
        signer=PresentationSigner(clinician, scope, key),
    )
    claim = check_authorization(parse_transaction(raw), CHAIN)
    assert claim is not None
    shown = claim.presentation
    assert (shown.opening_key, len(shown.opening)) == (key, 96 if key else 0)
    asked = Claim.under_schema(
        shown.issuer_public_key,
        shown.header,
        [(one.index, one.value) for one in shown.disclosed],
        shown.scope.encode(),
        claim.context,
    )
    proven = replace(asked, opening_key=shown.opening_key, opening=shown.opening)
    assert verify(proven, shown.proof) == shown.pseudonym
    assert [one.index for one in shown.disclosed] == [1]
