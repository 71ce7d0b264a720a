"""Who this member is among the others of a study, and what it computes with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cipherward_compute.errors import StepFailed
from cipherward_kit.jobs import WorkerPool


@dataclass(frozen=True, slots=True)
class Member:
    """This member.

    places: index by id of every member of the alliance, as in the genesis.
    pool: where arithmetic runs.
    """

    id: str
    chain_id: str
    places: Mapping[str, int]
    pool: WorkerPool

    def points(self, members: Sequence[str]) -> dict[str, int]:
        """Return the members' points in a sharing: index in the alliance plus one, never zero.

        Raises:
            StepFailed: one of them is not in the alliance.
        """
        if not set(members) <= set(self.places):
            raise StepFailed("the order names a member that the alliance does not have")
        return {name: self.places[name] + 1 for name in members}

    def others(self, members: Sequence[str]) -> tuple[str, ...]:
        """Return the members without this one."""
        return tuple(name for name in members if name != self.id)
