"""Computation on ciphertexts under a collective key: the forms that the circuits table covers.

Every result is a CIPHERTEXT message and a function of its inputs alone: guardians compute it again
and compare bytes before they give a share. Inputs are twice-summed proven inputs
(`encryption.sum_contributions`), never contributions, which carry half their message.

Noise: docs/noise.md has one table per circuit; the numbers of columns and the sizes of weights that
are accepted here are those of that table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cipherward_threshold.batching import plaintext_coefficients
from cipherward_threshold.encryption import parsed_ciphertext
from cipherward_threshold.errors import BadForm, TransparentCiphertext, WrongKey
from cipherward_threshold.evaluation.messages import RelinKey
from cipherward_threshold.messages import Ciphertext
from cipherward_threshold.noise import CHECK_WEIGHT_BITS, COLUMNS_MAX, WEIGHT_BITS
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import Residues
from cipherward_threshold.sealapi import Ciphertext as SealCiphertext
from cipherward_threshold.sealapi import seal

Pair = tuple[Ciphertext, Ciphertext]


class Evaluator:
    """Multiplies and adds under one key. Thread-safe.

    Building one loads the relinearisation key into SEAL (about 0.1 s and 12 MB for product-1), so
    keep it while there is work under its key.

    Args:
        profile: name of a parameter profile.
        relin_key: from `relinearisation.combine_relin_key`, tested (`key_check`); check its digest
            against the chain's first.

    Raises:
        UnknownProfile: no profile of that name.
        MalformedMessage, WrongProfile, ResidueOutOfRange: not a relinearisation key.
    """

    def __init__(self, profile: str, relin_key: bytes) -> None:
        self._ring = ring = profile_ring(profile)
        key = RelinKey.parse(ring.profile, relin_key)
        self.key_id = key.key_id
        levels = len(ring.profile.data_primes)
        pairs = np.stack([key.value[:levels], key.value[levels:]], axis=1)
        self._parms_id = ring.parms_id(levels)
        self._relin = ring.key_form.relinearisation_keys(pairs, ring.parms_id(levels + 1))
        self._evaluator = seal.Evaluator(ring.context)

    def multiply(self, first: bytes, second: bytes) -> bytes:
        """Return the product, slot by slot, relinearised.

        Raises:
            WrongKey: a ciphertext is under another key.
            TransparentCiphertext: a c1 is zero.
            MalformedMessage, WrongProfile, ResidueOutOfRange: not a ciphertext.

        Cost: 1 ciphertext-ciphertext product; noise: see "product-sum" in docs/noise.md.
        """
        return self.product_sum([(first, second)])

    def product_sum(self, pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Return the sum of products, relinearised once: circuit "product-sum", "flags" for checks.

        Args:
            pairs: 1..64; one per block of slots, or whatever is to be added.

        Raises:
            BadForm: no pair or too many.
            WrongKey, TransparentCiphertext, MalformedMessage, WrongProfile, ResidueOutOfRange: as
                `multiply`.
        """
        return self._written(self._products([self._pair(*pair) for pair in pairs]))

    def linear(self, columns: Sequence[bytes], weights: Sequence[int]) -> bytes:
        """Return the sum of columns, each times its integer weight: circuit "linear".

        Args:
            columns: 1..64 ciphertexts.
            weights: as many, of either sign, |weight| < 2^20, not all zero.

        Raises:
            BadForm: other numbers or sizes; a result that is zero whatever the columns are.
            WrongKey, TransparentCiphertext, MalformedMessage, WrongProfile, ResidueOutOfRange: as
                `multiply`.
        """
        parsed = self._columns(columns)
        return self._written(self._weighted(parsed, weights, WEIGHT_BITS))

    def slot_weighted(self, columns: Sequence[bytes], weights: Sequence[Sequence[int]]) -> bytes:
        """Return the sum of columns, each times its weights slot by slot: circuit "linear".

        Args:
            columns: 1..64 ciphertexts.
            weights: for each column, 1..`Profile.slots` integers modulo t, centred, not all zero;
                slots without a weight are multiplied by zero.

        Raises:
            BadForm: other numbers, or a column whose weights are all zero.
            TooManySlots, ValueOutOfRange: weights that no plaintext carries.
            WrongKey, TransparentCiphertext, MalformedMessage, WrongProfile, ResidueOutOfRange: as
                `multiply`.

        Cost: 1 ciphertext-plaintext product a column.
        """
        ring = self._ring
        parsed = self._columns(columns)
        if len(weights) != len(parsed) or not all(any(row) for row in weights):
            raise BadForm("each column needs its weights, not all of them zero")
        moduli = np.array(ring.profile.data_primes, dtype=np.uint64)[:, None]
        t = np.uint64(ring.profile.plain_modulus)
        terms: list[Residues] = []
        for column, row in zip(parsed, weights, strict=True):
            coefficients = plaintext_coefficients(ring, row)
            lifted = np.where(coefficients > t >> 1, coefficients + (moduli - t), coefficients)
            factor = ring.ntt(lifted[None])[0]
            terms.append(ring.intt(ring.multiply(ring.ntt(column.polynomials), factor)))
        return self._written(ring.sum(terms))

    def masked_linear(self, mask: bytes, columns: Sequence[bytes], weights: Sequence[int]) -> bytes:
        """Return mask * linear(columns, weights): circuit "masked-linear".

        Raises:
            As `linear`.
        """
        inner = self._weighted(self._columns(columns), weights, WEIGHT_BITS)
        pair = (self._parsed(mask), Ciphertext(self.key_id, inner))
        return self._written(self._products([pair]))

    def flag_check(self, flags: Sequence[bytes], weights: Sequence[int]) -> bytes:
        """Return the sum of weight * (f * f - f): circuit "flags".

        All slots are zero if all flags are 0 or 1; a column that is not passes with a chance of
        2^-32 over weights that nobody could foresee.

        Args:
            flags: 1..64 ciphertexts.
            weights: as many, 1 <= weight < 2^32.

        Raises:
            As `linear`.
        """
        parsed = self._columns(flags)
        weighted = [
            self._weighted([one], [w], CHECK_WEIGHT_BITS) for one, w in _both(parsed, weights)
        ]
        pairs = [
            (Ciphertext(self.key_id, left), right)
            for left, right in zip(weighted, parsed, strict=True)
        ]
        products = self._products(pairs)
        return self._written(self._ring.subtract(products, self._ring.sum(weighted)))

    def mask_check(self, mask: bytes, flags: bytes, weights: tuple[int, int]) -> bytes:
        """Return r (m * m - m) + r' (m - m * f), all zero if the mask is 0 or 1 and within the
        flags: circuit "flags".

        Args:
            weights: (r, r'), each 1 <= weight < 2^32 and different.

        Raises:
            As `linear`.
        """
        first, second = weights
        if first == second:
            raise BadForm("the two weights of a mask check differ")
        both = [self._parsed(mask), self._parsed(flags)]
        factor = self._weighted(both, [first, -second], CHECK_WEIGHT_BITS)
        product = self._products([(both[0], Ciphertext(self.key_id, factor))])
        rest = self._weighted(both[:1], [second - first], CHECK_WEIGHT_BITS)
        return self._written(self._ring.add(product, rest))

    def add(self, first: bytes, second: bytes) -> bytes:
        """Return the sum; noises add up.

        Raises:
            WrongKey, TransparentCiphertext, MalformedMessage, WrongProfile, ResidueOutOfRange: as
                `multiply`.
        """
        left, right = self._pair(first, second)
        return self._written(self._ring.add(left.polynomials, right.polynomials))

    def subtract(self, first: bytes, second: bytes) -> bytes:
        """Return the difference; noises add up. Raises as `add`."""
        left, right = self._pair(first, second)
        return self._written(self._ring.subtract(left.polynomials, right.polynomials))

    def _weighted(
        self, columns: Sequence[Ciphertext], weights: Sequence[int], bits: int
    ) -> Residues:
        """Return the sum of weight * column as [2, L, n]."""
        if any(abs(weight) >> bits for weight in weights) or not any(weights):
            raise BadForm(f"weights are below 2^{bits} and not all zero")
        ring = self._ring
        primes = ring.profile.data_primes
        return ring.sum(
            [
                ring.multiply(one.polynomials, ring.constant([weight % q for q in primes]))
                for one, weight in _both(columns, weights)
            ]
        )

    def _products(self, pairs: Sequence[Pair]) -> Residues:
        """Return the sum of products as [2, L, n]: added before they are relinearised, once."""
        if not 1 <= len(pairs) <= COLUMNS_MAX:
            raise BadForm("another number of products", have=len(pairs), most=COLUMNS_MAX)
        ring = self._ring
        with ring.lock:
            try:
                total = self._product(*pairs[0])
                for pair in pairs[1:]:
                    self._evaluator.add_inplace(total, self._product(*pair))
                self._evaluator.relinearize_inplace(total, self._relin)
            except RuntimeError as refused:  # SEAL's word for a product or a sum of zeros
                raise TransparentCiphertext("the products encrypt nothing") from refused
            return ring.transport.read(total)

    def _product(self, first: Ciphertext, second: Ciphertext) -> SealCiphertext:
        left, right = (
            self._ring.key_form.ciphertext(one.polynomials, self._parms_id, ntt=False)
            for one in (first, second)
        )
        product = seal.Ciphertext()
        self._evaluator.multiply(left, right, product)
        return product

    def _columns(self, columns: Sequence[bytes]) -> list[Ciphertext]:
        if not 1 <= len(columns) <= COLUMNS_MAX:
            raise BadForm("another number of columns", have=len(columns), most=COLUMNS_MAX)
        return [self._parsed(column) for column in columns]

    def _pair(self, first: bytes, second: bytes) -> Pair:
        return self._parsed(first), self._parsed(second)

    def _parsed(self, ciphertext: bytes) -> Ciphertext:
        parsed = parsed_ciphertext(self._ring.profile, ciphertext)
        if parsed.key_id != self.key_id:
            raise WrongKey("the ciphertext is under another key than the evaluator's")
        return parsed

    def _written(self, polynomials: Residues) -> bytes:
        if not polynomials[1].any():
            raise TransparentCiphertext("c1 is zero: this is no encryption")
        return Ciphertext(self.key_id, polynomials).to_bytes(self._ring.profile)


def _both(columns: Sequence[Ciphertext], weights: Sequence[int]) -> list[tuple[Ciphertext, int]]:
    if len(columns) != len(weights):
        raise BadForm("each column needs one weight", have=len(weights), need=len(columns))
    return list(zip(columns, weights, strict=True))
