"""Key ceremonies of four members: all their arithmetic in two processes, no chain and no gRPC.

A study's key: proven shares, deals, all of them verified by everybody. A data key besides: the
relinearisation key and the rotation keys by which TenSEAL adds up all slots, and the test in which
everybody verifies everybody's dummies, multiplies them and opens the products.
"""

from __future__ import annotations

import multiprocessing
import secrets
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import TypeVar

from bench.results import Row, Spread, Target
from cipherward_compute.arithmetic import evaluation_keys, keys
from cipherward_compute.arithmetic.keys import Checks, Form, KeyParts
from cipherward_threshold.evaluation.rotation import combine_rotation_key, rotation_share
from cipherward_threshold.keys import member_secret
from cipherward_threshold.parameters import profile

STUDY, DATA = "ceremony-4-study-key", "ceremony-4-data-key"
NAMES = (STUDY, DATA)
MEMBERS: tuple[str, ...] = ("a", "b", "c", "d")
ONLINE, THRESHOLD = MEMBERS[:3], 3
WORKERS = 2
RUNS = 3
PROFILES = {STUDY: "additive-1", DATA: "product-1"}
TARGETS = {STUDY: Target(2, at_least=False), DATA: Target(20, at_least=False)}

K = TypeVar("K")
R = TypeVar("R")


def measure() -> list[Row]:
    """Return the rows."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
        return [_row(pool, name) for name in NAMES]


def _row(pool: Executor, name: str) -> Row:
    _ceremony(pool, PROFILES[name])  # builds the rings of all workers
    times = [_ceremony(pool, PROFILES[name]) for _ in range(RUNS)]
    return Row(name, statistics.median(times), "s", Spread.extremes(times), TARGETS[name])


def _ceremony(pool: Executor, profile_name: str) -> float:
    """Return the seconds of one ceremony."""
    points = {member: place for place, member in enumerate(MEMBERS, start=1)}
    form = Form(profile_name, secrets.token_bytes(32), points, THRESHOLD)
    seeds = {member: secrets.token_bytes(32) for member in MEMBERS}
    started = time.perf_counter()
    made = _each(pool, MEMBERS, keys.make_parts, lambda m: (form, seeds[m], m))
    made_keys = _dealt(pool, form, made)
    if profile_name == PROFILES[DATA]:
        _multiplying(pool, form, seeds, made_keys)
    return time.perf_counter() - started


def _dealt(
    pool: Executor, form: Form, made: Mapping[str, KeyParts]
) -> dict[str, tuple[bytes, bytes]]:
    """Return the key, and each member's share of it, after everybody has verified everything."""
    pairs = [(dealer, receiver) for dealer in MEMBERS for receiver in MEMBERS if dealer != receiver]
    _each(pool, pairs, keys.check_parts, lambda p: (form, *p, made[p[0]]))
    challenge = secrets.token_bytes(32)
    deals = {receiver: [made[dealer].deals[receiver] for dealer in MEMBERS] for receiver in MEMBERS}
    answers = _each(pool, MEMBERS, keys.answer, lambda m: (form.profile, deals[m], challenge))
    revealed = {member: (parts.share, parts.mask_share) for member, parts in made.items()}
    checks = Checks(challenge, answers)
    if any(_each(pool, MEMBERS, keys.disputed, lambda _: (form, revealed, checks)).values()):
        raise AssertionError("honest deals are disputed")
    shares = [parts.share for parts in made.values()]
    return _each(pool, MEMBERS, keys.make_key, lambda m: (form, shares, deals[m]))


def _multiplying(
    pool: Executor,
    form: Form,
    seeds: Mapping[str, bytes],
    made_keys: Mapping[str, tuple[bytes, bytes]],
) -> None:
    public_key, _ = made_keys["a"]
    firsts = _each(pool, MEMBERS, evaluation_keys.first_message, lambda m: (form, seeds[m]))
    seconds = _each(
        pool,
        MEMBERS,
        evaluation_keys.second_message,
        lambda m: (form, seeds[m], public_key, firsts),
    )
    combined = _each(
        pool, MEMBERS, evaluation_keys.combined_key, lambda _: (form, public_key, firsts, seconds)
    )
    _rotations(pool, form, seeds, public_key)
    batches = _each(
        pool, MEMBERS, evaluation_keys.dummy_batch, lambda m: (form, public_key, m, m.encode())
    )
    pairs = [(checker, member) for checker in MEMBERS for member in MEMBERS if checker != member]
    _each(
        pool,
        pairs,
        evaluation_keys.check_dummy_batch,
        lambda p: (form, public_key, p[1], batches[p[1]], p[1].encode()),
    )
    products = _each(
        pool, MEMBERS, evaluation_keys.products_of, lambda m: (form, combined[m], batches)
    )
    online = {member: form.points[member] for member in ONLINE}
    shares = _each(
        pool,
        ONLINE,
        evaluation_keys.product_shares,
        lambda m: (form, made_keys[m][1], products[m], online, m, (seeds[m], b"bench")),
    )
    _each(pool, MEMBERS, evaluation_keys.open_products, lambda m: (form, products[m], shares))


def _rotations(pool: Executor, form: Form, seeds: Mapping[str, bytes], public_key: bytes) -> None:
    """Make the keys for rotations by every power of two: one round each."""
    for power in range((profile(form.profile).degree // 2).bit_length() - 1):
        _rotation(pool, form, seeds, public_key, 1 << power)


def _rotation(
    pool: Executor, form: Form, seeds: Mapping[str, bytes], public_key: bytes, step: int
) -> None:
    shares = _each(pool, MEMBERS, _rotation_share, lambda m: (form, seeds[m], step))
    given = list(shares.values())
    _each(pool, MEMBERS, combine_rotation_key, lambda _: (form.profile, public_key, given))


def _rotation_share(form: Form, seed: bytes, step: int) -> bytes:
    return rotation_share(member_secret(form.profile, seed, form.context), step)


def _each(
    pool: Executor,
    names: Iterable[K],
    function: Callable[..., R],
    arguments: Callable[[K], tuple[object, ...]],
) -> dict[K, R]:
    """Call a function once for every name, side by side."""
    waiting = {name: pool.submit(function, *arguments(name)) for name in names}
    return {name: future.result() for name, future in waiting.items()}
