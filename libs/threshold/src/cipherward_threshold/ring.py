"""The ring Z_Q[X]/(X^n + 1): numpy polynomials, SEAL's number-theoretic transforms and products.

Polynomials are uint64 arrays [k, primes, n]: k polynomials, residues modulo each prime, in NTT
(evaluation) form unless a name says `coefficients`. All primes of a profile: a key-level
polynomial; all but the special one: data level. SEAL's convention throughout: a public key is
(-(a s + e), a), and decryption is c0 + c1 s = round(Q m / t) + noise. BFV ciphertexts are kept in
coefficient form, as SEAL does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from cipherward_threshold.errors import SelfTestFailed
from cipherward_threshold.parameters import Profile
from cipherward_threshold.sampling import (
    FLOODING_LIMB_BITS,
    Residues,
    Signed,
    Stream,
    flooding_limbs,
)
from cipherward_threshold.seal_form import ParmsId, SealForm, saved, seal_version
from cipherward_threshold.sealapi import Ciphertext, Context, Parameters, Plaintext, seal
from cipherward_threshold.transport import ByteTransport, Operation, Transport

# Polynomials that go through SEAL together. It takes 15 beside the row that is ours, and keeps the
# memory of every size that it has seen: four are as fast, and leave a service 25 MB smaller.
_BATCH_MAX = 4
_EXTRA_PRIME_BITS = 60  # of the arithmetic context's extra prime; any NTT prime would do


class Ring:
    """Arithmetic of one profile. Thread-safe: a lock serialises what goes through SEAL.

    Building one takes about 0.1 s (NTT tables); use `rings.profile_ring`, which keeps it.

    Attributes:
        profile: the parameters.
        parameters: SEAL's own form of them.
        context: SEAL's context, at 128 bits of security by SEAL's own check.
        form: SEAL's serialised forms for arithmetic at either level (polynomials).
        key_form: the same in `context` (keys: there the key level is one).
        transport: how polynomials reach SEAL; `selftest` chooses the faster one that is right.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        primes = profile.key_primes
        self.parameters = _parameters(profile, primes)
        self.context = _context(self.parameters, secure=True)
        # The evaluator refuses key-level objects. A second context with one more prime makes the
        # key level a data level there; the identifier of a level is a hash of its parameters, so
        # objects move freely between the two. It does arithmetic only and encrypts nothing.
        arithmetic = _context(_parameters(profile, (*primes, _extra_prime(profile))), secure=False)
        key_level, data_level = self.context.key_parms_id(), self.context.first_parms_id()
        if arithmetic.first_parms_id() != key_level:
            raise SelfTestFailed("SEAL's level identifiers are not hashes of the parameters")
        self._levels: dict[int, ParmsId] = {
            len(primes): key_level,
            len(profile.data_primes): data_level,
        }
        self._evaluators = {
            len(primes): seal.Evaluator(arithmetic),
            len(profile.data_primes): seal.Evaluator(self.context),
        }
        version = seal_version(saved(self.parameters))
        self.form = SealForm(arithmetic, version, ((data_level, self.context),))
        self.key_form = SealForm(self.context, version)
        self.transport: Transport = ByteTransport(self.form)
        self.lock = threading.RLock()
        self._moduli = np.array(primes, dtype=np.uint64)[:, None]
        shift = self.constant([(1 << FLOODING_LIMB_BITS) % prime for prime in profile.data_primes])
        self._limb_shift = self.form.plaintext(shift, self.parms_id(len(profile.data_primes)))

    def parms_id(self, primes: int) -> ParmsId:
        """Return SEAL's identifier of the level with that many primes (data or key level)."""
        return self._levels[primes]

    def ntt(self, coefficients: Residues) -> Residues:
        """Return the NTT form of polynomials [k, primes, n] in coefficient form."""
        evaluator = self._evaluators[coefficients.shape[1]]
        return self._apply(coefficients, evaluator.transform_to_ntt, ntt=False)

    def intt(self, polynomials: Residues) -> Residues:
        """Return the coefficient form of polynomials [k, primes, n] in NTT form."""
        evaluator = self._evaluators[polynomials.shape[1]]
        return self._apply(polynomials, evaluator.transform_from_ntt, ntt=True)

    def multiply(self, polynomials: Residues, factor: Residues) -> Residues:
        """Return [k, primes, n] times [primes, n], residue by residue.

        In NTT form that is the product of polynomials; with `constant` it scales either form.
        """
        if not factor.any():  # SEAL throws on a product that is zero
            return np.zeros_like(polynomials)
        primes = factor.shape[0]
        plain = self.form.plaintext(factor, self.parms_id(primes))
        return self._apply(polynomials, self._times(plain, primes), ntt=True)

    def _times(self, plain: Plaintext, primes: int) -> Operation:
        evaluator = self._evaluators[primes]

        def product(source: Ciphertext, destination: Ciphertext) -> None:
            evaluator.multiply_plain(source, plain, destination)

        return product

    def add(self, first: Residues, second: Residues) -> Residues:
        """Return the sum of two arrays whose last axes are [primes, n]."""
        total = first + second  # below 2^61: no overflow
        return np.minimum(total, total - self._moduli[: first.shape[-2]])  # wraps to huge below q

    def subtract(self, first: Residues, second: Residues) -> Residues:
        """Return the difference of two arrays whose last axes are [primes, n]."""
        difference = first - second
        return np.minimum(difference, difference + self._moduli[: first.shape[-2]])

    def negate(self, polynomials: Residues) -> Residues:
        """Return minus the polynomials."""
        return self.subtract(np.zeros_like(polynomials), polynomials)

    def sum(self, terms: Sequence[Residues]) -> Residues:
        """Return the sum of at least one array of the same shape."""
        total = terms[0]
        for term in terms[1:]:
            total = self.add(total, term)
        return total

    def constant(self, residues: Sequence[int]) -> Residues:
        """Return [primes, n] that is `residues[j]` everywhere modulo prime j."""
        column = np.array(residues, dtype=np.uint64)[:, None]
        return np.repeat(column, self.profile.degree, axis=1)

    def from_signed(self, values: Signed, primes: int) -> Residues:
        """Return integers [k, n], |value| < 2^63, as residues [k, primes, n], same form."""
        moduli = self._moduli[:primes].astype(np.int64)
        spread = values[:, None, :]
        if -moduli.min() < values.min() and values.max() < moduli.min():  # four times faster
            return np.where(spread < 0, spread + moduli, spread).astype(np.uint64)
        return (spread % moduli).astype(np.uint64)

    def flooding_coefficients(self, stream: Stream, bits: int) -> Residues:
        """Return one data-level polynomial [1, primes, n], uniform on [-2^bits, 2^bits) each.

        Bit-exact: limbs of `FLOODING_LIMB_BITS` bits, summed by Horner's rule in the ring.
        """
        primes = self.profile.data_primes
        first, *others = flooding_limbs(stream, bits, self.profile.degree)
        total = self.from_signed(first, len(primes))
        for limb in others:
            shifted = self._apply(total, self._times(self._limb_shift, len(primes)), ntt=True)
            total = self.add(shifted, self.from_signed(limb, len(primes)))
        return total

    def _apply(
        self,
        polynomials: Residues,
        operation: Callable[[Ciphertext, Ciphertext], None],
        *,
        ntt: bool,
    ) -> Residues:
        """Run an evaluator operation over any number of polynomials, some at a time."""
        parms_id = self.parms_id(polynomials.shape[1])
        with self.lock:
            parts = [
                self.transport.apply(
                    polynomials[start : start + _BATCH_MAX], parms_id, ntt=ntt, operation=operation
                )
                for start in range(0, len(polynomials), _BATCH_MAX)
            ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _parameters(profile: Profile, primes: Sequence[int]) -> Parameters:
    parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
    parameters.set_poly_modulus_degree(profile.degree)
    parameters.set_coeff_modulus([seal.Modulus(prime) for prime in primes])
    parameters.set_plain_modulus(profile.plain_modulus)
    return parameters


def _context(parameters: Parameters, *, secure: bool) -> Context:
    """Return SEAL's context, refusing what SEAL refuses (among others: less than 128 bits)."""
    level = seal.SEC_LEVEL_TYPE.TC128 if secure else seal.SEC_LEVEL_TYPE.NONE
    # Nothing is switched to a smaller modulus, so a context ends at its first data level: the
    # tables of those below are 50 MB for the large profile.
    context = seal.SEALContext(parameters, False, level)
    if not context.parameters_set():
        raise SelfTestFailed(f"SEAL refuses the parameters: {context.parameters_error_message()}")
    return context


def _extra_prime(profile: Profile) -> int:
    """Return an NTT prime that the profile does not use."""
    wanted = [_EXTRA_PRIME_BITS] * (len(profile.key_primes) + 1)
    candidates = (prime.value() for prime in seal.CoeffModulus.Create(profile.degree, wanted))
    return next(prime for prime in candidates if prime not in profile.key_primes)
