"""Slots <-> plaintexts <-> ciphertexts, by SEAL's own batch encoder, encryptor and rounding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cipherward_threshold.errors import ResultIsNoise, TooManySlots, ValueOutOfRange
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Residues
from cipherward_threshold.seal_form import read_plaintext, saved
from cipherward_threshold.sealapi import Plaintext, seal


def encrypt_slots(ring: Ring, public_key: Residues, slots: Sequence[int]) -> Residues:
    """Encrypt integers with SEAL's encryptor and SEAL's own randomness.

    Args:
        public_key: (b, a) as [2, 4, n], NTT form.
        slots: 1..`Profile.slots` integers, |value| <= `Profile.message_bound`; the rest are zero.

    Returns:
        (c0, c1) as [2, 3, n], coefficient form.

    Raises:
        TooManySlots: no value, or more than a ciphertext carries.
        ValueOutOfRange: a value does not fit the plaintext modulus.
    """
    profile = ring.profile
    ciphertext = seal.Ciphertext()
    with ring.lock:
        plain = _encoded(ring, slots)
        key = ring.key_form.public_key(public_key, ring.parms_id(len(profile.key_primes)))
        seal.Encryptor(ring.context, key).encrypt(plain, ciphertext)
        return ring.transport.read(ciphertext)


def plaintext_coefficients(ring: Ring, slots: Sequence[int]) -> NDArray[np.uint64]:
    """Return the polynomial [n], coefficients in 0..t - 1, that carries these slots.

    Args:
        slots: as `encrypt_slots` takes them.

    Raises:
        TooManySlots, ValueOutOfRange: as `encrypt_slots`.
    """
    with ring.lock:
        return read_plaintext(saved(_encoded(ring, slots)), ring.profile.degree)


def _encoded(ring: Ring, slots: Sequence[int]) -> Plaintext:
    """Return SEAL's plaintext of some slots, the rest zero; the caller holds the ring's lock."""
    checked_slot_count(ring, len(slots))
    bound = ring.profile.message_bound
    if min(slots) < -bound or max(slots) > bound:
        raise ValueOutOfRange("a slot does not fit the plaintext modulus")
    plain = seal.Plaintext()
    seal.BatchEncoder(ring.context).encode(list(slots), plain)
    return plain


def rounded_slots(ring: Ring, phase: Residues) -> list[int]:
    """Return all n slots of round(t / Q * phase) mod t, centred; no check of any kind.

    SEAL's decryptor does the rounding: under the zero secret key (phase, 0) decrypts to it.

    Args:
        phase: c0 + c1 s as [1, 3, n], coefficient form.
    """
    profile = ring.profile
    zero = np.zeros((len(profile.key_primes), profile.degree), dtype=np.uint64)
    pair = np.concatenate([phase, np.zeros_like(phase)])
    plain = seal.Plaintext()
    with ring.lock:
        key = ring.key_form.secret_key(zero, ring.parms_id(len(profile.key_primes)))
        ciphertext = ring.key_form.ciphertext(
            pair, ring.parms_id(len(profile.data_primes)), ntt=False
        )
        seal.Decryptor(ring.context, key).decrypt(ciphertext, plain)
        return seal.BatchEncoder(ring.context).decode_int64(plain)


def result_slots(ring: Ring, phase: Residues, count: int) -> list[int]:
    """Return the first `count` slots of a decryption, if its check slots are all zero.

    A wrong share or ciphertext changes every slot, so the reserved ones tell noise from a result
    (a party that knows how can still add to chosen slots: shares must be signed).

    Raises:
        TooManySlots: `count` is not in 1..`Profile.slots`.
        ResultIsNoise: a check slot is not zero.
    """
    checked_slot_count(ring, count)
    slots = rounded_slots(ring, phase)
    if any(slots[ring.profile.slots :]):
        raise ResultIsNoise("the shares do not decrypt the ciphertext")
    return slots[:count]


def checked_slot_count(ring: Ring, count: int) -> None:
    """Refuse a number of slots that one ciphertext does not carry."""
    if not 1 <= count <= ring.profile.slots:
        raise TooManySlots(
            "a ciphertext carries another number of slots", have=count, most=ring.profile.slots
        )
