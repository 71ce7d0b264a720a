"""A trial of a new sharing: its holders open a ciphertext that everybody makes alike.

The check of a resharing leaves open what would spoil every decryption (`resharing`). So before the
old shares are destroyed, all new holders open one ciphertext together. Its values, its randomness
and its errors follow from a public seed that nobody could foresee when the deals were committed to:
no holder chooses a c1, and nobody has to prove an encryption. It is encrypted as the honest do it,
far inside what the circuit `TRIAL_CIRCUIT` floods for; docs/noise.md says what it may leak.

All new holders form the set: that any threshold of them opens the same follows from the check, by
which their shares lie on one polynomial of that degree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cipherward_threshold import domains
from cipherward_threshold.decryption import combine
from cipherward_threshold.encryption import sum_contributions
from cipherward_threshold.errors import ResharingRejected, ResultIsNoise
from cipherward_threshold.parameters import profile as profile_named
from cipherward_threshold.proofs.ciphertexts import (
    BatchForm,
    Content,
    fresh_witness,
    half_message,
)
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import SEED_BYTES, Stream, checked_seed

TRIAL_CIRCUIT = "column-sum"
# Values that are compared, of 32 bits each; the other slots are zero, and show noise as well.
_VALUES, _VALUE_BYTES = 64, 4


def trial_ciphertext(profile: str, public_key: bytes, seed: bytes) -> bytes:
    """Return the ciphertext that a new sharing is tried with: for one seed always the same bytes.

    Args:
        profile: one that has the circuit `TRIAL_CIRCUIT`.
        public_key: check its digest against the chain's first.
        seed: 32 public bytes that follow from everybody's commitments, and never the same twice.

    Raises:
        BadSeed: the seed has not 32 bytes.
        MalformedMessage, WrongProfile, ResidueOutOfRange: not a public key.

    Cost: noise as of a sum of one contribution of an honest contributor.
    """
    ring = profile_ring(profile)
    form = BatchForm.of(ring, public_key, Content.MESSAGES, 1)
    halves = np.stack([half_message(ring, _values(checked_seed(seed)))])
    root = Stream(domains.TRIAL_RANDOMNESS, seed).read(SEED_BYTES)
    (half,) = form.encrypted(fresh_witness(form, halves, root))
    return sum_contributions(profile, [half.to_bytes(ring.profile)])


def check_trial(profile: str, ciphertext: bytes, shares: Sequence[bytes], seed: bytes) -> None:
    """Accept a sharing whose holders open the trial to what everybody knows it to be.

    Args:
        ciphertext: from `trial_ciphertext` with this `seed`.
        shares: the `decryption.partial_decryption` of all new holders under `TRIAL_CIRCUIT`.

    Raises:
        ResharingRejected: it opens to something else: the new shares are of no use.
        TooFewShares, DuplicateShare, MixedShares, WrongCiphertext, WrongCircuit, WrongKey: as
            `decryption.combine`.
        MalformedMessage, WrongProfile, ResidueOutOfRange: some bytes are not what they should be.
    """
    slots = profile_named(profile).slots
    try:
        opened = combine(profile, ciphertext, shares, slots, circuit=TRIAL_CIRCUIT)
    except ResultIsNoise as error:
        raise ResharingRejected("the new holders do not open what is under the key") from error
    expected = _values(seed)
    if opened != [*expected, *[0] * (slots - len(expected))]:
        raise ResharingRejected("the new holders open another value than was encrypted")


def _values(seed: bytes) -> list[int]:
    octets = Stream(domains.TRIAL_VALUES, seed).read(_VALUES * _VALUE_BYTES)
    return [
        int.from_bytes(octets[at : at + _VALUE_BYTES], "little")
        for at in range(0, len(octets), _VALUE_BYTES)
    ]
