"""A record key that four members share, dealt in one place for these tests."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from cipherward_threshold.group.curve import G, Scalar, octets, random_scalar
from cipherward_threshold.group.keys import RECORD, ThresholdKey


@dataclass(frozen=True)
class DealtKey:
    """A key and every holder's secret share, by index."""

    key: ThresholdKey
    shares: dict[int, bytes]
    secret: Scalar

    def renewed(self) -> DealtKey:
        """Share the same secret anew, as a resharing does."""
        return dealt(sharing=self.key.sharing + 1, secret=self.secret)


CHAIN, HOLDERS, THRESHOLD = "test-chain", 4, 3


def dealt(*, sharing: int = 1, secret: Scalar | None = None) -> DealtKey:
    """Deal a key: what a ceremony makes without anybody who knows the secret."""
    coefficients = [secret or random_scalar(), *(random_scalar() for _ in range(THRESHOLD - 1))]
    values: dict[int, Scalar] = {}
    for index in range(1, HOLDERS + 1):
        value = Scalar(0)
        for coefficient in reversed(coefficients):
            value = value * Scalar(index) + coefficient
        values[index] = value
    key = ThresholdKey(
        chain_id=CHAIN,
        purpose=RECORD,
        key_epoch=1,
        sharing=sharing,
        threshold=THRESHOLD,
        public_key=octets(G * coefficients[0]),
        points=tuple(octets(G * value) for value in values.values()),
    )
    shares = {index: value.to_be_bytes() for index, value in values.items()}
    return DealtKey(key, shares, coefficients[0])


@pytest.fixture
def shared_key() -> DealtKey:
    """A key of four holders, any three of whom open."""
    return dealt()
