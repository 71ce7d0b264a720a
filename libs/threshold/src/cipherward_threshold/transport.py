"""Two ways to hand polynomials to SEAL's evaluator: its serialised form, or its own memory.

The zero-copy view is four times faster and depends on the binary interface of one wheel (pybind11
on 64-bit Linux), so `selftest` compares it with SEAL's own serialisation at start, and the bytes
are used where it does not hold. Both are run through the same tests.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable
from typing import Protocol

import numpy as np

from cipherward_threshold.errors import SelfTestFailed
from cipherward_threshold.sampling import Residues
from cipherward_threshold.seal_form import ParmsId, SealForm, read_ciphertext, saved
from cipherward_threshold.sealapi import Ciphertext, seal

Operation = Callable[[Ciphertext, Ciphertext], None]  # (source, destination)

# pybind11: an instance holds the pointer to its C++ object behind the 16-byte Python object head.
_INSTANCE_POINTER_AT = 16
# struct Ciphertext in 64-bit words: parms_id 0-3, ntt flag 4, then these, then a DynArray.
_SIZE, _DEGREE, _PRIMES, _COUNT, _DATA, _WORDS = 5, 6, 7, 13, 14, 15


class Transport(Protocol):
    """Moves polynomials in and out of SEAL. Adapters: `ByteTransport`, `ViewTransport`."""

    def apply(
        self, polynomials: Residues, parms_id: ParmsId, *, ntt: bool, operation: Operation
    ) -> Residues:
        """Return `operation` of the polynomials [k, primes, n], 1 <= k <= 15.

        SEAL wants 2..16 polynomials and refuses a result whose last ones are all zero, so a row of
        ones goes behind them.
        """
        ...

    def read(self, ciphertext: Ciphertext) -> Residues:
        """Return a copy of a ciphertext's polynomials [k, primes, n]."""
        ...


class ByteTransport:
    """Through SEAL's serialised form: works wherever SEAL works."""

    __slots__ = ("_form",)

    def __init__(self, form: SealForm) -> None:
        self._form = form

    def apply(
        self, polynomials: Residues, parms_id: ParmsId, *, ntt: bool, operation: Operation
    ) -> Residues:
        destination = seal.Ciphertext()
        padded = np.concatenate([polynomials, np.ones_like(polynomials[:1])])
        operation(self._form.ciphertext(padded, parms_id, ntt=ntt), destination)
        return self.read(destination)[:-1]

    def read(self, ciphertext: Ciphertext) -> Residues:
        return read_ciphertext(saved(ciphertext))


class ViewTransport:
    """Through numpy views of SEAL's memory. Not thread-safe: the ring holds a lock around it."""

    __slots__ = ("_form", "_scratch")

    def __init__(self, form: SealForm) -> None:
        self._form = form
        self._scratch: dict[tuple[int, int, bool], Ciphertext] = {}

    def apply(
        self, polynomials: Residues, parms_id: ParmsId, *, ntt: bool, operation: Operation
    ) -> Residues:
        size, primes, degree = polynomials.shape
        source = self._scratch.get((size, primes, ntt))
        if source is None:
            ones = np.ones((size + 1, primes, degree), dtype=np.uint64)
            source = self._form.ciphertext(ones, parms_id, ntt=ntt)
            self._scratch[size, primes, ntt] = source
        inside = view(source)[:size]
        destination = seal.Ciphertext()
        inside[:] = polynomials
        try:
            operation(source, destination)
            return view(destination)[:size].copy()
        finally:
            inside[:] = 1  # the scratch outlives the call: leave no secret in it

    def read(self, ciphertext: Ciphertext) -> Residues:
        return view(ciphertext).copy()


def view(ciphertext: Ciphertext) -> Residues:
    """Return the memory of a Ciphertext as [k, primes, n]; valid while the object lives.

    Raises:
        SelfTestFailed: the words found are not this ciphertext's shape.
    """
    if sys.implementation.name != "cpython" or platform.machine() != "x86_64":
        raise SelfTestFailed("the zero-copy view is known for CPython on x86-64 only")
    pointer = ctypes.c_void_p.from_address(id(ciphertext) + _INSTANCE_POINTER_AT).value
    if pointer is None:
        raise SelfTestFailed("the binding keeps its object elsewhere")
    words = (ctypes.c_uint64 * _WORDS).from_address(pointer)
    size, degree, primes = words[_SIZE], words[_DEGREE], words[_PRIMES]
    shape = (ciphertext.size(), ciphertext.poly_modulus_degree(), ciphertext.coeff_modulus_size())
    if (size, degree, primes) != shape or words[_COUNT] != size * degree * primes:
        raise SelfTestFailed("SEAL's ciphertext has another memory layout")
    memory = (ctypes.c_uint64 * words[_COUNT]).from_address(words[_DATA])
    return np.ctypeslib.as_array(memory).reshape(size, primes, degree)
