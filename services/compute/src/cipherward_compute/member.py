"""Who this member is among the others of a study, and what it computes with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cipherward_compute.errors import StepFailed
from cipherward_kit.jobs import WorkerPool
from cipherward_member.registry import MemberRegistry


@dataclass(frozen=True, slots=True)
class Member:
    """This member.

    registry: every member of the alliance, now.
    pool: where arithmetic runs.
    """

    id: str
    chain_id: str
    registry: MemberRegistry
    pool: WorkerPool

    def points(self, members: Sequence[str]) -> dict[str, int]:
        """Return the members' points in a sharing: index in the alliance plus one, never zero.

        Raises:
            StepFailed: one of them is not in the alliance.
        """
        registered = self.registry.members
        if not set(members) <= set(registered):
            raise StepFailed("the order names a member that the alliance does not have")
        return {name: registered[name].index + 1 for name in members}

    def others(self, members: Sequence[str]) -> tuple[str, ...]:
        """Return the members without this one."""
        return tuple(name for name in members if name != self.id)
