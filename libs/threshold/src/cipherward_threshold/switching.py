"""Collective public-key switch: the result under the requester's own key, which nobody else reads.

Mouchet et al., PETS 2021, protocol PubKeySwitch. The requester's public key is made here at data
level with a polynomial that nobody can choose. Guardians must take the requester's fingerprint
from the order that they carry out, never from whoever relays it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cipherward_threshold import domains
from cipherward_threshold.circuits import circuit as circuit_named
from cipherward_threshold.decryption import check_whole_set, flooded_product, opened
from cipherward_threshold.encryption import digest_of_c1, parsed_ciphertext
from cipherward_threshold.errors import WrongRequester
from cipherward_threshold.messages import RequesterPublicKey, Switched, SwitchShare
from cipherward_threshold.parameters import profile as profile_named
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import (
    Residues,
    Stream,
    centred_binomial,
    checked_seed,
    ternary,
    uniform,
)
from cipherward_threshold.shamir import online_share


@dataclass(frozen=True, slots=True)
class RequesterKey:
    """A requester's own key pair for results, made from a 32-byte seed by `generate`.

    Holds the seed: never log, send or store it in the clear. One key per study.
    """

    profile: str
    _seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, profile: str, seed: bytes) -> RequesterKey:
        """Return the key of a seed from the operating system's generator; deterministic.

        Raises:
            UnknownProfile: no profile of that name.
            BadSeed: the seed has not 32 bytes.
        """
        profile_named(profile)
        return cls(profile, checked_seed(seed))

    def public_key(self) -> bytes:
        """Return the public key as a message: the same bytes every time."""
        ring = profile_ring(self.profile)
        degree, primes = ring.profile.degree, ring.profile.data_primes
        polynomial_seed = self._stream(domains.REQUESTER_POLYNOMIAL_SEED).read(32)
        errors = centred_binomial(self._stream(domains.REQUESTER_ERROR), 1, degree)
        noise = ring.ntt(ring.from_signed(errors, len(primes)))
        masked = ring.multiply(_requester_polynomial(ring, polynomial_seed), self._secret(ring))
        share = ring.negate(ring.add(masked, noise))
        return RequesterPublicKey(polynomial_seed, share).to_bytes(ring.profile)

    def fingerprint(self) -> bytes:
        """Return `requester_fingerprint` of the public key."""
        return requester_fingerprint(self.public_key())

    def decrypt(self, switched: bytes, slots: int, *, bound: int | None = None) -> list[int]:
        """Return the first `slots` integers of a result; one, the sum of all slots, if its circuit
        opens no more.

        Args:
            switched: from `combine_switched`.
            slots: 1..`Profile.slots`; 1 where only the sum is opened.
            bound: largest absolute value that the plan allows; a larger one is noise.

        Raises:
            WrongRequester: the result is for another key.
            ResultIsNoise: a share was not what it said.
            TooManySlots: `slots` is out of range.
            MalformedMessage, WrongProfile, ResidueOutOfRange: not a switched result.
        """
        ring = profile_ring(self.profile)
        parsed = Switched.parse(ring.profile, switched)
        if parsed.requester != self.fingerprint():
            raise WrongRequester("the result is for another requester's key")
        masked = ring.multiply(ring.ntt(parsed.polynomials[1:]), self._secret(ring))
        phase = ring.add(parsed.polynomials[:1], ring.intt(masked))
        return opened(ring, phase, parsed.circuit, slots, bound)

    def _secret(self, ring: Ring) -> Residues:
        """Return the ternary secret as [primes, n], NTT form."""
        values = ternary(self._stream(domains.REQUESTER_SECRET), ring.profile.degree)
        return ring.ntt(ring.from_signed(values, len(ring.profile.data_primes)))[0]

    def _stream(self, tag: bytes) -> Stream:
        return Stream(tag, self._seed, self.profile.encode())


def requester_fingerprint(public_key: bytes) -> bytes:
    """Return the SHA-256 of a requester's public key, as orders name it."""
    return hashlib.sha256(public_key).digest()


def switch_share(
    profile: str,
    key_share: bytes,
    ciphertext: bytes,
    *,
    requester_public_key: bytes,
    point: int,
    online: Sequence[int],
    seed: bytes,
    context: bytes,
    circuit: str,
) -> bytes:
    """Return (lambda_i s_i c1 + flooding, 0) + Enc(0) to the requester; same arguments, same bytes.

    What the caller must have checked, and the other arguments, are as in
    `decryption.partial_decryption`; a share for a requester counts as the one answer to its c1.

    Args:
        requester_public_key: its fingerprint is the one in the order.

    Raises:
        as `decryption.partial_decryption`; MalformedMessage, WrongProfile and ResidueOutOfRange
        also for the requester's key.

    Cost: 5 NTTs, 6 products at data level; noise grows by at most the flooding and 2^20.
    """
    ring = profile_ring(profile)
    row = circuit_named(circuit, ring.profile)
    parsed = parsed_ciphertext(ring.profile, ciphertext)
    digest = digest_of_c1(ring.profile, parsed)
    requester = RequesterPublicKey.parse(ring.profile, requester_public_key)
    fingerprint = requester_fingerprint(requester_public_key)
    share = online_share(
        ring,
        key_share,
        parsed,
        point=point,
        online=online,
        context=context,
        c1_digest=digest,
    )
    derivation = (*share.derivation, fingerprint)
    encryption = Stream(
        domains.SWITCH_ENCRYPTION, checked_seed(seed), *derivation, row.name.encode()
    )
    value = _encrypted_zero(ring, requester, encryption)
    value[:1] = ring.add(value[:1], flooded_product(ring, share, parsed, row, seed, derivation))
    message = SwitchShare(row, parsed.key_id, digest, fingerprint, point, share.online, value)
    return message.to_bytes(ring.profile)


def combine_switched(
    profile: str, ciphertext: bytes, shares: Sequence[bytes], *, circuit: str
) -> bytes:
    """Return the result under the requester's key, from the shares of a whole online set.

    Anybody can combine; nobody but the requester learns anything by it.

    Raises:
        WrongRequester: shares for different requesters.
        UnknownCircuit, WrongCircuit, TooFewShares, DuplicateShare, MixedShares, WrongCiphertext,
            WrongKey: as in `decryption.combine`.
        MalformedMessage, WrongProfile, ResidueOutOfRange: some bytes are not what they should be.
    """
    ring = profile_ring(profile)
    row = circuit_named(circuit, ring.profile)
    parsed = parsed_ciphertext(ring.profile, ciphertext)
    read = [SwitchShare.parse(ring.profile, share) for share in shares]
    digest = digest_of_c1(ring.profile, parsed)
    check_whole_set(read, row, parsed.key_id, digest)
    if any(share.requester != read[0].requester for share in read):
        raise WrongRequester("the shares are for different requesters")
    total = ring.sum([share.value for share in read])
    total[:1] = ring.add(total[:1], parsed.polynomials[:1])
    return Switched(row, digest, read[0].requester, total).to_bytes(ring.profile)


def _encrypted_zero(ring: Ring, key: RequesterPublicKey, stream: Stream) -> Residues:
    """Return Enc(0) under the requester's key as [2, primes, n], coefficient form.

    Made here and not by SEAL, whose randomness cannot be recomputed after a crash.
    """
    degree, primes = ring.profile.degree, len(ring.profile.data_primes)
    mask = ring.ntt(ring.from_signed(ternary(stream, degree), primes))[0]
    pair = np.concatenate([key.b, _requester_polynomial(ring, key.polynomial_seed)])
    errors = ring.from_signed(centred_binomial(stream, 2, degree), primes)
    return ring.add(ring.intt(ring.multiply(pair, mask)), errors)


def _requester_polynomial(ring: Ring, seed: bytes) -> Residues:
    """Return the public polynomial `a` of a requester's key, [1, primes, n], NTT form."""
    stream = Stream(domains.REQUESTER_POLYNOMIAL, seed, ring.profile.name.encode())
    return uniform(stream, ring.profile.data_primes, ring.profile.degree)[None]
