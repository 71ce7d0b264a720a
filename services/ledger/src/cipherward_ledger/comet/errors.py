"""Why a ledger with a consensus node ends or does not start; each has an exit status."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cipherward_kit.errors import CannotStart


class NodeRefused(CannotStart):
    """The consensus node cannot start, or cannot go on; the text ends with its own sentence."""

    exit_status = 34


class MemberRemoved(CannotStart):
    """The alliance has removed this member; its consensus key is destroyed."""

    exit_status = 35


class NodeFilesUnusable(CannotStart):
    """The node's folder cannot be used as it is: starting might sign a height twice."""

    exit_status = 36


class NodeUnusable(CannotStart):
    """The settings lack what a consensus node needs, or its program is not there."""

    exit_status = 37


class StateSyncStuck(CannotStart):
    """A state was restored from a snapshot, and the headers after it cannot be had."""

    exit_status = 39


class ConsensusKeyShared(CannotStart):
    """Another process signs with this member's consensus key: two of them run."""

    exit_status = 42


def key_shared(height: int = 0) -> ConsensusKeyShared:
    """Return what the ledger of a key that others use, too, ends with; `height`: where it shows."""
    where = f" at height {height}" * bool(height)
    return ConsensusKeyShared(
        f"another process votes{where} with this member's consensus key, as when a member is "
        "installed twice: stop one of them for good before this one starts again"
    )


def removed(member: str, height: int, left: Sequence[Path]) -> MemberRemoved:
    """Return what a removed member's ledger ends with.

    Args:
        height: at which it was seen that the member is no more.
        left: files of its consensus key that could not be destroyed.
    """
    keys = "its consensus key is destroyed"
    if left:
        keys = "destroy its consensus key in " + ", ".join(map(str, left))
    return MemberRemoved(
        f"the alliance has removed {member} at height {height}: its node has ended; {keys}; keep "
        "the data folder for receipts, and do not start the ledger again"
    )
