"""The reviewed table of parameters. A study names a profile; nobody chooses numbers at run time.

Security: Homomorphic Encryption Standard (2018), ternary secret, classical 128 bits: log2(QP) at
most 218 for degree 8192 (SEAL's TC128, which SEAL enforces when the ring is built). QP counts the
special prime, because the public key lives modulo QP. The newer guidelines (eprint 2024/463) are a
few bits stricter, so the table stays at 210.
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
    flooding_bits: int  # each guardian floods uniformly on [-2^f, 2^f)
    security_bits: int  # statistical security of one share, see `flooding_security_bits`
    releases_max: int  # shares one key may ever give, so that 40 bits remain over its life
    guardians_max: int  # size of an online set that the noise budget carries
    contributors_max: int  # ciphertexts in one sum
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

    def flooding_security_bits(self, noise_bits: float) -> float:
        """Return lambda of one share whose ciphertext has noise below 2^noise_bits.

        The flooded share is within n * noise / 2^(f + 1) of one that does not depend on the
        secret (statistical distance of shifted uniforms, union over n coefficients).
        """
        return self.flooding_bits + 1 - noise_bits - math.log2(self.degree)


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
        # A wider t would push t times the error past int64 in the later proof of encryption.
        plain_modulus=288230376150876161,
        # The largest size of which ten guardians together stay below Q / 2t = 2^121.
        flooding_bits=117,
        # The proof of correct encryption (a batch of up to 8) permits noise of 2^50.9, except with
        # probability 2^-40: 117 + 1 - 50.9 - 13 = 54. Honest encryptions alone would give 90.
        # 16 dealers take 2 bits of it (their e u' and e' s terms add up as a random walk).
        security_bits=54,
        # 2^(54 - 2 - 40): forty bits must remain over all releases of one key.
        releases_max=4096,
        guardians_max=10,
        # 256 honest ciphertexts of 16 dealers have noise below 2^24.1: far below what is permitted.
        contributors_max=256,
        # Four residues modulo t: a wrong share passes with probability 2^-232 (3 would do).
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
