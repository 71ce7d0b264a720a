"""Collective keys in TenSEAL's own form, so that its vectors work under them unchanged.

`tenseal.Context.load` takes what `tenseal_context` returns; its `bfv_vector`s then add, multiply
and (with rotation keys) sum as under any public context. They carry no proof of how they were made,
so no study decrypts them: this is for whoever computes with an alliance outside of one, for the
documentation and for the benches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cipherward_threshold.errors import MalformedMessage, WrongKey
from cipherward_threshold.evaluation.messages import RelinKey, RotationKey
from cipherward_threshold.evaluation.rotation import rotation_pairs
from cipherward_threshold.keys import public_key_polynomials
from cipherward_threshold.messages import Ciphertext, PublicKey
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import Residues
from cipherward_threshold.seal_form import read_ciphertext, saved

# TenSEAL's messages (tenseal/proto: tensealcontext.proto, tensors.proto), by field number.
_CONTEXT_PARAMETERS, _CONTEXT_PUBLIC = 1, 2
_PUBLIC_KEY, _PUBLIC_FLAGS, _PUBLIC_RELIN, _PUBLIC_GALOIS = 1, 2, 4, 5
_VECTOR_CIPHERTEXTS = 2
_AUTO_RELINEARISE = 1  # the other flags are CKKS's
_VARINT, _DOUBLE, _BYTES = 0, 1, 2  # wire types of Protocol Buffers


def tenseal_context(
    profile: str,
    public_key: bytes,
    relin_key: bytes | None = None,
    rotation_keys: Sequence[bytes] = (),
) -> bytes:
    """Return a public context for `tenseal.Context.load`.

    Raises:
        WrongKey: an evaluation key of another collective key.
        MalformedMessage, WrongProfile, ResidueOutOfRange: some bytes are not what they should be.
    """
    ring = profile_ring(profile)
    key = PublicKey.parse(ring.profile, public_key)
    level = ring.parms_id(len(ring.profile.key_primes))
    pair = public_key_polynomials(ring, key)
    public = _field(_PUBLIC_KEY, ring.key_form.public_key_bytes(pair, level))
    public += _varint(_PUBLIC_FLAGS << 3 | _VARINT) + _varint(_AUTO_RELINEARISE)
    if relin_key is not None:
        relin = RelinKey.parse(ring.profile, relin_key)
        _same_key(key, relin.key_id)
        half = len(ring.profile.data_primes)
        pairs = np.stack([relin.value[:half], relin.value[half:]], axis=1)
        public += _field(_PUBLIC_RELIN, ring.key_form.switch_key_bytes({0: pairs}, 1, level))
    if rotation_keys:
        entries = dict(_rotation_entry(ring, key, message) for message in rotation_keys)
        content = ring.key_form.switch_key_bytes(entries, ring.profile.degree, level)
        public += _field(_PUBLIC_GALOIS, content)
    return _field(_CONTEXT_PARAMETERS, saved(ring.parameters)) + _field(_CONTEXT_PUBLIC, public)


def vector_ciphertexts(profile: str, public_key: bytes, vector: bytes) -> list[bytes]:
    """Return the ciphertexts of a serialised `bfv_vector` made under a collective key.

    Raises:
        MalformedMessage: not a vector of this profile: SEAL refuses a ciphertext of other
            parameters, of another scheme, or in another form.
        WrongProfile, ResidueOutOfRange: not a public key of this profile.
    """
    ring = profile_ring(profile)
    key = PublicKey.parse(ring.profile, public_key)
    found: list[bytes] = []
    for number, content in _fields(vector):
        if number == _VECTOR_CIPHERTEXTS:
            polynomials = _loaded_polynomials(ring, content)
            found.append(Ciphertext(key.key_id, polynomials).to_bytes(ring.profile))
    return found


def _loaded_polynomials(ring: Ring, content: bytes) -> Residues:
    shape = (2, len(ring.profile.data_primes), ring.profile.degree)
    try:
        ciphertext = ring.key_form.loaded_ciphertext(content)
    except (ValueError, RuntimeError) as refused:  # the binding raises what SEAL throws
        raise MalformedMessage("SEAL refuses the ciphertext") from refused
    polynomials = read_ciphertext(saved(ciphertext))
    if polynomials.shape != shape:
        raise MalformedMessage("the ciphertext has another shape")
    return polynomials


def _rotation_entry(ring: Ring, key: PublicKey, message: bytes) -> tuple[int, Residues]:
    rotation = RotationKey.parse(ring.profile, message)
    _same_key(key, rotation.key_id)
    return (rotation.element - 1) // 2, rotation_pairs(ring, rotation)


def _same_key(key: PublicKey, key_id: bytes) -> None:
    if key.key_id != key_id:
        raise WrongKey("the evaluation key belongs to another collective key")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the length-delimited fields of a message, in order."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while at < len(message):
            octet = message[at]
            at += 1
            value |= (octet & 127) << shift
            shift += 7
            if octet < 128:
                return value
        raise MalformedMessage("the vector is cut short")

    while at < len(message):
        key = number()
        if key & 7 == _VARINT:
            number()
        elif key & 7 == _DOUBLE:
            at += 8
        elif key & 7 == _BYTES:
            length = number()
            if at + length > len(message):
                raise MalformedMessage("the vector is cut short")
            yield key >> 3, message[at : at + length]
            at += length
        else:
            raise MalformedMessage("not a vector of TenSEAL")
