"""What a wallet remembers of a study outlives the process that read it."""

from __future__ import annotations

import pytest

from cipherward_chain.canonical import NotCanonical
from cipherward_client.wallet.entries import KeptRound, KeptStudy
from cipherward_client.wallet.wallet import Wallet

STUDY = b"s" * 16
FIRST = KeptRound((7, 0), b"", (442, 0, -3, 2**57), (0, 5))
SECOND = KeptRound((11, 2), b"iterate", (442, 0, 8, -(2**57)), (0, 5))


def test_rounds_and_what_was_asked_come_back_with_the_wallet() -> None:
    wallet = Wallet.create("test-chain")
    study = KeptStudy(STUDY, "duty:hospital-a:1", b"request", b"t" * 32, (FIRST, SECOND), b"next")
    wallet.studies[STUDY] = study
    assert Wallet.from_bytes(wallet.to_bytes()).study(STUDY) == study


@pytest.mark.parametrize(
    "change",
    [
        {"totals": [1, True]},
        {"totals": ["1"]},
        {"order": [7]},
        {"order": [7, 0, 1]},
        {"left_out": [b""]},
        {"extra": 1},
    ],
)
def test_a_round_out_of_form_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(NotCanonical):
        KeptRound.from_value({**FIRST.to_value(), **change})  # type: ignore[dict-item]


def test_totals_are_not_shown_where_a_round_is_printed() -> None:
    assert "442" not in repr(FIRST)
