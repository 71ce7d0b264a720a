"""Whether a ceremony is stuck: the phase of the oldest, and since when."""

from __future__ import annotations

from prometheus_client import REGISTRY

from cipherward_member.ceremony_figures import CeremonyFigures

PURPOSE = "figures-test"
FIRST, SECOND = b"first", b"second"


class Clock:
    """Unix time in seconds."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def figure(name: str, **labels: str) -> float | None:
    labels = {"purpose": PURPOSE, **labels}
    return REGISTRY.get_sample_value(f"cipherward_ceremony_{name}", labels)


def test_a_phase_that_lasts_shows_since_when() -> None:
    clock = Clock()
    figures = CeremonyFigures(PURPOSE, clock)
    assert figure("running") == 0
    assert figure("phase_begun_timestamp_seconds") == 0
    figures.show([(FIRST, "deal")])
    clock.seconds = 1060
    figures.show([(FIRST, "deal"), (SECOND, "enrol")])
    assert figure("running") == 2
    assert figure("phase", phase="deal") == 1
    assert figure("phase", phase="enrol") is None
    assert figure("phase_begun_timestamp_seconds") == 1000
    figures.show([(FIRST, "complain"), (SECOND, "enrol")])
    assert figure("phase", phase="deal") is None
    assert figure("phase", phase="complain") == 1
    assert figure("phase_begun_timestamp_seconds") == 1060


def test_the_next_ceremony_begins_its_own_time_and_none_has_none() -> None:
    clock = Clock()
    figures = CeremonyFigures(PURPOSE, clock)
    figures.show([(FIRST, "deal"), (SECOND, "deal")])
    clock.seconds = 1100
    figures.show([(SECOND, "deal")])
    assert figure("phase_begun_timestamp_seconds") == 1100
    figures.show([])
    assert figure("phase_begun_timestamp_seconds") == 0
    assert figure("phase", phase="deal") is None
