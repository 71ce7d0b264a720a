"""The arithmetic of decryption shares, beside the event loop: octets in, octets out.

Every function takes the packed ciphertexts of a batch and answers for each of them in its order. A
message of a peer that is not what it should be is `PeerWrong`, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cipherward_chain.batches import BatchMalformed, unpacked
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_threshold.decryption import combine, partial_decryption
from cipherward_threshold.encryption import c1_digest
from cipherward_threshold.errors import ThresholdError
from cipherward_threshold.messages import DecryptionShare
from cipherward_threshold.parameters import profile
from cipherward_threshold.switching import switch_share


class BatchDamaged(ValueError):
    """A stored batch of sums is none."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """What the shares of a batch are made with.

    point: this guardian's own. online: the set's, ascending. seed, context: of the noise, which is
    the same for the same question. circuit: what happened to the ciphertexts.
    """

    profile: str
    key_share: bytes = field(repr=False)
    point: int
    online: tuple[int, ...]
    seed: bytes = field(repr=False)
    context: bytes
    circuit: str


def c1_digests(profile_name: str, batch: bytes) -> tuple[bytes, ...]:
    """Return the digests of the key and c1 of each ciphertext; about 1 ms each.

    Raises:
        BatchDamaged: it is no batch of ciphertexts.
    """
    try:
        return tuple(c1_digest(profile_name, one) for one in unpacked(batch)[0])
    except (BatchMalformed, ThresholdError):
        raise BatchDamaged("the stored sum is damaged") from None


def counts_shares(sharing: Sharing, batch: bytes) -> list[bytes]:
    """Return this guardian's share of each sum, for the guardians; about 3 ms each.

    Raises:
        ThresholdError: the key share or the set does not fit.
    """
    return [
        partial_decryption(
            sharing.profile,
            sharing.key_share,
            ciphertext,
            point=sharing.point,
            online=sharing.online,
            seed=sharing.seed,
            context=sharing.context,
            circuit=sharing.circuit,
        )
        for ciphertext in unpacked(batch)[0]
    ]


def result_shares(sharing: Sharing, batch: bytes, requester_public_key: bytes) -> list[bytes]:
    """Return this guardian's part of the switch to the requester's key, as `counts_shares`."""
    return [
        switch_share(
            sharing.profile,
            sharing.key_share,
            ciphertext,
            requester_public_key=requester_public_key,
            point=sharing.point,
            online=sharing.online,
            seed=sharing.seed,
            context=sharing.context,
            circuit=sharing.circuit,
        )
        for ciphertext in unpacked(batch)[0]
    ]


def opened_counts(
    profile_name: str,
    batch: bytes,
    shares: Mapping[str, tuple[int, bytes]],
    slots: Sequence[int],
    circuit: str,
    bound: int | None = None,
) -> list[int]:
    """Return the counts, those of one ciphertext behind those of the other; about 5 ms each.

    Args:
        shares: each member's point and packed shares.
        slots: how many of each ciphertext.
        bound: the most that a count can be; a larger one is noise.

    Raises:
        PeerWrong: a member's shares are none, or not its own.
        ThresholdError: together they open nothing.
    """
    ciphertexts = unpacked(batch)[0]
    found = {
        member: _shares(profile_name, member, point, octets, len(ciphertexts))
        for member, (point, octets) in shares.items()
    }
    counts: list[int] = []
    for place, ciphertext in enumerate(ciphertexts):
        of_it = [of_member[place] for of_member in found.values()]
        counts += combine(
            profile_name, ciphertext, of_it, slots[place], circuit=circuit, bound=bound
        )
    return counts


def _shares(
    profile_name: str, member: str, point: int, octets: bytes, count: int
) -> tuple[bytes, ...]:
    try:
        shares, others = unpacked(octets)
        points = {DecryptionShare.parse(profile(profile_name), one).point for one in shares}
    except (BatchMalformed, ThresholdError) as error:
        raise PeerWrong(member, str(error)) from None
    if len(shares) != count or others:
        raise PeerWrong(member, "it gave another number of shares")
    if points != {point}:
        raise PeerWrong(member, "its share is another guardian's")
    return shares
