"""Decryption to the guardians themselves: a flooded partial share each, and their combination.

Used for counts. Values go to the requester's own key instead (`switching`).
"""

from __future__ import annotations

from collections.abc import Sequence

from cipherward_threshold import domains
from cipherward_threshold.batching import result_slots
from cipherward_threshold.encryption import digest_of_c1, parsed_ciphertext
from cipherward_threshold.errors import (
    DuplicateShare,
    MixedShares,
    TooFewShares,
    WrongCiphertext,
    WrongKey,
)
from cipherward_threshold.messages import Ciphertext, DecryptionShare, SwitchShare
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import Residues, Stream, checked_seed
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

    Raises:
        BadSeed: the seed has not 32 bytes.
        TransparentCiphertext: c1 is zero.
        BadSharing, WrongPoint, TooFewShares, TooManyShares, WrongKey: see `shamir.online_share`.
        MalformedMessage, WrongProfile, ResidueOutOfRange: ciphertext or key share is not one.

    Cost: 2 NTTs, 4 products at data level; noise grows by at most 2^117.
    """
    ring = profile_ring(profile)
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
    stream = Stream(domains.DECRYPTION_FLOODING, checked_seed(seed), *share.derivation)
    value = flooded_product(ring, share, parsed, stream)
    message = DecryptionShare(parsed.key_id, digest, point, share.online, value)
    return message.to_bytes(ring.profile)


def flooded_product(
    ring: Ring, share: OnlineShare, ciphertext: Ciphertext, stream: Stream
) -> Residues:
    """Return lambda_i s_i c1 + flooding as [1, 3, n], coefficient form."""
    product = ring.intt(ring.multiply(ring.ntt(ciphertext.polynomials[1:]), share.value))
    return ring.add(product, ring.flooding_coefficients(stream))


def combine(profile: str, ciphertext: bytes, shares: Sequence[bytes], slots: int) -> list[int]:
    """Return the first `slots` integers of the plaintext, from the shares of a whole online set.

    Args:
        shares: one of every member of the set that they all name, in any order.
        slots: 1..`Profile.slots`.

    Raises:
        TooFewShares: not the whole set.
        DuplicateShare: one guardian's share twice.
        MixedShares: shares computed for different sets.
        WrongCiphertext, WrongKey: a share of another ciphertext or key.
        ResultIsNoise: a share or the ciphertext is not what it says.
        TooManySlots: `slots` is out of range.
        MalformedMessage, WrongProfile, ResidueOutOfRange: some bytes are not what they should be.
    """
    ring = profile_ring(profile)
    parsed = parsed_ciphertext(ring.profile, ciphertext)
    read = [DecryptionShare.parse(ring.profile, share) for share in shares]
    check_whole_set(read, parsed.key_id, digest_of_c1(ring.profile, parsed))
    phase = ring.sum([parsed.polynomials[:1], *(share.value for share in read)])
    return result_slots(ring, phase, slots)


def check_whole_set(
    shares: Sequence[DecryptionShare] | Sequence[SwitchShare], key_id: bytes, c1_digest: bytes
) -> None:
    """Refuse shares that are not, together, one online set's answer to one ciphertext."""
    if not shares:
        raise TooFewShares("there is no share", have=0, need=1)
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
