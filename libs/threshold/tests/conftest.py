"""A small alliance of four and big-integer arithmetic to hold it against."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from cipherward_threshold import decryption, domains, encryption, keys, shamir, switching
from cipherward_threshold.batching import rounded_slots
from cipherward_threshold.dealing.checks import Dealt, deal_check
from cipherward_threshold.proofs.contributions import encrypt_contribution
from cipherward_threshold.proofs.messages import Contribution
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import Residues, Stream, ternary
from cipherward_threshold.transport import ByteTransport, ViewTransport

PROFILE = "additive-1"
CONTEXT = b"chain test, study 1, attempt 1"
POINTS = (1, 2, 3, 4)
THRESHOLD = 3
CHALLENGE = b"c" * 32


@dataclass(frozen=True)
class Alliance:
    """Four members after their key ceremony, any three of whom decrypt."""

    ring: Ring
    secrets: tuple[keys.MemberSecret, ...]
    public_key_shares: tuple[bytes, ...]
    public_key: bytes
    key_shares: dict[int, bytes]
    joint_secret: list[int]  # coefficients; nobody holds this outside a test

    def seed(self, point: int) -> bytes:
        return bytes([point]) * 32

    def encrypt(self, slots: Sequence[int]) -> bytes:
        return encryption.encrypt(PROFILE, self.public_key, slots)

    def contribute(self, *batches: Sequence[int], context: bytes = b"contribution") -> Contribution:
        return encrypt_contribution(PROFILE, self.public_key, batches, context=context)

    def phase(self, polynomials: Residues) -> Residues:
        """Return c0 + c1 s of a ciphertext [2, primes, n], with the secret that nobody holds."""
        ring = self.ring
        values = np.array([self.joint_secret], dtype=np.int64)
        secret = ring.ntt(ring.from_signed(values, polynomials.shape[1]))[0]
        masked = ring.intt(ring.multiply(ring.ntt(polynomials[1:]), secret))
        return ring.add(polynomials[:1], masked)

    def opened(self, polynomials: Residues) -> list[int]:
        """Return all slots of a ciphertext, check slots among them."""
        return rounded_slots(self.ring, self.phase(polynomials))

    def share(
        self, point: int, ciphertext: bytes, online: Sequence[int], context: bytes = b"order"
    ) -> bytes:
        return decryption.partial_decryption(
            PROFILE,
            self.key_shares[point],
            ciphertext,
            point=point,
            online=online,
            seed=self.seed(point),
            context=context,
            circuit="sum",
        )

    def switch(
        self, point: int, ciphertext: bytes, online: Sequence[int], requester_public_key: bytes
    ) -> bytes:
        return switching.switch_share(
            PROFILE,
            self.key_shares[point],
            ciphertext,
            requester_public_key=requester_public_key,
            point=point,
            online=online,
            seed=self.seed(point),
            context=b"order",
            circuit="sum",
        )


@dataclass(frozen=True)
class DealRound:
    """What four dealers have dealt and published, in the order of their points."""

    deals: tuple[Mapping[int, bytes], ...]
    dealt: tuple[Dealt, ...]

    def received(self, point: int) -> list[bytes]:
        return [deals[point] for deals in self.deals]

    def checks(self, challenge: bytes = CHALLENGE) -> dict[int, bytes]:
        return {point: deal_check(PROFILE, self.received(point), challenge) for point in POINTS}

    def name(self, ring: Ring, dealer: int) -> bytes:
        share = self.dealt[dealer].public_key_share
        return keys.public_key_share_digest(ring.profile, share)

    def with_deal(self, dealer: int, point: int, deal: bytes) -> DealRound:
        deals = list(self.deals)
        deals[dealer] = {**deals[dealer], point: deal}
        return replace(self, deals=tuple(deals))


class BigIntegers:
    """The same arithmetic with Python's integers: no NTT, no RNS, no SEAL."""

    def __init__(self, ring: Ring) -> None:
        self.degree = ring.profile.degree
        self.all_primes = ring.profile.key_primes

    def lift(self, residues: Residues) -> list[int]:
        """Return coefficients [primes, n] as integers in (-M/2, M/2], M the product."""
        primes = self.all_primes[: len(residues)]
        modulus = math.prod(primes)
        total = [0] * self.degree
        for prime, row in zip(primes, residues, strict=True):
            rest = modulus // prime
            weight = rest * pow(rest, -1, prime)
            total = [so_far + weight * int(x) for so_far, x in zip(total, row, strict=True)]
        return [self.centred(x, modulus) for x in total]

    @staticmethod
    def centred(value: int, modulus: int) -> int:
        value %= modulus
        return value - modulus if value > modulus // 2 else value

    def product(self, first: Sequence[int], second: Sequence[int]) -> list[int]:
        """Return the product modulo X^n + 1, over the integers (Kronecker substitution)."""
        n = self.degree
        most = n * max(map(abs, first)) * max(map(abs, second))
        width = (most.bit_length() + 2 + 7) // 8  # bytes a coefficient, one bit for its sign
        flat = self._packed(first, width) * self._packed(second, width)
        half = 1 << (8 * width - 1)
        offset = int.from_bytes(half.to_bytes(width, "little") * (2 * n), "little")
        raw = (flat + offset).to_bytes(2 * n * width + 1, "little")
        digits = [
            int.from_bytes(raw[i * width : (i + 1) * width], "little") - half for i in range(2 * n)
        ]
        return [digits[i] - digits[n + i] for i in range(n)]

    @staticmethod
    def _packed(values: Sequence[int], width: int) -> int:
        positive = b"".join(max(x, 0).to_bytes(width, "little") for x in values)
        negative = b"".join(max(-x, 0).to_bytes(width, "little") for x in values)
        return int.from_bytes(positive, "little") - int.from_bytes(negative, "little")


def secret_coefficients(secret: keys.MemberSecret, seed: bytes, degree: int) -> list[int]:
    """Derive a member's ternary secret again, from its definition."""
    stream = Stream(domains.MEMBER_SECRET, seed, secret.profile.encode(), secret.context_digest)
    return [int(x) for x in ternary(stream, degree)[0]]


@pytest.fixture(scope="session")
def ring() -> Ring:
    return profile_ring(PROFILE)


@pytest.fixture(scope="session")
def big(ring: Ring) -> BigIntegers:
    return BigIntegers(ring)


@pytest.fixture(scope="session")
def alliance(ring: Ring) -> Alliance:
    seeds = [bytes([100 + point]) * 32 for point in POINTS]
    secrets = tuple(keys.member_secret(PROFILE, seed, CONTEXT) for seed in seeds)
    shares = tuple(secret.public_key_share() for secret in secrets)
    deals = [secret.deal(POINTS, THRESHOLD) for secret in secrets]
    parts = [
        secret_coefficients(secret, seed, ring.profile.degree)
        for secret, seed in zip(secrets, seeds, strict=True)
    ]
    return Alliance(
        ring=ring,
        secrets=secrets,
        public_key_shares=shares,
        public_key=keys.combine_public_key(PROFILE, CONTEXT, shares),
        key_shares={
            point: shamir.aggregate_shares(PROFILE, [deal[point] for deal in deals])
            for point in POINTS
        },
        joint_secret=[sum(coefficients) for coefficients in zip(*parts, strict=True)],
    )


@pytest.fixture(scope="session")
def dealing(alliance: Alliance) -> DealRound:
    return DealRound(
        tuple(secret.deal(POINTS, THRESHOLD) for secret in alliance.secrets),
        tuple(
            Dealt(share, secret.mask_share(POINTS, THRESHOLD))
            for secret, share in zip(alliance.secrets, alliance.public_key_shares, strict=True)
        ),
    )


@pytest.fixture(params=["view", "bytes"])
def either_transport(request: pytest.FixtureRequest, ring: Ring) -> Iterator[None]:
    """Run a test through SEAL's memory and through its serialised form."""
    chosen = ring.transport
    form = {"view": ViewTransport, "bytes": ByteTransport}[request.param]
    ring.transport = form(ring.form)
    yield
    ring.transport = chosen


@pytest.fixture(scope="session")
def contributions() -> list[list[int]]:
    """Four hospitals' 35 values each, of either sign and many sizes."""
    numbers = np.random.default_rng(7)
    sizes = 2 ** numbers.integers(1, 54, 35)
    signed = numbers.integers(-sizes, sizes, (4, 35))
    return [[int(value) for value in row] for row in signed]


@pytest.fixture(scope="session")
def requester() -> switching.RequesterKey:
    return switching.RequesterKey.generate(PROFILE, b"r" * 32)


@pytest.fixture(scope="session")
def contribution(alliance: Alliance) -> Contribution:
    """A proven batch of two, for the context b"contribution"."""
    return alliance.contribute([1, -2, 3], [2**50, 7])


@pytest.fixture(scope="session")
def ciphertext(alliance: Alliance) -> bytes:
    return alliance.encrypt([4, 5, 6])


@pytest.fixture(scope="session")
def shares(alliance: Alliance, ciphertext: bytes) -> list[bytes]:
    return [alliance.share(point, ciphertext, (1, 2, 3)) for point in (1, 2, 3)]


@pytest.fixture(scope="session")
def switch_shares(
    alliance: Alliance, ciphertext: bytes, requester: switching.RequesterKey
) -> list[bytes]:
    public_key = requester.public_key()
    return [alliance.switch(point, ciphertext, (1, 2, 3), public_key) for point in (1, 2, 3)]
