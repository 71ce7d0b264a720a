"""Which generator carries which message of a BBS signature, and the domain that binds them.

A signature covers the signer's messages and, in the drafts' blind and pseudonym interfaces, a
second part with generators of its own: the holder's blind, then the committed messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cipherward_anoncred import domains
from cipherward_anoncred.curve import (
    ONE,
    P1,
    WIDE_OCTETS,
    G1Point,
    Scalar,
    expand_message,
    hash_to_point,
    hash_to_scalar,
    msm,
    serialize,
)
from cipherward_anoncred.errors import LengthMismatch
from cipherward_anoncred.octets import i2osp

_LAYOUTS_KEPT = 64  # a process meets a handful of schemas


@lru_cache(maxsize=2 * _LAYOUTS_KEPT)
def create_generators(count: int, api_id: bytes) -> tuple[G1Point, ...]:
    """create_generators of the BBS draft, section 4.1.1; about 0.4 ms each, once."""
    seed_dst = api_id + domains.GENERATOR_SEED
    seed = expand_message(api_id + domains.GENERATOR_START, seed_dst, WIDE_OCTETS)
    points: list[G1Point] = []
    for i in range(1, count + 1):
        seed = expand_message(seed + i2osp(i), seed_dst, WIDE_OCTETS)
        points.append(hash_to_point(seed, api_id + domains.GENERATOR_POINT))
    return tuple(points)


@dataclass(frozen=True, slots=True, eq=False)  # `layout` keeps one of each: identity is enough
class Layout:
    """The generators of one kind of signature.

    `messages` has one generator per message: `signer` of them for the signer's, then, where there
    is a blind part, one for the holder's blind and one per committed message.
    """

    api_id: bytes
    signer: int
    q1: G1Point
    messages: tuple[G1Point, ...]
    generator_octets: bytes

    @property
    def count(self) -> int:
        return len(self.messages)

    @property
    def scalar_tag(self) -> bytes:
        return self.api_id + domains.HASH_TO_SCALAR

    def domain(self, public_key: bytes, header: bytes) -> Scalar:
        """calculate_domain: issuer key, generators, interface and header in one scalar."""
        octets = public_key + self.generator_octets + i2osp(len(header)) + header
        return hash_to_scalar(octets, self.scalar_tag)

    def message_scalars(self, messages: Iterable[bytes]) -> list[Scalar]:
        """messages_to_scalars."""
        tag = self.api_id + domains.MAP_MESSAGE
        return [hash_to_scalar(message, tag) for message in messages]

    def b_value(self, domain: Scalar, scalars: Sequence[Scalar]) -> G1Point:
        """B = P1 + Q1 * domain + the sum of messages[i] * scalars[i], for all messages.

        Raises:
            LengthMismatch: not one scalar per message.
        """
        if len(scalars) != self.count:
            raise LengthMismatch(f"{self.count} messages, {len(scalars)} scalars")
        return msm([P1, self.q1, *self.messages], [ONE, domain, *scalars])


@lru_cache(maxsize=_LAYOUTS_KEPT)
def layout(signer: int, api_id: bytes = domains.CORE_API, committed: int | None = None) -> Layout:
    """The layout of `signer` messages; with `committed`, a blind and that many more follow."""
    own = create_generators(signer + 1, api_id)
    blind_part: tuple[G1Point, ...] = ()
    if committed is not None:
        blind_part = create_generators(committed + 1, domains.BLIND_PREFIX + api_id)
    messages = own[1:] + blind_part
    return Layout(
        api_id=api_id,
        signer=signer,
        q1=own[0],
        messages=messages,
        generator_octets=serialize([len(messages), own[0], *messages]) + api_id,
    )


@lru_cache(maxsize=256)
def domain_point(layout: Layout, public_key: bytes, header: bytes) -> G1Point:
    """Q1 * domain: the same for every holder under one header, so renewals share it."""
    return layout.q1 * layout.domain(public_key, header)
