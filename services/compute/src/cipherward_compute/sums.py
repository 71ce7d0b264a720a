"""Which ciphertexts of a study are added: the counts, or the values of a round, or zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Stage: TypeAlias = Literal["counts", "values"]


@dataclass(frozen=True, slots=True)
class Sum:
    """The name of a sum of contributions.

    Attributes:
        round: of the values, from 1; 0 for the counts.
        refreshed: digest of the sum whose release is dead and to which zeros are added; empty for
            the counts or values themselves.
    """

    study: bytes
    stage: Stage
    round: int = 0
    refreshed: bytes = b""

    @property
    def name(self) -> str:
        """Return it as a text, without the study."""
        return f"{self.stage}/{self.round}/{self.refreshed.hex()}"
