"""What the shared-key library refuses, one class per cause.

All are `ValueError`s; a service maps them to its own codes. Verification raises, it never answers.
"""

from __future__ import annotations

from collections.abc import Iterable

from cipherward_threshold.errors import ThresholdError


class GroupError(ThresholdError):
    """The common base, for a caller that treats all of them alike."""


class OctetsRejected(GroupError):
    """Octets are not the canonical form of what was expected, or are the identity."""


class LengthsDiffer(GroupError):
    """Two lists that belong together have different lengths."""


class IndexesRejected(GroupError):
    """Share indexes are not distinct numbers from 1."""


class KeyRejected(GroupError):
    """The parts of a shared key do not belong together: lengths, threshold, purpose or numbers."""


class WrongPurpose(GroupError):
    """A key of one purpose was given to an operation of another one."""

    def __init__(self, purpose: str, needed: str) -> None:
        super().__init__("a shared key serves its own purpose only", have=purpose, need=needed)


class SlotRejected(GroupError):
    """A slot was not made for this key and label by somebody who knows what is in it."""


class CiphertextRejected(GroupError):
    """An encrypted identity key is out of form, or holds no key."""


class KeyShareRejected(GroupError):
    """A member's secret share is not the one of this index and sharing."""


class ShareRejected(GroupError):
    """A share is wrong, or belongs to another key, sharing, slot or context."""

    def __init__(self, index: int) -> None:
        super().__init__("a share is wrong", index=index)
        self.index = index


class WrongShares(GroupError):
    """Fewer right shares than the threshold came, and wrong ones: `indexes` names who made them."""

    def __init__(self, indexes: Iterable[int]) -> None:
        self.indexes = tuple(sorted(indexes))
        named = ",".join(str(index) for index in self.indexes)
        super().__init__("too few shares are right", wrong=named)


class NotEnoughShares(GroupError):
    """Fewer shares than the threshold, and none of them wrong."""

    def __init__(self, have: int, need: int) -> None:
        super().__init__("too few shares", have=have, need=need)


class PlanRejected(GroupError):
    """A ceremony's plan is out of range or contradicts itself."""


class MessageRefused(GroupError):
    """A ceremony's message is late, early, repeated, malformed or false; it leaves no trace."""


class SeedRejected(GroupError):
    """A participant's seed has not exactly 32 bytes."""


class NoShare(GroupError):
    """This member has no share of the key: a dealer's part is missing or wrong, and it did not (or
    could not) complain in time. It gets one at the next resharing.
    """
