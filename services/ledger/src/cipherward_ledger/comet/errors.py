"""Why a ledger with a consensus node ends or does not start; each has an exit status."""

from __future__ import annotations

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
