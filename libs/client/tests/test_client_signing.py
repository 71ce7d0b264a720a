"""Signing with a credential: the body names the pseudonym, and the presentation is of that one."""

from __future__ import annotations

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
from cipherward_chain.testing import seed_of
from cipherward_chain.transactions import build_transaction, check_authorization, parse_transaction
from cipherward_client.sdk.signing import PresentationSigner

CHAIN = "test-chain"
SCOPE = "study:" + "ab" * 16


@pytest.fixture(scope="module")
def credential() -> Credential:
    key, session = generate_issuer_key(seed_of("issuer")), bytes(32)
    header = header_of("patient", "hospital-a", 1)
    role = attribute("role", "text", "patient")
    request, pending = request_first(
        HolderSecret.generate(), issuer="hospital-a", header=header, session=session
    )
    granted = grant_first(
        key, request, issuer="hospital-a", header=header, session=session, attributes=[role]
    )
    return pending.accept(granted.octets, key.public, [role])


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
