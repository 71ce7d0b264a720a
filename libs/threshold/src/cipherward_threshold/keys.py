"""The key ceremony's messages: a member's secret, its public-key share, the collective key.

Steps (Mouchet et al., PETS 2021, protocol EncKeyGen; Shamir part: J. Cryptology 2023):
every member publishes `share_commitment` of its share, then the share itself with its proof
(`proofs.key_shares`); all check both and combine; every member deals its secret
(`MemberSecret.deal`) to all points and aggregates what it received (`shamir.aggregate_shares`).
The secret itself can then be forgotten.

Commit before reveal, bound to the sender: that, not the proof, stops a last member from choosing a
share that cancels the others'. The proof is what bounds its secret and its error. Who checks both
is the caller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cipherward_threshold import domains, shamir
from cipherward_threshold.dealing.masks import mask_share, small_polynomial
from cipherward_threshold.errors import DuplicateShare, TooFewShares, TooManyShares, WrongContext
from cipherward_threshold.messages import PublicKey, PublicKeyShare, Sharing
from cipherward_threshold.parameters import Profile, profile
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import (
    SEED_BYTES,
    Residues,
    Signed,
    Stream,
    centred_binomial,
    checked_seed,
    framed,
    ternary,
    uniform,
)
from cipherward_threshold.wire import POINT_MAX


@dataclass(frozen=True, slots=True)
class MemberSecret:
    """One member's secret of one ceremony; everything follows from the seed.

    Made by `member_secret`. Holds the seed, so it must not be logged, sent or stored in the clear.
    """

    profile: str
    context_digest: bytes
    _seed: bytes = field(repr=False)

    def public_key_share(self) -> bytes:
        """Return b_i = -(a s_i + e_i) as a message: the same bytes every time.

        A second share with a fresh error would let anybody average the errors away; some 1,500
        of them give the secret. There is one error per secret here, so there is one share.

        Cost: 2 NTTs, 1 product at key level.
        """
        ring = profile_ring(self.profile)
        parameters = ring.profile
        primes = parameters.key_primes
        _, error = self.coefficients()
        noise = ring.ntt(ring.from_signed(error, len(primes)))
        masked = ring.multiply(common_polynomial(ring, self.context_digest), self._secret(ring))
        share = ring.negate(ring.add(masked, noise))
        return PublicKeyShare(self.context_digest, share).to_bytes(parameters)

    def deal(self, points: Sequence[int], threshold: int) -> dict[int, bytes]:
        """Return a Shamir share of the secret for every point, the same bytes every time.

        Each is SECRET and goes to its point's member only, sealed. Deal once per ceremony: any
        `threshold` members own the joint secret, in each sharing that was ever dealt.

        Args:
            points: distinct, in 1..255: one per member.
            threshold: shares that determine the secret, in 1..len(points).

        Raises:
            BadSharing: points or threshold are not as above.
        """
        ring = profile_ring(self.profile)
        form = shamir.sharing(points, threshold)
        dealer = public_key_share_digest(ring.profile, self.public_key_share())
        return shamir.deal(
            ring,
            self._secret(ring)[: len(ring.profile.data_primes)],
            self._mask(ring, form),
            self._stream(domains.DEAL_POLYNOMIAL, form.to_bytes()),
            dealer=dealer,
            form=form,
        )

    def mask_share(self, points: Sequence[int], threshold: int) -> bytes:
        """Return what is published about the mask in the deals of this sharing: always the same.

        Raises:
            BadSharing: as `deal`.
        """
        ring = profile_ring(self.profile)
        form = shamir.sharing(points, threshold)
        dealer = public_key_share_digest(ring.profile, self.public_key_share())
        noise = small_polynomial(ring, self._stream(domains.DEAL_MASK_ERROR, form.to_bytes()))
        common = common_polynomial(ring, self.context_digest)
        return mask_share(ring, common, self._mask(ring, form), noise, dealer=dealer, form=form)

    def coefficients(self) -> tuple[Signed, Signed]:
        """Return s_i (ternary) and e_i (centred binomial), each [1, n]. SECRET."""
        degree = profile(self.profile).degree
        error = centred_binomial(self._stream(domains.PUBLIC_KEY_ERROR), 1, degree)
        return ternary(self._stream(domains.MEMBER_SECRET), degree), error

    def proof_seed(self) -> bytes:
        """Return 32 secret bytes for the masks of proofs about this secret: always the same."""
        return self._stream(domains.KEY_SHARE_PROOF_SEED).read(SEED_BYTES)

    def evaluation_seed(self) -> bytes:
        """Return 32 secret bytes for errors of evaluation keys: always the same."""
        return self._stream(domains.EVALUATION_SEED).read(SEED_BYTES)

    def _mask(self, ring: Ring, form: Sharing) -> Residues:
        """Return the mask of the deals of a sharing as [3, n], NTT form; its coefficients small."""
        return small_polynomial(ring, self._stream(domains.DEAL_MASK, form.to_bytes()))

    def _secret(self, ring: Ring) -> Residues:
        """Return s_i, ternary, as [primes, n] in NTT form, at key level."""
        values, _ = self.coefficients()
        return ring.ntt(ring.from_signed(values, len(ring.profile.key_primes)))[0]

    def _stream(self, tag: bytes, *context: bytes) -> Stream:
        return Stream(tag, self._seed, self.profile.encode(), self.context_digest, *context)


def member_secret(profile: str, seed: bytes, context: bytes) -> MemberSecret:
    """Return a member's secret for one ceremony.

    Args:
        profile: name of a parameter profile.
        seed: 32 bytes from the operating system's generator, this member's alone. One seed may
            serve several ceremonies: their secrets are independent.
        context: public bytes that name the ceremony (chain, study, attempt); all members use the
            same. Never the same for two keys.

    Raises:
        UnknownProfile: no profile of that name.
        BadSeed: the seed has not 32 bytes.
    """
    return MemberSecret(profile, context_digest(profile, context), checked_seed(seed))


def context_digest(profile_name: str, context: bytes) -> bytes:
    """Return the 32 bytes that stand for a ceremony in messages."""
    profile(profile_name)
    parts = framed(domains.CONTEXT, profile_name.encode(), context)
    return hashlib.sha256(parts).digest()


def common_polynomial(ring: Ring, digest: bytes) -> Residues:
    """Return the public polynomial `a` of a ceremony, [1, 4, n], NTT form.

    Nobody chooses it: it is expanded from the digest of the ceremony's context.
    """
    stream = Stream(domains.COMMON_POLYNOMIAL, digest, ring.profile.name.encode())
    return uniform(stream, ring.profile.key_primes, ring.profile.degree)[None]


def share_commitment(profile_name: str, share: bytes, *, sender: bytes) -> bytes:
    """Return the digest by which a member commits to its public-key share before revealing it.

    Args:
        share: what `MemberSecret.public_key_share` returned.
        sender: the member's id; it stops a member from committing to another one's share.

    Returns:
        32 bytes. The share has enough entropy that the commitment hides it.

    Raises:
        MalformedMessage, WrongProfile, ResidueOutOfRange: not a public-key share.
    """
    PublicKeyShare.parse(profile(profile_name), share)
    parts = framed(domains.SHARE_COMMITMENT, sender, share)
    return hashlib.sha256(parts).digest()


def public_key_share_digest(parameters: Profile, share: bytes) -> bytes:
    """Return the digest of a public-key share: the dealer's name in its deals."""
    parts = framed(domains.SHARE_DIGEST, parameters.name.encode(), share)
    return hashlib.sha256(parts).digest()


def combine_public_key(profile: str, context: bytes, shares: Sequence[bytes]) -> bytes:
    """Return the collective public key: the sum of all members' shares, in any order.

    Args:
        context: the ceremony's, as given to `member_secret`.
        shares: one per member, each checked against its commitment by the caller.

    Raises:
        TooFewShares: none.
        TooManyShares: more than there are points.
        DuplicateShare: the same share twice.
        WrongContext: a share of another ceremony.
        MalformedMessage, WrongProfile, ResidueOutOfRange: a share is not one.
    """
    ring = profile_ring(profile)
    if not shares:
        raise TooFewShares("a key needs at least one share", have=0, need=1)
    if len(shares) > POINT_MAX:
        raise TooManyShares("more shares than there can be members", have=len(shares))
    digest = context_digest(profile, context)
    parsed = [PublicKeyShare.parse(ring.profile, share) for share in shares]
    if any(share.context_digest != digest for share in parsed):
        raise WrongContext("a public-key share belongs to another ceremony")
    names = [public_key_share_digest(ring.profile, share) for share in shares]
    if len(set(names)) != len(names):
        raise DuplicateShare("a public-key share appears twice")
    total = ring.sum([share.b for share in parsed])
    key_id = shamir.key_id(ring.profile, names)
    return PublicKey(digest, key_id, total).to_bytes(ring.profile)


def public_key_digest(public_key: bytes) -> bytes:
    """Return the SHA-256 of a collective public key, as the chain names it."""
    return hashlib.sha256(public_key).digest()


def public_key_polynomials(ring: Ring, key: PublicKey) -> Residues:
    """Return (b, a) as [2, 4, n], NTT form."""
    return np.concatenate([key.b, common_polynomial(ring, key.context_digest)])
