"""Whose ledger is asked."""

from __future__ import annotations

from cipherward_client.sdk.ledgers import AWAY_SECONDS, Ledgers


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_ones_own_ledger_is_asked_while_it_answers() -> None:
    ledgers = Ledgers("hospital-b", ["hospital-a", "hospital-b", "hospital-c"], Clock())
    assert (len(ledgers), ledgers.best()) == (3, "hospital-b")


def test_another_is_asked_while_ones_own_is_away_and_no_longer() -> None:
    clock = Clock()
    ledgers = Ledgers("hospital-b", ["hospital-a", "hospital-b", "hospital-c"], clock)
    ledgers.away("hospital-b")
    assert ledgers.best() == "hospital-a"
    clock.now += 1
    ledgers.away("hospital-a")
    assert ledgers.best() == "hospital-c"
    clock.now += AWAY_SECONDS - 1
    assert ledgers.best() == "hospital-b"


def test_when_all_are_away_the_one_that_was_asked_longest_ago_is_next() -> None:
    clock = Clock()
    ledgers = Ledgers("hospital-b", ["hospital-a", "hospital-b"], clock)
    for member in ("hospital-b", "hospital-a", "hospital-b"):
        ledgers.away(member)
        clock.now += 1
    assert ledgers.best() == "hospital-a"


def test_the_only_ledger_is_always_the_one() -> None:
    ledgers = Ledgers("hospital-a", ["hospital-a"], Clock())
    ledgers.away("hospital-a")
    assert (len(ledgers), ledgers.best()) == (1, "hospital-a")
