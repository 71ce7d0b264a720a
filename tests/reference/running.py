"""Running histories: so many, from a seed or always the same, and what they came to."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.reference.base import Base, make_base
from tests.reference.histories import Histories
from tests.reference.history import Tally

STEPS = 20  # what is said and done in one history, at most
BATCH = 250  # histories a seed
SEEDS_APART = 10_000  # batches that no two runs with different first seeds share


@contextmanager
def bases(runner: asyncio.Runner) -> Generator[dict[int, Base]]:
    """Make the two beginnings, one a version of the machine."""
    with TemporaryDirectory(prefix="beginning-") as folder:
        made: dict[int, Base] = {}
        for version in (1, 2):
            home = Path(folder) / str(version)
            home.mkdir()
            made[version] = runner.run(make_base(home, version))
        yield made


def run_histories(count: int, from_seed: int | None = None) -> Tally:
    """Play histories; raise AssertionError with the shortest one in which the two differ.

    Args:
        from_seed: other histories for every seed; None: the same ones every time.
    """
    tally = Tally()
    with asyncio.Runner() as runner, bases(runner) as made:
        with_ = {"bases": made, "tally": tally, "runner": runner}
        _play(count, from_seed, with_, phases=(Phase.generate, Phase.shrink))
    return tally


def run_batches(first_seed: int, count: int) -> Tally:
    """Play at least so many histories, a seed a batch: what hypothesis remembers stays small.

    Raises:
        AssertionError: the first one in which the two differ, as it was played. To find the
            shortest takes minutes; a note names the seed with which `run_histories` does it.
    """
    tally = Tally()
    with asyncio.Runner() as runner, bases(runner) as made:
        batch = first_seed * SEEDS_APART
        while tally.histories < count:
            with_ = {"bases": made, "tally": tally, "runner": runner}
            try:
                _play(BATCH, batch, with_, phases=(Phase.generate,))
            except Exception as error:
                error.add_note(f"the shortest: python -m tests.reference --shortest {batch}")
                raise
            batch += 1
    return tally


def _play(
    count: int, from_seed: int | None, with_: dict[str, Any], *, phases: tuple[Phase, ...]
) -> None:
    played: type[Histories] = type("Histories", (Histories,), with_)
    if from_seed is not None:
        played = seed(from_seed)(played)
    chosen = settings(
        max_examples=count,
        stateful_step_count=STEPS,
        deadline=None,  # a history is as long as it is
        database=None,
        derandomize=from_seed is None,
        print_blob=False,
        phases=phases,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(played, settings=chosen)
