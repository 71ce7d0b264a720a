"""Computation under a collective key, beside plain TenSEAL under one key of the same parameters.

Both sides of a pair run turn by turn in one process, by the same code of one library: what differs
is whose secrets the keys are made of. Their ratio is the median over the pairs. The other rows are
whole calls on octets, parsing and serialising included.
"""

from __future__ import annotations

import importlib
import secrets
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.results import Row, Spread, Target
from cipherward_threshold.decryption import combine, partial_decryption
from cipherward_threshold.encryption import encrypt
from cipherward_threshold.evaluation.evaluator import Evaluator
from cipherward_threshold.evaluation.relinearisation import (
    combine_relin_key,
    relin_first,
    relin_second,
)
from cipherward_threshold.evaluation.tenseal_form import tenseal_context
from cipherward_threshold.keys import combine_public_key, member_secret
from cipherward_threshold.parameters import profile
from cipherward_threshold.shamir import aggregate_shares

ENCRYPT, ADD, MULTIPLY = "collective-encrypt", "collective-add", "collective-multiply"
SHARE, COMBINE = "decryption-share", "combine-and-decode"
PRODUCT_SUM, SCORE = "product-sum-8192-patients", "linear-score-patient"
NAMES = (ENCRYPT, ADD, MULTIPLY, SHARE, COMBINE, PRODUCT_SUM, SCORE)
_tenseal: Any = importlib.import_module("tenseal")  # the binding ships no types

ADDITIVE, PRODUCT = "additive-1", "product-1"
POINTS, ONLINE, THRESHOLD = (1, 2, 3, 4), (1, 2, 3), 3
CONTEXT, SEED = b"bench", b"b" * 32
RUNS, PAIRS = 15, 41
PATIENTS = 8192  # the unit of the product row; a ciphertext of product-1 holds two of them
COLUMNS = 5  # vitals of a linear score
WEIGHTS = (419_430, -314_572, 262_144, 104_857, -209_715)  # steps of 2^-20

SAME_TARGET = Target(1.05, at_least=False, of_ratio=True)
# A share reads and writes 0.6 MB, transforms four polynomials and draws one flood.
SHARE_TARGET = Target(3, at_least=False)
PRODUCT_TARGET = Target(0.15, at_least=False)
SCORE_TARGET = Target(3, at_least=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """What a ceremony of four leaves."""

    profile: str
    public_key: bytes
    relin_key: bytes
    shares: dict[int, bytes]

    def share(self, point: int, ciphertext: bytes, circuit: str) -> bytes:
        """Return one guardian's share."""
        return partial_decryption(
            self.profile,
            self.shares[point],
            ciphertext,
            point=point,
            online=ONLINE,
            seed=SEED,
            context=CONTEXT,
            circuit=circuit,
        )


def measure() -> list[Row]:
    """Return the rows."""
    additive, product = ceremony(ADDITIVE), ceremony(PRODUCT, multiplies=True)
    evaluator = Evaluator(PRODUCT, product.relin_key)
    return [
        *_beside_one_key(product),
        *_release(additive),
        _product_sum(product, evaluator),
        _score(product, evaluator),
    ]


def ceremony(name: str, *, multiplies: bool = False) -> Keys:
    """Return the keys of four members; if it multiplies, with a relinearisation key."""
    context = secrets.token_bytes(32)
    members = [member_secret(name, secrets.token_bytes(32), context) for _ in POINTS]
    deals = [member.deal(POINTS, THRESHOLD) for member in members]
    public_key = combine_public_key(name, context, [one.public_key_share() for one in members])
    relin_key = b""
    if multiplies:
        firsts = [relin_first(one) for one in members]
        seconds = [relin_second(one, public_key, firsts) for one in members]
        relin_key = combine_relin_key(name, public_key, firsts, seconds)
    held = {point: aggregate_shares(name, [deal[point] for deal in deals]) for point in POINTS}
    return Keys(name, public_key, relin_key, held)


def _beside_one_key(keys: Keys) -> list[Row]:
    row = profile(keys.profile)
    alone = _tenseal.context(
        _tenseal.SCHEME_TYPE.BFV,
        row.degree,
        row.plain_modulus,
        [prime.bit_length() for prime in row.key_primes],
    )
    together = _tenseal.Context.load(tenseal_context(keys.profile, keys.public_key, keys.relin_key))
    slots = _slots(row.degree)
    pairs = {
        context: [_tenseal.bfv_vector(context, slots) for _ in range(2)]
        for context in (together, alone)
    }

    def row_of(name: str, work: Callable[[Any], object]) -> Row:
        both = [(_milliseconds(work, together), _milliseconds(work, alone)) for _ in range(PAIRS)]
        mine, theirs = ([pair[side] for pair in both] for side in (0, 1))
        value, peer = statistics.median(mine), statistics.median(theirs)
        # Neighbours on the machine slow single calls; both of a pair run within 0.1 s.
        ratio = statistics.median(one / other for one, other in both)
        text = f"TenSEAL, one key: {peer:.1f} ms"
        return Row(name, value, "ms", Spread.extremes(mine), SAME_TARGET, peer=text, ratio=ratio)

    return [
        row_of(ENCRYPT, lambda context: _tenseal.bfv_vector(context, slots)),
        row_of(ADD, lambda context: pairs[context][0] + pairs[context][1]),
        row_of(MULTIPLY, lambda context: pairs[context][0] * pairs[context][1]),
    ]


def _release(keys: Keys) -> list[Row]:
    """Return the rows of one additive release of a whole ciphertext."""
    ciphertext = encrypt(ADDITIVE, keys.public_key, _slots(profile(ADDITIVE).slots))
    shares = [keys.share(point, ciphertext, "sum") for point in ONLINE]

    def share(_: object) -> None:
        keys.share(1, ciphertext, "sum")

    def opened(_: object) -> None:
        combine(ADDITIVE, ciphertext, shares, profile(ADDITIVE).slots, circuit="sum")

    return [_plain(SHARE, share, SHARE_TARGET), _plain(COMBINE, opened, SHARE_TARGET)]


def _product_sum(keys: Keys, evaluator: Evaluator) -> Row:
    """Return the row of flags of one hospital times values of another, released as one sum."""
    row = profile(PRODUCT)
    flags = encrypt(PRODUCT, keys.public_key, [slot % 2 for slot in range(row.slots)])
    values = encrypt(PRODUCT, keys.public_key, _slots(row.slots))

    def release(_: object) -> None:
        product = evaluator.multiply(flags, values)
        shares = [keys.share(point, product, "product-sum") for point in ONLINE]
        combine(PRODUCT, product, shares, 1, circuit="product-sum")

    seconds = [_milliseconds(release, None) / 1e3 * PATIENTS / row.degree for _ in range(RUNS)]
    return Row(
        PRODUCT_SUM, statistics.median(seconds), "s", Spread.extremes(seconds), PRODUCT_TARGET
    )


def _score(keys: Keys, evaluator: Evaluator) -> Row:
    """Return the row of a linear form of five columns, per patient."""
    slots = profile(PRODUCT).slots
    columns = [encrypt(PRODUCT, keys.public_key, _slots(slots)) for _ in range(COLUMNS)]

    def score(_: object) -> None:
        evaluator.linear(columns, WEIGHTS)

    micros = [_milliseconds(score, None) * 1e3 / slots for _ in range(RUNS)]
    return Row(SCORE, statistics.median(micros), "µs", Spread.extremes(micros), SCORE_TARGET)


def _plain(name: str, work: Callable[[object], None], target: Target) -> Row:
    work(None)
    times = [_milliseconds(work, None) for _ in range(RUNS)]
    return Row(name, statistics.median(times), "ms", Spread.extremes(times), target)


def _milliseconds(work: Callable[[Any], object], context: object) -> float:
    started = time.perf_counter()
    work(context)
    return 1e3 * (time.perf_counter() - started)


def _slots(count: int) -> list[int]:
    drawn = np.random.default_rng(8).integers(-(2**20), 2**20, count)
    return [int(value) for value in drawn]
