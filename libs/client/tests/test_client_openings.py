"""Shares of an opening: enough right ones give the identity, and wrong ones are named."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import grpc
import pytest
from grpc import aio
from py_arkworks_bls12381 import G1Point, Scalar

from cipherward_chain.endpoints import EndpointUnknown
from cipherward_chain.group_keys import OPENING
from cipherward_chain.openings import Warrant
from cipherward_chain.sealing import SealingKey, seal
from cipherward_client.sdk.opening_shares import OpeningShares
from cipherward_client.sdk.releases import SharesMissing
from cipherward_member.testing_keys import make_shared_key
from cipherward_threshold.group.opening import make_opening_share

CHAIN = "test-chain"
MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
SHARED = make_shared_key(CHAIN, OPENING, MEMBERS)
RECIPIENT = SealingKey.generate()
IDENTITY = (G1Point() * Scalar(2024)).to_compressed_bytes()


def encrypted() -> bytes:
    rho, key = Scalar(77), G1Point.from_compressed_bytes(SHARED.key.public_key)
    pair = G1Point() * rho, key * rho + G1Point.from_compressed_bytes(IDENTITY)
    return b"".join(point.to_compressed_bytes() for point in pair)


WARRANT = Warrant(
    warrant=bytes(16),
    scope="duty:hospital-a:1",
    pseudonym=bytes(48),
    ciphertext=encrypted(),
    opening_key=SHARED.key.public_key,
    key_epoch=1,
    sharing=1,
    threshold=3,
    guardians=MEMBERS,
    recipient="hospital-a",
    recipient_key=RECIPIENT.public_key,
)


def share_of(member: str, warrant: Warrant = WARRANT, secret_of: str = "") -> bytes:
    """A guardian's sealed share, made for `warrant`, in the place of WARRANT."""
    index = SHARED.entry.index_of(secret_of or member)
    assert index is not None
    base, context = warrant.ciphertext[:48], warrant.context(CHAIN)
    share = make_opening_share(SHARED.key, index, SHARED.shares[secret_of or member], base, context)
    return seal(share, RECIPIENT.public_key, WARRANT.place(CHAIN, member))


def shares() -> OpeningShares:
    return OpeningShares(WARRANT, SHARED.key, SHARED.entry, RECIPIENT)


class Guardians:
    """The members' identity services, as far as they answer; the others are never heard of."""

    def __init__(self, answers: Mapping[str, bytes | Exception]) -> None:
        self._answers = answers
        self.cancelled: list[str] = []

    async def __call__(self, guardian: str) -> bytes:
        answer = self._answers.get(guardian)
        if answer is None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.append(guardian)
                raise
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer


async def test_three_of_four_open_and_the_fourth_is_not_waited_for() -> None:
    guardians = Guardians({member: share_of(member) for member in MEMBERS[:3]})
    found = shares()
    assert await found.identity(guardians) == IDENTITY
    assert found.answered == MEMBERS[:3]
    assert found.wrong == ()
    assert guardians.cancelled == [MEMBERS[3]]


async def test_a_share_for_another_warrant_is_named_and_left_out() -> None:
    other = replace(WARRANT, warrant=b"o" * 16)
    answers = {member: share_of(member) for member in MEMBERS}
    answers[MEMBERS[0]] = share_of(MEMBERS[0], other)
    found = shares()
    assert await found.identity(Guardians(answers)) == IDENTITY
    assert found.wrong == (MEMBERS[0],)


async def test_a_share_of_somebody_elses_is_wrong() -> None:
    answers = {member: share_of(member) for member in MEMBERS[:2]}
    answers[MEMBERS[2]] = share_of(MEMBERS[2], secret_of=MEMBERS[0])
    answers[MEMBERS[3]] = share_of(MEMBERS[3])
    found = shares()
    assert await found.identity(Guardians(answers)) == IDENTITY
    assert found.wrong == (MEMBERS[2],)


async def test_two_shares_open_nothing_and_it_is_said_why() -> None:
    away = aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, aio.Metadata(), aio.Metadata())
    answers: dict[str, bytes | Exception] = {member: share_of(member) for member in MEMBERS[:2]}
    answers[MEMBERS[2]] = away
    answers[MEMBERS[3]] = EndpointUnknown("not in the file")
    with pytest.raises(SharesMissing, match=r"2 of 3 shares \(hospital-c: .*, hospital-d: .*\)"):
        await shares().identity(Guardians(answers))


async def test_what_was_sealed_for_another_place_or_key_counts_as_missing() -> None:
    stranger = SealingKey.generate()
    answers = {member: share_of(member) for member in MEMBERS[:2]}
    answers[MEMBERS[2]] = share_of(MEMBERS[0])
    answers[MEMBERS[3]] = seal(bytes(118), stranger.public_key, WARRANT.place(CHAIN, MEMBERS[3]))
    found = shares()
    with pytest.raises(SharesMissing, match="OPENING_REJECTED"):
        await found.identity(Guardians(answers))
    assert found.answered == MEMBERS[:2]


async def test_a_wrong_share_among_three_is_said() -> None:
    answers = {member: share_of(member) for member in MEMBERS[:2]}
    answers[MEMBERS[2]] = share_of(MEMBERS[2], replace(WARRANT, recipient="hospital-b"))
    answers[MEMBERS[3]] = b"nothing that opens"
    with pytest.raises(SharesMissing, match="hospital-c: SHARE_WRONG"):
        await shares().identity(Guardians(answers))
