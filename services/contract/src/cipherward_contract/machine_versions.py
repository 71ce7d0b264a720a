"""The versions of the state machine that this release carries, and all in which they differ.

A chain goes from version N to N+1 at a height that its members vote, so a release carries both.
Whatever depends on the version is a field of `MachineVersion`, and is read from the block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cipherward_chain.canonical import Value, decode_map, encode
from cipherward_contract.entries import PARAMETERS
from cipherward_contract.refusals import Reason, Refused

# Blocks between the vote and the height: every member has time to see it and to install a release.
NOTICE_BLOCKS_MIN = 10


@dataclass(frozen=True, slots=True)
class MachineVersion:
    """How a version differs.

    forgets_finished_orders: an order's entry is removed once every executor that is still a member
        has reported it, or once the contract no longer waits for it; version 1 keeps it for ever.
    """

    forgets_finished_orders: bool


VERSIONS: Mapping[int, MachineVersion] = {
    1: MachineVersion(forgets_finished_orders=False),
    2: MachineVersion(forgets_finished_orders=True),
}
NEWEST_VERSION = max(VERSIONS)


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A version that was voted, and the first height that it executes."""

    version: int
    height: int

    @classmethod
    def from_value(cls, value: Sequence[Value]) -> Upgrade | None:
        """Return the upgrade that the parameters hold: an empty array is none."""
        numbers = [number for number in value if isinstance(number, int)]
        return cls(numbers[0], numbers[1]) if numbers else None


class ParameterState(Protocol):
    """Where the parameters are: a block's state."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None."""
        ...

    def put(self, key: bytes, value: bytes) -> None:
        """Write a pair."""
        ...


def schedule(state: ParameterState, present: Upgrade | None, wanted: Upgrade, height: int) -> None:
    """Write an upgrade that the members voted in the block at `height`, or refuse.

    Args:
        present: the newest upgrade that the parameters hold.
    """
    raw = state.get(PARAMETERS)
    assert raw is not None  # a block is executed on an initialised chain only
    parameters = decode_map(raw)
    if present is not None:
        if present.height > height:
            raise Refused(Reason.UPGRADE_REFUSED, "another upgrade waits for its height")
        parameters["machine_version"] = present.version
    if wanted.version != _integer(parameters["machine_version"]) + 1:
        raise Refused(Reason.UPGRADE_REFUSED, "the version is not the next one")
    if wanted.height < height + NOTICE_BLOCKS_MIN:
        raise Refused(
            Reason.UPGRADE_REFUSED, f"an upgrade is voted {NOTICE_BLOCKS_MIN} blocks ahead"
        )
    parameters["upgrade"] = [wanted.version, wanted.height]
    state.put(PARAMETERS, encode(parameters))


def _integer(value: Value) -> int:
    return value if isinstance(value, int) else 0
