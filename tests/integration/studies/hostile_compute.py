"""A member's compute service that lies: the real one, with a few steps of its own.

Everything else, keys and certificates and chain and store, is the member's. The lie that is told
now is the word in the file that STUDY_LIE names; without one it is honest.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from cipherward_chain.batches import packed, unpacked
from cipherward_chain.canonical import decode_map, encode
from cipherward_compute import contributions, wiring
from cipherward_compute.__main__ import main
from cipherward_compute.additions import AdditionSteps
from cipherward_compute.arithmetic.inputs import Encryption, proven_batch
from cipherward_compute.commitments import Contributed
from cipherward_compute.exchange import Exchange
from cipherward_compute.guardian import Guardian
from cipherward_compute.instructions import Release, StartStudy
from cipherward_compute.keyring import MessageKind
from cipherward_compute.peers import Peers
from cipherward_compute.steps import Done
from cipherward_compute.sums import Sum
from cipherward_member.peers import PeerChannels
from cipherward_threshold.keys import combine_public_key, member_secret
from cipherward_threshold.messages import DecryptionShare, PublicKeyShare
from cipherward_threshold.parameters import profile
from cipherward_threshold.proofs.messages import HalfCiphertext
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.switching import RequesterKey

LIE_FILE = "STUDY_LIE"
OTHERS = ("hospital-a", "hospital-b", "hospital-c")
# Which bit of the joint secret a constant in c1 lifts out of an exact result's noise: any that is
# larger than all noise and, times a secret of 2^13 coefficients of a few units, below the modulus.
CONSTANT = 1 << 97
OWN_KEY_SEED = b"a key of the liar's own, 32 byte"


def lie() -> str:
    """Return the lie that is told now, or an empty text."""
    file = Path(os.environ[LIE_FILE])
    return file.read_text() if file.exists() else ""


# What the liar has encrypted last, to encrypt something else in its place.
committed: list[tuple[Encryption, Sequence[Sequence[int]]]] = []
# Its connections to the other members.
reached: list[Peers] = []


def _with_constant(batch: bytes, encryption: Encryption) -> bytes:
    """Return the batch with a large constant in its first c1, and the proof as it was."""
    ciphertexts, proofs = unpacked(batch)
    row, ring = profile(encryption.profile), profile_ring(encryption.profile)
    crafted = HalfCiphertext.parse(row, ciphertexts[0])
    shift = np.zeros((len(row.data_primes), row.degree), dtype=np.uint64)
    shift[:, 0] = [CONSTANT % prime for prime in row.data_primes]
    crafted.polynomials[1] = ring.add(crafted.polynomials[1], shift)
    return packed((crafted.to_bytes(row), *ciphertexts[1:]), proofs)


def _of_another_key(batch: bytes, encryption: Encryption) -> bytes:
    """Return an honest encryption and proof, under a key of the liar's own."""
    context = b"a key of its own"
    share = member_secret(encryption.profile, OWN_KEY_SEED, context).public_key_share()
    own = combine_public_key(encryption.profile, context, [share])
    slots = [[1] for _ in unpacked(batch)[0]]
    return proven_batch(Encryption(encryption.profile, own, encryption.context), slots)


def _of_another_study(batch: bytes, encryption: Encryption) -> bytes:
    """Return an honest encryption and proof that were made for something else."""
    slots = [[1] for _ in unpacked(batch)[0]]
    elsewhere = encryption.context + b"of another study"
    return proven_batch(Encryption(encryption.profile, encryption.public_key, elsewhere), slots)


def _without_proof(batch: bytes, _encryption: Encryption) -> bytes:
    return packed(unpacked(batch)[0])


def _truncated(batch: bytes, _encryption: Encryption) -> bytes:
    return batch[: len(batch) // 2]


CRAFTED: Mapping[str, Callable[[bytes, Encryption], bytes]] = {
    "constant": _with_constant,
    "another key": _of_another_key,
    "another study": _of_another_study,
    "no proof": _without_proof,
    "truncated": _truncated,
}


def crafted_batch(encryption: Encryption, batches: Sequence[Sequence[int]]) -> bytes:
    """Return what the liar commits to."""
    committed[:] = [(encryption, batches)]
    batch = proven_batch(encryption, batches)
    craft = CRAFTED.get(lie())
    return craft(batch, encryption) if craft else batch


class LiarsPeers(Peers):
    """Its connections, kept where its other parts find them."""

    def __init__(self, channels: PeerChannels) -> None:
        super().__init__(channels)
        reached[:] = [self]


class LiarsExchange(Exchange):
    """What it shows to the others: not what it committed to, if that is its lie."""

    async def contribution(self, wanted: Sum, caller: str) -> Contributed:
        """Return another contribution, made after the others' were seen."""
        shown = await super().contribution(wanted, caller)
        if lie() != "rushing":
            return shown
        await asyncio.gather(*(reached[0].contribution(name, wanted) for name in OTHERS))
        encryption, batches = committed[0]
        other = [[7] * len(batch) for batch in batches]
        made = await asyncio.to_thread(proven_batch, encryption, other)
        return Contributed(made, shown.opt_outs_height)

    async def ceremony_message(self, study: bytes, kind: MessageKind, caller: str) -> bytes:
        """Return a share of the public key from which the others' are subtracted."""
        shown = await super().ceremony_message(study, kind, caller)
        if lie() != "rogue key" or kind != "reveal":
            return shown
        revealed = [await reached[0].ceremony_message(name, study, kind) for name in OTHERS]
        return await asyncio.to_thread(_rogue, shown, revealed)


def _rogue(mine: bytes, others: Sequence[bytes]) -> bytes:
    row, ring = profile("additive-1"), profile_ring("additive-1")

    def share_of(message: bytes) -> PublicKeyShare:
        octets = decode_map(message)["public_key_share"]
        assert isinstance(octets, bytes)
        return PublicKeyShare.parse(row, octets)

    own = share_of(mine)
    own.b[:] = ring.subtract(own.b, ring.sum([share_of(one).b for one in others]))
    return encode(dict(decode_map(mine)) | {"public_key_share": own.to_bytes(row)})


class LiarsAdditions(AdditionSteps):
    """Its own additions, which what it has cut off itself would make it refuse."""

    async def verify(self, order: StartStudy) -> Done:
        """Say nothing about its own lie; the end of the study cancels this."""
        if lie() == "truncated":
            await asyncio.Event().wait()
        return await super().verify(order)


class LiarsGuardian(Guardian):
    """Its shares: for a key of its own, or none at all, if that is its lie."""

    async def share_counts(self, order: Release, batch: bytes, circuit: str) -> list[bytes]:
        """Return shares of which one residue is another."""
        shares = await super().share_counts(order, batch, circuit)
        if lie() != "wrong share":
            return shares
        row = profile("additive-1")
        wrong = [DecryptionShare.parse(row, one) for one in shares]
        for one in wrong:
            one.value[:] = profile_ring("additive-1").add(one.value, one.value)
        return [one.to_bytes(row) for one in wrong]

    async def share_result(
        self, order: Release, batch: bytes, requester_public_key: bytes, circuit: str
    ) -> list[bytes]:
        """Return its part of a switch to its own key."""
        if lie() == "own key":
            requester_public_key = RequesterKey.generate("additive-1", OWN_KEY_SEED).public_key()
        return await super().share_result(order, batch, requester_public_key, circuit)


LIES = (
    (contributions, "proven_batch", crafted_batch),
    (wiring, "Peers", LiarsPeers),
    (wiring, "Exchange", LiarsExchange),
    (wiring, "AdditionSteps", LiarsAdditions),
    (wiring, "Guardian", LiarsGuardian),
)

if __name__ == "__main__":
    for module, name, lying in LIES:
        setattr(module, name, lying)
    main()
