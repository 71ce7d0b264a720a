"""An alliance of three with an evaluation key, and keys whose secret a test chooses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from cipherward_threshold import decryption, keys, shamir
from cipherward_threshold.batching import rounded_slots
from cipherward_threshold.encryption import encrypt
from cipherward_threshold.evaluation.evaluator import Evaluator
from cipherward_threshold.evaluation.gadget import gadget
from cipherward_threshold.evaluation.messages import RelinKey
from cipherward_threshold.evaluation.relinearisation import (
    combine_relin_key,
    relin_first,
    relin_second,
)
from cipherward_threshold.messages import Ciphertext
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import Residues, Signed

PROFILE = "product-1"
CONTEXT = b"chain test, data key 1, attempt 1"
POINTS = (1, 2, 3)
SET = (1, 3)


@dataclass(frozen=True)
class Phases:
    """Reads ciphertexts with a joint secret that nobody holds outside a test."""

    ring: Ring
    secret: Residues  # [primes, n], NTT form, data level

    def phase(self, ciphertext: bytes) -> Residues:
        """Return c0 + c1 s as [1, primes, n], coefficient form."""
        polynomials = Ciphertext.parse(self.ring.profile, ciphertext).polynomials
        masked = self.ring.multiply(self.ring.ntt(polynomials[1:]), self.secret)
        return self.ring.add(polynomials[:1], self.ring.intt(masked))

    def slots(self, ciphertext: bytes) -> list[int]:
        """Return all slots, centred."""
        return rounded_slots(self.ring, self.phase(ciphertext))

    def lifted(self, polynomial: Residues) -> list[int]:
        """Return coefficients [primes, n] as integers in 0..Q - 1."""
        profile = self.ring.profile
        values = [0] * profile.degree
        for prime, row in zip(profile.data_primes, polynomial, strict=True):
            rest = profile.data_modulus // prime
            weight = rest * pow(rest, -1, prime)
            values = [so_far + weight * int(x) for so_far, x in zip(values, row, strict=True)]
        return [value % profile.data_modulus for value in values]

    def noise_bits(self, ciphertext: bytes) -> float:
        """Return log2 of the largest noise: the distance to the nearest encoded message."""
        profile = self.ring.profile
        modulus, t = profile.data_modulus, profile.plain_modulus
        largest = 0
        for x in self.lifted(self.phase(ciphertext)[0]):
            message = (2 * t * x + modulus) // (2 * modulus)
            largest = max(largest, abs(x - (2 * modulus * message + t) // (2 * t)))
        return math.log2(largest + 1)


@dataclass(frozen=True)
class ProductAlliance:
    """Three members after the whole ceremony, any two of whom decrypt."""

    ring: Ring
    secrets: tuple[keys.MemberSecret, ...]
    public_key: bytes
    firsts: tuple[bytes, ...]
    seconds: tuple[bytes, ...]
    relin_key: bytes
    evaluator: Evaluator
    key_shares: dict[int, bytes]
    phases: Phases

    def encrypt(self, slots: Sequence[int]) -> bytes:
        return encrypt(PROFILE, self.public_key, slots)

    def share(self, point: int, ciphertext: bytes, circuit: str) -> bytes:
        return decryption.partial_decryption(
            PROFILE,
            self.key_shares[point],
            ciphertext,
            point=point,
            online=SET,
            seed=bytes([point]) * 32,
            context=b"order",
            circuit=circuit,
        )

    def shares(self, ciphertext: bytes, circuit: str) -> list[bytes]:
        return [self.share(point, ciphertext, circuit) for point in SET]

    def decrypt(self, ciphertext: bytes, circuit: str, slots: int) -> list[int]:
        shares = self.shares(ciphertext, circuit)
        return decryption.combine(PROFILE, ciphertext, shares, slots, circuit=circuit)


@pytest.fixture(scope="session")
def product_ring() -> Ring:
    return profile_ring(PROFILE)


@pytest.fixture(scope="session")
def product(product_ring: Ring) -> ProductAlliance:
    secrets = tuple(keys.member_secret(PROFILE, bytes([9, i]) * 16, CONTEXT) for i in POINTS)
    public_key = keys.combine_public_key(
        PROFILE, CONTEXT, [secret.public_key_share() for secret in secrets]
    )
    deals = [secret.deal(POINTS, 2) for secret in secrets]
    firsts = tuple(relin_first(secret) for secret in secrets)
    seconds = tuple(relin_second(secret, public_key, firsts) for secret in secrets)
    relin_key = combine_relin_key(PROFILE, public_key, firsts, seconds)
    joint = np.sum([secret.coefficients()[0] for secret in secrets], axis=0)
    levels = len(product_ring.profile.data_primes)
    return ProductAlliance(
        ring=product_ring,
        secrets=secrets,
        public_key=public_key,
        firsts=firsts,
        seconds=seconds,
        relin_key=relin_key,
        evaluator=Evaluator(PROFILE, relin_key),
        key_shares={
            point: shamir.aggregate_shares(PROFILE, [deal[point] for deal in deals])
            for point in POINTS
        },
        phases=Phases(product_ring, product_ring.ntt(product_ring.from_signed(joint, levels))[0]),
    )


class ChosenKey:
    """A collective key of which a test chooses the secret and the errors.

    It encrypts with randomness of any size: what a malicious contributor's accepted proof permits.
    """

    KEY_ID = b"k" * 32

    def __init__(self, ring: Ring, secret: Signed, relin_error: Signed) -> None:
        self.ring = ring
        self._numbers = np.random.default_rng(5)
        every, data = ring.profile.key_primes, ring.profile.data_primes
        whole = ring.ntt(ring.from_signed(secret, len(every)))[0]
        self.phases = Phases(ring, whole[: len(data)].copy())
        self.a = self._uniform(1, len(data))
        noise = ring.ntt(ring.from_signed(self.small(21), len(data)))
        self.b = ring.negate(ring.add(ring.multiply(self.a, self.phases.secret), noise))
        common = self._uniform(len(data), len(every))
        square = ring.multiply(whole[None], whole)[0]
        errors = ring.ntt(ring.from_signed(np.repeat(relin_error, len(data), 0), len(every)))
        switch = ring.subtract(gadget(ring, square), ring.multiply(common, whole))
        value = np.concatenate([ring.add(switch, errors), common])
        self.relin_key = RelinKey(self.KEY_ID, value).to_bytes(ring.profile)
        self.evaluator = Evaluator(PROFILE, self.relin_key)

    def small(self, bound: int) -> Signed:
        """Return one polynomial [1, n] uniform on -bound..bound."""
        return self._numbers.integers(-bound, bound, (1, self.ring.profile.degree), endpoint=True)

    def encrypt(self, slots: Sequence[int], *, u: int, e: int) -> bytes:
        """Encrypt with |u| <= u, |e1| <= e and a small e0."""
        ring, count = self.ring, len(self.ring.profile.data_primes)
        message = Ciphertext.parse(ring.profile, self._trivial(slots)).polynomials
        mask = ring.ntt(ring.from_signed(self.small(u), count))[0]
        pair = ring.intt(ring.multiply(np.concatenate([self.b, self.a]), mask))
        errors = ring.from_signed(np.concatenate([self.small(21), self.small(e)]), count)
        total = ring.add(ring.add(pair, errors), message)
        return Ciphertext(self.KEY_ID, total).to_bytes(ring.profile)

    def _trivial(self, slots: Sequence[int]) -> bytes:
        """Return (round(Q m / t), 0): the message alone."""
        from cipherward_threshold.batching import plaintext_coefficients

        profile = self.ring.profile
        modulus, t = profile.data_modulus, profile.plain_modulus
        coefficients = [int(m) for m in plaintext_coefficients(self.ring, slots)]
        scaled = [(2 * modulus * m + t) // (2 * t) for m in coefficients]
        rows = [[x % prime for x in scaled] for prime in profile.data_primes]
        first = np.array([rows], dtype=np.uint64)
        both = np.concatenate([first, np.zeros_like(first)])
        return Ciphertext(self.KEY_ID, both).to_bytes(profile)

    def _uniform(self, count: int, primes: int) -> Residues:
        moduli = np.array(self.ring.profile.key_primes[:primes], dtype=np.uint64)[:, None]
        shape = (count, primes, self.ring.profile.degree)
        return self._numbers.integers(0, moduli, shape, dtype=np.uint64)


@pytest.fixture(scope="session")
def chosen_key(product_ring: Ring) -> Callable[[Signed, Signed], ChosenKey]:
    """Return what makes keys of a chosen secret [1, n] and relinearisation error [1, n]."""
    return lambda secret, error: ChosenKey(product_ring, secret, error)
