"""SEAL's serialised layouts <-> numpy, through anonymous memory files.

The layouts are those of SEAL 4.x, little endian (all offsets in bytes):

    header 16:   u16 0xA15E | u8 16 | u8 major | u8 minor | u8 compression | u16 0 | u64 total
    ciphertext:  0 parms_id 4 x u64 | 32 ntt u8 | 33 size u64 | 41 n u64 | 49 primes u64
                 57 scale f64 | 65 correction u64 | 73 inner header | 89 count u64 | 97 u64 data
    plaintext:   0 parms_id | 32 coefficients u64 | 40 scale f64 | 48 inner header | 64 count u64
                 72 u64 data           (a secret key is a plaintext, a public key a ciphertext)
    switch keys: 0 parms_id | 32 entries u64 | per entry: count u64, whole public keys

`selftest` holds them against the installed SEAL before anything else runs. Linux only: a memory
file has a path under /proc, and SEAL takes paths only.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import zstandard
from numpy.typing import NDArray

from cipherward_threshold.errors import SelfTestFailed
from cipherward_threshold.sampling import Residues
from cipherward_threshold.sealapi import (
    Ciphertext,
    Context,
    KeySwitchKeys,
    Plaintext,
    PublicKey,
    Saved,
    SecretKey,
    seal,
)

_MAGIC = 0xA15E  # SEAL's own
_HEADER = struct.Struct("<HBBBBHQ")
_CIPHERTEXT = struct.Struct("<4QB3QdQ")
_PLAINTEXT = struct.Struct("<4QQd")
_STORED, _ZSTD = 0, 2  # SEAL's compr_mode_type
_CIPHERTEXT_COUNT_AT, _CIPHERTEXT_DATA_AT = 89, 97
_PLAINTEXT_COUNT_AT, _PLAINTEXT_DATA_AT = 64, 72

ParmsId = list[int]  # 4 words: SEAL's hash of the parameters of one level


class MemoryFile:
    """An anonymous in-memory file with a path; a context manager that closes it."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, content: bytes = b"") -> None:
        self._descriptor = os.memfd_create("seal", os.MFD_CLOEXEC)
        self.path = f"/proc/self/fd/{self._descriptor}"
        written = 0
        while written < len(content):
            written += os.pwrite(self._descriptor, memoryview(content)[written:], written)

    def __enter__(self) -> MemoryFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read(self) -> bytes:
        """Return the whole content."""
        return os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)


def saved(item: Saved) -> bytes:
    """Return SEAL's own serialisation of `item` (zstd-compressed by SEAL)."""
    with MemoryFile() as file:
        item.save(file.path)
        return file.read()


_Loaded = TypeVar("_Loaded", Ciphertext, Plaintext, SecretKey, PublicKey, KeySwitchKeys)


def _loaded(empty: _Loaded, context: Context, content: bytes) -> _Loaded:
    """Fill `empty` from bytes; SEAL validates them against the context."""
    with MemoryFile(content) as file:
        empty.load(context, file.path)
    return empty


class SealForm:
    """Writes and reads SEAL objects as numpy arrays.

    Args:
        context: validates whatever is loaded.
        version: SEAL's (major, minor), read from a live object: its loader compares them.
        others: levels that another context validates.
    """

    __slots__ = ("_context", "_others", "_version")

    def __init__(
        self,
        context: Context,
        version: tuple[int, int],
        others: Sequence[tuple[ParmsId, Context]] = (),
    ) -> None:
        self._context = context
        self._others = tuple(others)
        self._version = version

    def _at(self, parms_id: ParmsId) -> Context:
        """Return the context that a level is loaded in."""
        return next((one for level, one in self._others if level == parms_id), self._context)

    def ciphertext(self, polynomials: Residues, parms_id: ParmsId, *, ntt: bool) -> Ciphertext:
        """Return [k, primes, n] as a SEAL Ciphertext."""
        content = self._ciphertext_bytes(polynomials, parms_id, ntt=ntt)
        return _loaded(seal.Ciphertext(), self._at(parms_id), content)

    def public_key(self, polynomials: Residues, parms_id: ParmsId) -> PublicKey:
        """Return (b, a) as [2, primes, n], NTT form, as a SEAL PublicKey."""
        content = self._ciphertext_bytes(polynomials, parms_id, ntt=True)
        return _loaded(seal.PublicKey(), self._context, content)

    def plaintext(self, polynomial: Residues, parms_id: ParmsId) -> Plaintext:
        """Return [primes, n], NTT form, as a SEAL Plaintext to multiply by."""
        content = self._plaintext_bytes(polynomial, parms_id)
        return _loaded(seal.Plaintext(), self._at(parms_id), content)

    def secret_key(self, polynomial: Residues, parms_id: ParmsId) -> SecretKey:
        """Return [primes, n], NTT form, as a SEAL SecretKey."""
        content = self._plaintext_bytes(polynomial, parms_id)
        return _loaded(seal.SecretKey(), self._context, content)

    def loaded_ciphertext(self, content: bytes) -> Ciphertext:
        """Return a Ciphertext that another SEAL saved; SEAL raises unless it fits the context."""
        return _loaded(seal.Ciphertext(), self._context, content)

    def relinearisation_keys(self, polynomials: Residues, parms_id: ParmsId) -> KeySwitchKeys:
        """Return (b_j, a_j) as [L, 2, primes, n], NTT form, as SEAL RelinKeys."""
        content = self.switch_key_bytes({0: polynomials}, 1, parms_id)
        return _loaded(seal.RelinKeys(), self._context, content)

    def public_key_bytes(self, polynomials: Residues, parms_id: ParmsId) -> bytes:
        """Return (b, a) as [2, primes, n], NTT form, as SEAL saves a PublicKey, uncompressed."""
        return self._ciphertext_bytes(polynomials, parms_id, ntt=True)

    def switch_key_bytes(
        self, entries: Mapping[int, Residues], count: int, parms_id: ParmsId
    ) -> bytes:
        """Return SEAL's RelinKeys or GaloisKeys: `count` entries, those not given empty.

        Args:
            entries: by index, (b_j, a_j) as [L, 2, primes, n], NTT form.
        """
        parts = [struct.pack("<4QQ", *parms_id, count)]
        for index in range(count):
            pairs = entries.get(index)
            parts.append(struct.pack("<Q", 0 if pairs is None else len(pairs)))
            if pairs is not None:
                parts.extend(self._ciphertext_bytes(pair, parms_id, ntt=True) for pair in pairs)
        return self._packed(b"".join(parts))

    def _ciphertext_bytes(self, polynomials: Residues, parms_id: ParmsId, *, ntt: bool) -> bytes:
        size, primes, degree = polynomials.shape
        fixed = _CIPHERTEXT.pack(*parms_id, int(ntt), size, degree, primes, 1.0, 1)
        return self._packed(fixed + self._array(polynomials))

    def _plaintext_bytes(self, polynomial: Residues, parms_id: ParmsId) -> bytes:
        fixed = _PLAINTEXT.pack(*parms_id, polynomial.size, 1.0)
        return self._packed(fixed + self._array(polynomial))

    def _array(self, values: Residues) -> bytes:
        raw = np.ascontiguousarray(values, dtype="<u8").tobytes()
        return self._packed(struct.pack("<Q", values.size) + raw)

    def _packed(self, body: bytes) -> bytes:
        major, minor = self._version
        total = _HEADER.size + len(body)
        return _HEADER.pack(_MAGIC, _HEADER.size, major, minor, _STORED, 0, total) + body


def seal_version(content: bytes) -> tuple[int, int]:
    """Return (major, minor) from the header of anything that SEAL saved."""
    magic, size, major, minor, *_ = _HEADER.unpack_from(content)
    if (magic, size) != (_MAGIC, _HEADER.size):
        raise SelfTestFailed("SEAL's header has another layout")
    return major, minor


def read_ciphertext(content: bytes) -> Residues:
    """Return the polynomials [k, primes, n] of a Ciphertext that this process's SEAL saved.

    Not for bytes of a peer: those come in wire form (`wire`), which is parsed strictly.

    Raises:
        SelfTestFailed: another layout or compression than the one this library knows.
    """
    body = _body(content)
    *_, size, degree, primes, _scale, _correction = _CIPHERTEXT.unpack_from(body)
    (count,) = struct.unpack_from("<Q", body, _CIPHERTEXT_COUNT_AT)
    if count != size * degree * primes:
        raise SelfTestFailed("SEAL's ciphertext has another layout")
    values = np.frombuffer(body, "<u8", count, _CIPHERTEXT_DATA_AT)
    return values.astype(np.uint64, copy=False).reshape(size, primes, degree)


def read_plaintext(content: bytes, degree: int) -> NDArray[np.uint64]:
    """Return the coefficients [n] of a BFV Plaintext that this process's SEAL saved.

    SEAL stores as many as it needs; the rest are zero.

    Raises:
        SelfTestFailed: another layout or compression than the one this library knows.
    """
    body = _body(content)
    *_, stored, _scale = _PLAINTEXT.unpack_from(body)
    (count,) = struct.unpack_from("<Q", body, _PLAINTEXT_COUNT_AT)
    if count != stored or count > degree:
        raise SelfTestFailed("SEAL's plaintext has another layout")
    coefficients = np.zeros(degree, dtype=np.uint64)
    coefficients[:count] = np.frombuffer(body, "<u8", count, _PLAINTEXT_DATA_AT)
    return coefficients


def _body(content: bytes) -> bytes:
    magic, size, _major, _minor, compression, _zero, total = _HEADER.unpack_from(content)
    if (magic, size) != (_MAGIC, _HEADER.size) or total > len(content):
        raise SelfTestFailed("SEAL's header has another layout")
    body = content[_HEADER.size : total]
    if compression == _STORED:
        return body
    if compression == _ZSTD:
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    raise SelfTestFailed("SEAL compressed with another method than zstd")
