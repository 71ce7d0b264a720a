"""Proofs of correct encryption: one contributor's round of eight ciphertexts, in one process.

Proving includes the encryption of the batch; verifying is what every guardian does with every other
contributor's batch. Encryption alone stands beside TenSEAL's, in the same run, turn by turn.
"""

from __future__ import annotations

import importlib
import secrets
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.results import Row, Spread, Target
from cipherward_threshold.encryption import sum_contributions
from cipherward_threshold.keys import combine_public_key, member_secret
from cipherward_threshold.parameters import profile
from cipherward_threshold.proofs.bounds import BATCH_MAX
from cipherward_threshold.proofs.ciphertexts import (
    BatchForm,
    Content,
    fresh_witness,
    half_message,
)
from cipherward_threshold.proofs.contributions import encrypt_contribution, verify_contribution
from cipherward_threshold.proofs.key_shares import prove_key_share, verify_key_share
from cipherward_threshold.rings import profile_ring

PROVE, VERIFY, SIZE = "proof-prove-batch-8", "proof-verify-batch-8", "proof-bytes-batch-8"
KEY_PROVE, KEY_VERIFY = "key-share-proof-prove", "key-share-proof-verify"
ENCRYPT = "encrypt-with-known-randomness"
NAMES = (PROVE, VERIFY, SIZE, KEY_PROVE, KEY_VERIFY, ENCRYPT)
_tenseal: Any = importlib.import_module("tenseal")  # the binding ships no types

PROFILE = "additive-1"
MEMBERS = 4
RUNS = 15
LARGEST = 2**40
CONTEXT = b"bench"

PROVE_TARGET = Target(150, at_least=False)
VERIFY_TARGET = Target(120, at_least=False)
SIZE_TARGET = Target(1.45, at_least=False)
# A ceremony of four takes at most 2 s: each member proves once and verifies three times.
KEY_TARGET = Target(150, at_least=False)
# A tenth of what the proof may take: beside it an encryption does not count.
ENCRYPT_TARGET = Target(15, at_least=False)


def measure() -> list[Row]:
    """Return the rows."""
    members = [member_secret(PROFILE, secrets.token_bytes(32), CONTEXT) for _ in range(MEMBERS)]
    shares = [member.public_key_share() for member in members]
    public_key = combine_public_key(PROFILE, CONTEXT, shares)
    rows = _vectors(BATCH_MAX)
    made = encrypt_contribution(PROFILE, public_key, rows, context=CONTEXT)
    sum_contributions(PROFILE, made.ciphertexts)  # all tables built, before any time is taken
    key_proof = prove_key_share(members[0], sender=CONTEXT)

    def prove_share() -> None:
        prove_key_share(members[0], sender=secrets.token_bytes(8))  # other masks, other tries

    return [
        _row(
            PROVE,
            lambda: encrypt_contribution(PROFILE, public_key, rows, context=CONTEXT),
            PROVE_TARGET,
        ),
        _row(
            VERIFY,
            lambda: verify_contribution(
                PROFILE, public_key, made.ciphertexts, made.proof, context=CONTEXT
            ),
            VERIFY_TARGET,
        ),
        Row(
            SIZE,
            len(made.proof) / 1e6,
            "MB",
            Spread.extremes([len(made.proof) / 1e6], "sizes"),
            SIZE_TARGET,
        ),
        _row(KEY_PROVE, prove_share, KEY_TARGET),
        _row(
            KEY_VERIFY,
            lambda: verify_key_share(PROFILE, CONTEXT, shares[0], key_proof, sender=CONTEXT),
            KEY_TARGET,
        ),
        _encryption(public_key),
    ]


def _vectors(count: int) -> list[list[int]]:
    """Return vectors that fill every slot."""
    numbers = np.random.default_rng(8)
    drawn = numbers.integers(-LARGEST, LARGEST, (count, profile(PROFILE).slots))
    return [[int(value) for value in row] for row in drawn]


def _row(name: str, work: Callable[[], object], target: Target) -> Row:
    times = [_milliseconds(work) for _ in range(RUNS)]
    return Row(name, statistics.median(times), "ms", Spread.extremes(times), target)


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - started)


def _encryption(public_key: bytes) -> Row:
    """Return ours for one ciphertext, encoding included, beside TenSEAL's vector of as many."""
    (slots,) = _vectors(1)
    ring = profile_ring(PROFILE)
    form = BatchForm.of(ring, public_key, Content.MESSAGES, 1)
    context = _plain_context()

    def ours() -> None:
        message = half_message(ring, slots)[None]
        form.encrypted(fresh_witness(form, message, secrets.token_bytes(32)))

    def theirs() -> None:
        _tenseal.bfv_vector(context, slots)

    pairs = [(_milliseconds(ours), _milliseconds(theirs)) for _ in range(RUNS)]
    mine = [pair[0] for pair in pairs]
    peer = statistics.median(pair[1] for pair in pairs)
    value = statistics.median(mine)
    return Row(
        ENCRYPT,
        value,
        "ms",
        Spread.extremes(mine),
        ENCRYPT_TARGET,
        peer=f"TenSEAL, one key, no proof possible: {peer:.1f} ms",
        ratio=value / peer,
    )


def _plain_context() -> Any:
    """Return TenSEAL's own context of the same size."""
    row = profile(PROFILE)
    return _tenseal.context(
        _tenseal.SCHEME_TYPE.BFV,
        row.degree,
        row.plain_modulus,
        [prime.bit_length() for prime in row.key_primes],
    )
