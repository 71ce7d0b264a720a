"""Decryption to the guardians themselves: a flooded partial share each, and their combination.

Used for counts. Values go to the requester's own key instead (`switching`).
"""

from __future__ import annotations

from collections.abc import Sequence

from cipherward_threshold import domains
from cipherward_threshold.batching import result_slots
from cipherward_threshold.circuits import Circuit
from cipherward_threshold.circuits import circuit as circuit_named
from cipherward_threshold.encryption import digest_of_c1, parsed_ciphertext
from cipherward_threshold.errors import (
    DuplicateShare,
    MixedShares,
    ResultIsNoise,
    TooFewShares,
    TooManySlots,
    UnknownCircuit,
    WrongCiphertext,
    WrongCircuit,
    WrongKey,
)
from cipherward_threshold.messages import Ciphertext, DecryptionShare, SwitchShare
from cipherward_threshold.parameters import Profile
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import Residues, Stream, checked_seed, uniform
from cipherward_threshold.shamir import OnlineShare, online_share


def partial_decryption(
    profile: str,
    key_share: bytes,
    ciphertext: bytes,
    *,
    point: int,
    online: Sequence[int],
    seed: bytes,
    context: bytes,
    circuit: str,
) -> bytes:
    """Return this guardian's share lambda_i s_i c1 + flooding; same arguments, same bytes.

    The caller must have recomputed the ciphertext from the committed inputs (a chosen c1 gives the
    key share away, flooding or not), and must refuse a second set, recipient or context for the
    same `encryption.c1_digest`: every answer to one c1 costs flooding.

    Args:
        key_share: from `shamir.aggregate_shares`.
        point: this guardian's, and the key share's.
        online: the whole set that will answer, fixed before the first share, in any order.
        seed: 32 secret bytes of this member; the flooding follows from it and from everything
            above, so a crash recomputes the same share.
        context: names the order and the recipients.
        circuit: what was done to the ciphertext, from the order: flooding follows from it, and
            whether all slots are opened or only their sum.

    Raises:
        UnknownCircuit: the profile has none of that name.
        BadSeed: the seed has not 32 bytes.
        TransparentCiphertext: c1 is zero.
        BadSharing, WrongPoint, TooFewShares, TooManyShares, WrongKey: see `shamir.online_share`.
        MalformedMessage, WrongProfile, ResidueOutOfRange: ciphertext or key share is not one.

    Cost: 2 NTTs, some products at data level; noise grows by at most the circuit's flooding.
    """
    ring = profile_ring(profile)
    row = circuit_named(circuit, ring.profile)
    parsed = parsed_ciphertext(ring.profile, ciphertext)
    digest = digest_of_c1(ring.profile, parsed)
    share = online_share(
        ring,
        key_share,
        parsed,
        point=point,
        online=online,
        context=context,
        c1_digest=digest,
    )
    value = flooded_product(ring, share, parsed, row, checked_seed(seed), share.derivation)
    message = DecryptionShare(row, parsed.key_id, digest, point, share.online, value)
    return message.to_bytes(ring.profile)


def flooded_product(
    ring: Ring,
    share: OnlineShare,
    ciphertext: Ciphertext,
    circuit: Circuit,
    seed: bytes,
    derivation: Sequence[bytes],
) -> Residues:
    """Return lambda_i s_i c1 + flooding as [1, primes, n], coefficient form.

    Coefficients that the circuit does not open are hidden behind uniform residues, which the sum
    of the shares keeps: nobody reads them, whoever holds the shares.

    Args:
        derivation: everything besides the circuit that the noise must depend on.
    """
    parts = (seed, *derivation, circuit.name.encode())
    product = ring.intt(ring.multiply(ring.ntt(ciphertext.polynomials[1:]), share.value))
    stream = Stream(domains.DECRYPTION_FLOODING, *parts)
    flooded = ring.add(product, ring.flooding_coefficients(stream, circuit.flooding_bits))
    if circuit.slots == "all":
        return flooded
    primes, degree = ring.profile.data_primes, ring.profile.degree
    hidden = uniform(Stream(domains.COEFFICIENT_MASK, *parts), primes, degree)[None]
    hidden[:, :, : circuit.opened] = 0
    return ring.add(flooded, hidden)


def combine(
    profile: str,
    ciphertext: bytes,
    shares: Sequence[bytes],
    slots: int,
    *,
    circuit: str,
    bound: int | None = None,
) -> list[int]:
    """Return the first `slots` integers of the plaintext, from the shares of a whole online set.

    Where the circuit opens the constant coefficient alone, there is one integer: the sum of all
    slots.

    Args:
        shares: one of every member of the set that they all name, in any order.
        slots: 1..`Profile.slots`; 1 where only the sum is opened.
        circuit: the order's; every share must name it.
        bound: largest absolute value that the plan allows; a larger one is noise.

    Raises:
        UnknownCircuit: the profile has none of that name, or it opens no slots.
        WrongCircuit: a share for another circuit.
        TooFewShares: not the whole set.
        DuplicateShare: one guardian's share twice.
        MixedShares: shares computed for different sets.
        WrongCiphertext, WrongKey: a share of another ciphertext or key.
        ResultIsNoise: a share or the ciphertext is not what it says.
        TooManySlots: `slots` is out of range.
        MalformedMessage, WrongProfile, ResidueOutOfRange: some bytes are not what they should be.
    """
    ring = profile_ring(profile)
    row = circuit_named(circuit, ring.profile)
    return opened(ring, combined_phase(ring, ciphertext, shares, row), row, slots, bound)


def combined_phase(
    ring: Ring, ciphertext: bytes, shares: Sequence[bytes], circuit: Circuit
) -> Residues:
    """Return c0 plus the shares of a whole set, [1, primes, n], coefficient form; as `combine`."""
    parsed = parsed_ciphertext(ring.profile, ciphertext)
    read = [DecryptionShare.parse(ring.profile, share) for share in shares]
    check_whole_set(read, circuit, parsed.key_id, digest_of_c1(ring.profile, parsed))
    return ring.sum([parsed.polynomials[:1], *(share.value for share in read)])


def opened(
    ring: Ring, phase: Residues, circuit: Circuit, slots: int, bound: int | None
) -> list[int]:
    """Return what a circuit opens of a phase [1, primes, n], coefficient form.

    A wrong share or ciphertext changes everything at random. All slots: the check slots tell.
    Constant coefficient: what is left of it after rounding must be no more than floods, which noise
    is with a chance of about 2^-17 only; the plan's bound adds to that.

    Raises:
        TooManySlots, ResultIsNoise: as `combine`.
    """
    if circuit.slots == "all":
        values = result_slots(ring, phase, slots)
    elif circuit.slots == "leading":
        raise UnknownCircuit("this circuit opens no slots", profile=ring.profile.name)
    elif slots != 1:
        raise TooManySlots("only the sum of all slots is opened", have=slots, most=1)
    else:
        ((message, residual),) = leading_coefficients(ring, phase, 1)
        if not circuit.passes(residual):
            raise ResultIsNoise("the shares do not decrypt the ciphertext")
        values = [slot_sum(ring.profile, message)]
    if bound is not None and any(abs(value) > bound for value in values):
        raise ResultIsNoise("a value is beyond what the plan allows")
    return values


def leading_coefficients(ring: Ring, phase: Residues, count: int) -> list[tuple[int, int]]:
    """Return (plaintext coefficient modulo t, residual noise) of the first `count` coefficients.

    Args:
        phase: [1, primes, n], coefficient form.
    """
    profile = ring.profile
    modulus, t = profile.data_modulus, profile.plain_modulus
    found: list[tuple[int, int]] = []
    for residues in phase[0, :, :count].T:
        value = 0
        for prime, residue in zip(profile.data_primes, residues, strict=True):
            rest = modulus // prime
            value += rest * pow(rest, -1, prime) * int(residue)
        value %= modulus
        message = (2 * t * value + modulus) // (2 * modulus)  # round(t x / Q)
        residual = value - (2 * modulus * message + t) // (2 * t)  # round(Q m / t)
        found.append((message % t, residual))
    return found


def slot_sum(profile: Profile, constant: int) -> int:
    """Return the sum of all slots of a plaintext with this constant coefficient, centred.

    It is n times the coefficient modulo t: the other coefficients stand at powers of X, whose sum
    over all roots of X^n + 1 is zero.
    """
    t = profile.plain_modulus
    total = profile.degree * constant % t
    return total - t if total > t // 2 else total


def check_whole_set(
    shares: Sequence[DecryptionShare] | Sequence[SwitchShare],
    circuit: Circuit,
    key_id: bytes,
    c1_digest: bytes,
) -> None:
    """Refuse shares that are not, together, one online set's answer to one question."""
    if not shares:
        raise TooFewShares("there is no share", have=0, need=1)
    if any(share.circuit != circuit for share in shares):
        raise WrongCircuit("a share was made for another circuit", expected=circuit.name)
    if any(share.key_id != key_id for share in shares):
        raise WrongKey("a share was made with another key")
    if any(share.c1_digest != c1_digest for share in shares):
        raise WrongCiphertext("a share belongs to another ciphertext")
    online = shares[0].online
    if any(share.online != online for share in shares):
        raise MixedShares("the shares were computed for different online sets")
    points = {share.point for share in shares}
    if len(points) != len(shares):
        raise DuplicateShare("one guardian's share appears twice")
    if len(points) < len(online):
        raise TooFewShares("the online set is not complete", have=len(points), need=len(online))
