"""Openings: a quorum opens one ciphertext for one warrant, and names who answers wrongly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import pytest

from cipherward_threshold.group import domains
from cipherward_threshold.group.curve import (
    IDENTITY,
    G,
    hash_to_scalar,
    octets,
    random_scalar,
    read_point,
    read_scalar,
)
from cipherward_threshold.group.encoding import frame
from cipherward_threshold.group.errors import (
    CiphertextRejected,
    KeyShareRejected,
    NotEnoughShares,
    ShareRejected,
    WrongPurpose,
    WrongShares,
)
from cipherward_threshold.group.keys import OPENING, RECORD, ThresholdKey
from cipherward_threshold.group.opening import (
    combine_opening,
    make_opening_share,
    verify_opening_share,
)
from cipherward_threshold.group.testing import dealt_key

WARRANT = b"warrant"


@dataclass(frozen=True, slots=True)
class Case:
    """An identity key, encrypted, and the shares of four guardians of it."""

    key: ThresholdKey
    secrets: tuple[bytes, ...]
    identity: bytes
    ciphertext: bytes
    shares: dict[int, bytes]

    @property
    def base(self) -> bytes:
        return self.ciphertext[:48]


@pytest.fixture(scope="module")
def case() -> Case:
    key, secrets = dealt_key(chain_id="c", purpose=OPENING)
    identity, chance = G * random_scalar(), random_scalar()
    ciphertext = octets(G * chance, read_point(key.public_key) * chance + identity)
    shares = {
        index: make_opening_share(key, index, secret, ciphertext[:48], WARRANT)
        for index, secret in enumerate(secrets, start=1)
    }
    return Case(key, secrets, octets(identity), ciphertext, shares)


def test_any_quorum_opens(case: Case) -> None:
    for indexes in combinations(case.shares, 3):
        some = {index: case.shares[index] for index in indexes}
        assert combine_opening(case.key, case.ciphertext, some, WARRANT) == case.identity


def test_a_shares_proof_takes_its_fields_in_this_order(case: Case) -> None:
    share, holder = case.shares[2], read_point(case.key.points[1])
    part, base = read_point(share[6:54]), read_point(case.base)
    challenge, response = read_scalar(share[54:86]), read_scalar(share[86:])
    first = G * response - holder * challenge
    second = base * response - part * challenge
    shown = octets(base, holder, part, first, second)
    bound = frame(case.base, WARRANT)
    assert challenge == hash_to_scalar(domains.OPENING_PROOF, case.key.digest, bound, 2, shown)


def test_fewer_than_a_quorum_open_nothing(case: Case) -> None:
    few = {index: case.shares[index] for index in (1, 4)}
    with pytest.raises(NotEnoughShares):
        combine_opening(case.key, case.ciphertext, few, WARRANT)
    lower = replace(case.key, threshold=2)
    again = {
        index: make_opening_share(lower, index, case.secrets[index - 1], case.base, WARRANT)
        for index in few
    }
    assert combine_opening(lower, case.ciphertext, again, WARRANT) != case.identity


def test_a_wrong_share_is_named(case: Case) -> None:
    other = octets(G * random_scalar())
    wrong = make_opening_share(case.key, 2, case.secrets[1], other, WARRANT)
    assert combine_opening(case.key, case.ciphertext, {**case.shares, 2: wrong}, WARRANT)
    some = {1: case.shares[1], 2: wrong, 3: case.shares[3]}
    with pytest.raises(WrongShares) as refused:
        combine_opening(case.key, case.ciphertext, some, WARRANT)
    assert refused.value.indexes == (2,)


def test_a_share_holds_for_its_own_warrant_base_and_holder_only(case: Case) -> None:
    share = case.shares[1]
    verify_opening_share(case.key, case.base, share, WARRANT, index=1)
    with pytest.raises(ShareRejected):
        verify_opening_share(case.key, case.base, share, b"another", index=1)
    with pytest.raises(ShareRejected):
        verify_opening_share(case.key, octets(G), share, WARRANT, index=1)
    with pytest.raises(ShareRejected):
        verify_opening_share(case.key, case.base, share, WARRANT, index=2)


@pytest.mark.parametrize(
    "change", [{"chain_id": "d"}, {"key_epoch": 2}, {"sharing": 2}, {"threshold": 2}]
)
def test_a_share_holds_for_its_own_key_and_sharing_only(case: Case, change: dict[str, Any]) -> None:
    other = replace(case.key, **change)
    with pytest.raises(ShareRejected):
        verify_opening_share(other, case.base, case.shares[1], WARRANT, index=1)


def test_a_record_key_opens_no_identity_even_with_the_same_secret(case: Case) -> None:
    record = replace(case.key, purpose=RECORD)
    with pytest.raises(WrongPurpose):
        make_opening_share(record, 1, case.secrets[0], case.base, WARRANT)
    with pytest.raises(WrongPurpose):
        verify_opening_share(record, case.base, case.shares[1], WARRANT, index=1)
    with pytest.raises(WrongPurpose):
        combine_opening(record, case.ciphertext, case.shares, WARRANT)


def test_a_guardian_without_its_secret_answers_nothing(case: Case) -> None:
    with pytest.raises(KeyShareRejected):
        make_opening_share(case.key, 2, case.secrets[0], case.base, WARRANT)


@pytest.mark.parametrize("bad", [b"", bytes(48), octets(IDENTITY), octets(G) + b"\0"])
def test_a_base_that_is_no_point_is_refused(case: Case, bad: bytes) -> None:
    with pytest.raises(CiphertextRejected):
        make_opening_share(case.key, 1, case.secrets[0], bad, WARRANT)


@pytest.mark.parametrize("bad", [b"", octets(G), octets(G, G, G), octets(G, IDENTITY)])
def test_a_ciphertext_out_of_form_is_refused(case: Case, bad: bytes) -> None:
    with pytest.raises(CiphertextRejected):
        combine_opening(case.key, bad, case.shares, WARRANT)


def test_a_ciphertext_that_holds_no_identity_is_refused(case: Case) -> None:
    chance = random_scalar()
    empty = octets(G * chance, read_point(case.key.public_key) * chance)
    shares = {
        index: make_opening_share(case.key, index, secret, empty[:48], WARRANT)
        for index, secret in enumerate(case.secrets, start=1)
    }
    with pytest.raises(CiphertextRejected):
        combine_opening(case.key, empty, shares, WARRANT)
