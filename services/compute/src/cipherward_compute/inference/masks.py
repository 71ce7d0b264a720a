"""A mask as it travels: its ciphertexts, their proof, and the one-time key of its use."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from cipherward_chain.batches import BatchMalformed, packed, unpacked
from cipherward_chain.domains import MASK_COMMITMENT, MASK_PROOF, MASK_WEIGHTS
from cipherward_compute.arithmetic.inference import CheckWeights
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.framing import digest_of, framed
from cipherward_compute.instructions import StartStudy

# Weights have 32 bits, and whoever makes a mask knows them as soon as it has committed: one that
# passes a check by its weights is found in 2^33 tries, and for two of different weights in 2^66.
CHECKS = 2
WEIGHTS = (1 << 32) - 1  # different weights of a check, from 1


@dataclass(frozen=True, slots=True)
class Mask:
    """A hospital's mask of a use: one ciphertext a block, and the key for the scores."""

    ciphertexts: tuple[bytes, ...] = field(repr=False)
    proof: bytes = field(repr=False)
    public_key: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return what travels."""
        return packed(self.ciphertexts, (self.proof, self.public_key))

    @property
    def batch(self) -> bytes:
        """The ciphertexts and their proof, as contributions are verified."""
        return packed(self.ciphertexts, (self.proof,))


def parse_mask(member: str, octets: bytes, order: StartStudy, blocks: int) -> Mask:
    """Return the mask that a member has committed to.

    Raises:
        PeerWrong: it is none, or it is for another key than the order names.
    """
    try:
        ciphertexts, others = unpacked(octets)
    except BatchMalformed as error:
        raise PeerWrong(member, f"its mask: {error}") from None
    if len(ciphertexts) != blocks or len(others) != 2:
        raise PeerWrong(member, "its mask has another number of ciphertexts")
    if hashlib.sha256(others[1]).digest() != order.asked.requester_key_digest:
        raise PeerWrong(member, "its mask comes with another key than the order names")
    return Mask(ciphertexts, *others)


async def mask_commitment(order: StartStudy, octets: bytes) -> bytes:
    """Return what a hospital tells the chain about its mask (32 bytes), beside the event loop."""
    return await asyncio.to_thread(
        lambda: digest_of(
            MASK_COMMITMENT, *_use(order), order.iterate, hashlib.sha256(octets).digest()
        )
    )


def mask_context(chain_id: str, member: str, order: StartStudy) -> bytes:
    """Return what the proof of a mask is bound to: it is good in no other use."""
    parts = chain_id.encode(), member.encode(), *_use(order), order.iterate, order.asked.spec_digest
    return framed(MASK_PROOF, *parts)


def mask_weights(order: StartStudy, commitment: bytes, block: int) -> Sequence[CheckWeights]:
    """Return the weights of a block's checks, 1 <= weight < 2^32, the two of each different."""
    found: list[CheckWeights] = []
    for check in range(CHECKS):
        place = bytes((block, check))
        drawn = digest_of(MASK_WEIGHTS, *_use(order), order.iterate, commitment, place)
        first = int.from_bytes(drawn[:8], "big") % WEIGHTS
        second = int.from_bytes(drawn[8:16], "big") % (WEIGHTS - 1)
        found.append((1 + first, 1 + second + (second >= first)))
    return found


def _use(order: StartStudy) -> tuple[bytes, bytes]:
    return order.shared.study, order.round.to_bytes(4, "big")
