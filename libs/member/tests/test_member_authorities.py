"""Whose certificates a server accepts: those of the registry, as blocks change it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from cipherward_chain.members import AuthoritiesSet
from cipherward_chain.testing import make_genesis
from cipherward_kit.devca import DevAuthority
from cipherward_kit.testing import MEMBERS
from cipherward_kit.tls import TrustRegistry
from cipherward_member.authorities import Authorities

A, B, C, D = MEMBERS


@pytest.fixture(scope="module")
def certificates() -> dict[str, str]:
    """Return a usable authority of each member, PEM by id."""
    return {one: DevAuthority.create(one).certificate_pem.decode() for one in MEMBERS}


def test_an_authority_that_cannot_be_used_shuts_its_own_member_out_only(
    certificates: dict[str, str],
) -> None:
    own = {A: certificates[A].encode()}
    trust = TrustRegistry(own)
    with capture_logs() as logs:
        Authorities(trust, own).follow({B: certificates[B], C: "not a certificate"}, 0)
    assert trust.members == {A, B}
    left_out = [line for line in logs if line["event"] == "authority_left_out"]
    assert [(line["member"], line["log_level"]) for line in left_out] == [(C, "warning")]


def test_its_own_changed_authority_counts_and_what_was_proven_counts_before(
    certificates: dict[str, str],
) -> None:
    old, new = certificates[A], DevAuthority.create(A).certificate_pem.decode()
    proven = AuthoritiesSet(A, new, 10)
    trust = TrustRegistry({A: old.encode()})
    authorities = Authorities(trust, {A: old.encode()}, {A: proven})
    for height, listed, counts in ((9, old, new), (10, new, new), (11, old, old)):
        authorities.follow({A: listed}, height)
        assert trust.authority_pem(A) == counts.encode()


def test_a_server_begins_with_the_genesis_and_what_was_proven_since(
    certificates: dict[str, str],
) -> None:
    genesis, _ = make_genesis(ca_certificates=certificates)
    new = DevAuthority.create(A).certificate_pem
    proven = {A: AuthoritiesSet(A, new.decode(), 10)}
    authorities = Authorities.of(replace(genesis, authorities=proven), A)
    assert authorities.trust.members == set(MEMBERS)
    assert authorities.trust.authority_pem(A) == new
    authorities.follow({B: certificates[B]}, 9)  # a state of before it was admitted
    assert authorities.trust.members == {A, B}
    assert authorities.trust.authority_pem(A) == new
