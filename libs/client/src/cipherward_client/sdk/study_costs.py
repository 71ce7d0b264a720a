"""How long a study will take, about: its plan's figures times what steps were measured to take.

Estimates for members on machines of their own in one place. Every figure is of two cores of a
shared virtual machine (docs/performance.md); slow lines and busy machines make it longer, and how
long the members take to vote is theirs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cipherward_studies.explain import Explanation

PROVE_SECONDS = 0.09  # encrypt and prove a batch of up to 8 ciphertexts
VERIFY_SECONDS = 0.075  # verify one such proof: every member verifies every other's
KEY_SECONDS = 0.5  # a member's part of the ceremony, besides the others' proofs
KEY_VERIFY_SECONDS = 0.05  # one public-key share's proof, and one set of deals
SHARE_SECONDS = 0.02  # decryption share of a ciphertext, combining and storing it
BLOCK_SECONDS = 0.1  # from a member's report to the order that follows from all: two blocks or more
LINE_BYTES_SECOND = 12_500_000  # 100 Mbit/s between members
KEY_STEPS, COUNT_STEPS, ROUND_STEPS = 3, 3, 3  # each ends with every member's report in a block
FETCH_SECONDS = 0.5  # the researcher's part of a round: shares, decryption, the next parameters


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds, from the last vote: the key, the counts, each round of values, and all of it."""

    key: float
    counts: float
    one_round: float
    most: float

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def estimate(explanation: Explanation, members: int, *, stored: bool = False) -> Estimate:
    """Return what a study of so many members takes, if all its rounds are needed.

    Args:
        stored: of columns that are stored under a data key: its members make no key for the study.
    """
    others = members - 1
    key = KEY_SECONDS + others * KEY_VERIFY_SECONDS + KEY_STEPS * BLOCK_SECONDS
    if stored:
        key = 0.0
    counts, values = (
        PROVE_SECONDS
        + others * (VERIFY_SECONDS + upload.bytes / LINE_BYTES_SECOND)
        + upload.ciphertexts * SHARE_SECONDS
        + steps * BLOCK_SECONDS
        for upload, steps in ((explanation.counts, COUNT_STEPS), (explanation.values, ROUND_STEPS))
    )
    one_round = values + FETCH_SECONDS
    return Estimate(
        key=round(key, 2),
        counts=round(counts, 2),
        one_round=round(one_round, 2),
        most=round(key + counts + explanation.rounds * one_round, 2),
    )
