"""The typed face of `tenseal.sealapi`: exactly what this library uses of SEAL's binding.

The binding ships no types. These protocols state ours, and the one cast is here, so that the rest
of the library is checked strictly. Facts about the binding (tenseal 0.3.18, SEAL 4.3): objects are
saved to and loaded from a *path* only; `save` always compresses with zstd, `load` accepts
uncompressed bytes; a Ciphertext for the Evaluator has 2..16 polynomials and must not be
"transparent" (all but the first zero).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Protocol, cast


class Saved(Protocol):
    """Anything SEAL serialises."""

    def save(self, path: str) -> None: ...


class Modulus(Saved, Protocol):
    def value(self) -> int: ...


class Parameters(Saved, Protocol):
    def set_poly_modulus_degree(self, degree: int) -> None: ...
    def set_coeff_modulus(self, primes: Sequence[Modulus]) -> None: ...
    def set_plain_modulus(self, modulus: int) -> None: ...


class Context(Protocol):
    def parameters_set(self) -> bool: ...
    def parameters_error_message(self) -> str: ...
    def first_parms_id(self) -> list[int]: ...
    def key_parms_id(self) -> list[int]: ...


class Ciphertext(Saved, Protocol):
    def load(self, context: Context, path: str) -> None: ...
    def size(self) -> int: ...
    def poly_modulus_degree(self) -> int: ...
    def coeff_modulus_size(self) -> int: ...
    def __getitem__(self, index: int) -> int: ...


class Plaintext(Saved, Protocol):
    def load(self, context: Context, path: str) -> None: ...


class SecretKey(Saved, Protocol):
    def load(self, context: Context, path: str) -> None: ...


class PublicKey(Saved, Protocol):
    def load(self, context: Context, path: str) -> None: ...


class KeySwitchKeys(Protocol):
    """Relinearisation and rotation keys: SEAL's two classes have one layout."""

    def load(self, context: Context, path: str) -> None: ...


class Evaluator(Protocol):
    def transform_to_ntt(self, encrypted: Ciphertext, destination: Ciphertext) -> None: ...
    def transform_from_ntt(self, encrypted: Ciphertext, destination: Ciphertext) -> None: ...
    def multiply_plain(
        self, encrypted: Ciphertext, plain: Plaintext, destination: Ciphertext
    ) -> None: ...
    def multiply(self, first: Ciphertext, second: Ciphertext, destination: Ciphertext) -> None: ...
    def add_inplace(self, encrypted: Ciphertext, other: Ciphertext) -> None: ...
    def relinearize_inplace(self, encrypted: Ciphertext, keys: KeySwitchKeys) -> None: ...


class Encryptor(Protocol):
    def encrypt(self, plain: Plaintext, destination: Ciphertext) -> None: ...


class Decryptor(Protocol):
    def decrypt(self, encrypted: Ciphertext, destination: Plaintext) -> None: ...


class BatchEncoder(Protocol):
    def encode(self, values: list[int], destination: Plaintext) -> None: ...
    def decode_int64(self, plain: Plaintext) -> list[int]: ...


class _SchemeType(Protocol):
    BFV: object


class _SecurityLevel(Protocol):
    TC128: object
    NONE: object


class _CoeffModulus(Protocol):
    def Create(self, degree: int, bits: list[int]) -> list[Modulus]: ...
    def MaxBitCount(self, degree: int, level: object) -> int: ...


class SealApi(Protocol):
    """The module `tenseal.sealapi`."""

    SCHEME_TYPE: _SchemeType
    SEC_LEVEL_TYPE: _SecurityLevel
    CoeffModulus: _CoeffModulus
    Modulus: Callable[[int], Modulus]
    EncryptionParameters: Callable[[object], Parameters]
    SEALContext: Callable[[Parameters, bool, object], Context]
    Ciphertext: type[Ciphertext]
    Plaintext: type[Plaintext]
    SecretKey: type[SecretKey]
    PublicKey: type[PublicKey]
    RelinKeys: type[KeySwitchKeys]
    Evaluator: Callable[[Context], Evaluator]
    Encryptor: Callable[[Context, PublicKey], Encryptor]
    Decryptor: Callable[[Context, SecretKey], Decryptor]
    BatchEncoder: Callable[[Context], BatchEncoder]


seal = cast(SealApi, importlib.import_module("tenseal.sealapi"))
