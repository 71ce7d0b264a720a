"""The reviewed table of parameters. A study names a profile; nobody chooses numbers at run time.

Security: Homomorphic Encryption Standard (2018), ternary secret, classical 128 bits: log2(QP) at
most 218 for degree 8192 and 438 for 16384 (SEAL's TC128, which SEAL enforces when the ring is
built). QP counts the special prime, because public and evaluation keys live modulo QP. The newer
guidelines (eprint 2024/463) are a few bits stricter, so the table stays at 210 and 420.

What a ciphertext's noise is, and how it is flooded, depends on what was done to it: `circuits`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cipherward_threshold.errors import UnknownProfile

CBD_BOUND = 21  # centred binomial error, 21 - 21 bits: |e| <= 21, sigma = sqrt(10.5) = 3.24 as SEAL


@dataclass(frozen=True, slots=True)
class Profile:
    """One row of the table; every number has its reason in `_PROFILES`."""

    name: str
    number: int  # the profile's byte in message headers; never reused
    degree: int  # n: coefficients of a polynomial, also slots of a plaintext
    data_primes: tuple[int, ...]  # Q: what ciphertexts and decryption shares live modulo
    special_prime: int  # P: only public keys carry it; SEAL's encryptor divides by it
    plain_modulus: int  # t: prime, 1 mod 2n, so that a plaintext is n independent slots
    members_max: int  # dealers of one key that the noise bounds cover
    guardians_max: int  # size of an online set that the noise budget carries
    contributors_max: int  # proven inputs of one sum, re-randomising zeros included
    check_slots: int  # last slots, always zero: they tell a wrong share from a result

    @property
    def key_primes(self) -> tuple[int, ...]:
        """Data primes and the special prime, in SEAL's order."""
        return (*self.data_primes, self.special_prime)

    @property
    def slots(self) -> int:
        """Values that one ciphertext carries."""
        return self.degree - self.check_slots

    @property
    def data_modulus(self) -> int:
        """Q, the product of the data primes."""
        return math.prod(self.data_primes)

    @property
    def message_bound(self) -> int:
        """Largest absolute value of a slot of a *sum*: (t - 1) / 2."""
        return (self.plain_modulus - 1) // 2

    def fresh_noise_bound(self, members: int) -> int:
        """Return a worst-case bound on the noise of one honest encryption.

        SEAL encrypts modulo QP and divides by P. What remains is the rounding of both components,
        at most (1 + |s|_1) / 2 with |s|_1 <= members * n, the divided error terms, below
        (2 * members * n + 1) * 21 / P, and one for SEAL's rounding of Q m / t.

        Args:
            members: dealers whose ternary secrets add up to the joint secret, at least 1.
        """
        weight = members * self.degree
        divided = (2 * weight + 1) * CBD_BOUND // self.special_prime + 1
        return (1 + weight) // 2 + 1 + divided + 1

    def noise_capacity(self) -> int:
        """Return floor(Q / 2t) - 1: total noise below it decrypts exactly, always."""
        return self.data_modulus // (2 * self.plain_modulus) - 1


_MEMBERS_MAX = 16  # the alliances that the noise bounds are stated for
# One input of every member, and the zeros of three re-randomisations by ten guardians each: every
# malicious input adds its permitted noise, so the number costs security and is no larger than that.
_INPUTS_MAX = _MEMBERS_MAX + 3 * 10

_PROFILES = {
    "additive-1": Profile(
        name="additive-1",
        number=1,
        # 128 bits allow log2(QP) <= 218 here; 4096 would allow 109, too little for any flooding.
        degree=8192,
        # Three 60-bit primes, each 1 mod 2n: Q = 2^180 leaves 2^121 between t and wrap-around,
        # which the flooding needs once noise is bounded only by a proof of correct encryption.
        data_primes=(1152921504606683137, 1152921504606748673, 1152921504606830593),
        # 30 bits keep QP at 210 < 218; large enough to divide the encryption's error away.
        special_prime=1073692673,
        # The largest 58-bit prime that is 1 mod 2n: sums of 2^33 at a fixed-point step of 2^-24.
        # A wider t would push t times the error past int64 in the proof of encryption.
        plain_modulus=288230376150876161,
        # The largest alliance whose public-key shares all go into one key.
        members_max=_MEMBERS_MAX,
        # Ten floods of 2^117 together stay below Q / 2t = 2^121.
        guardians_max=10,
        contributors_max=_INPUTS_MAX,
        # Four residues modulo t: a wrong share passes with probability 2^-232 (3 would do).
        check_slots=4,
    ),
    "product-1": Profile(
        name="product-1",
        number=2,
        # A product of two proven sums, and an evaluation key of which only a test decryption
        # bounds the error, need more than 2^280 between t and wrap-around: too much for 8192.
        degree=16384,
        # Six 60-bit primes, each 1 mod 2n: Q = 2^360 leaves 2^301. Five would leave 2^241, less
        # than the 2^215 that the test lets pass, flooded by 53 + 14 bits.
        data_primes=(
            1152921504599080961,
            1152921504600260609,
            1152921504604979201,
            1152921504605962241,
            1152921504606584833,
            1152921504606683137,
        ),
        # Key switching divides by it what the 60-bit digits multiply; QP = 420 <= 430.
        special_prime=1152921504606748673,
        # The largest 58-bit prime that is 1 mod 2n, so that both profiles carry the same values.
        plain_modulus=288230376150630401,
        members_max=_MEMBERS_MAX,
        # Ten floods of 2^287 together leave ten bits below Q / 2t = 2^301.
        guardians_max=10,
        contributors_max=_INPUTS_MAX,
        # As above; products and sums of zeros are zeros.
        check_slots=4,
    ),
}


def profile(name: str) -> Profile:
    """Return the profile of that name.

    Raises:
        UnknownProfile: the table has none.
    """
    try:
        return _PROFILES[name]
    except KeyError:
        raise UnknownProfile("no parameter profile of that name") from None


def profile_names() -> tuple[str, ...]:
    """Return every name in the table."""
    return tuple(_PROFILES)
