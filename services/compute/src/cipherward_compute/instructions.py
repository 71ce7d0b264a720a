"""The orders that a study's contract gives to compute services, as typed values.

An order is believed because a verified block holds it; that it names what is stored here is checked
by whoever carries it out. `order_reading` makes them of the chain's orders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cipherward_compute.sums import Stage, Sum
from cipherward_member.reports import OrderKey

# Templates whose orders compute services carry out.
RISK_SCORE = "risk-score"
TEMPLATES = frozenset(("study", "column-study", "data-key", RISK_SCORE))
# Why a study ends: its result is out, a step failed, somebody withdrew it, its permit is over; or a
# data key is given up by its members, too old, used up, or over for what was computed with it.
CAUSES = (
    "released",
    "failed",
    "withdrawn",
    "permit-ended",
    "retired",  # from here on: of data keys, and of what is computed with them
    "expired",
    "spent",
    "key-ended",
)

COLUMNS = "columns"  # the lists of columns, once all have committed to theirs
VERDICTS = "verdicts"  # what peers may fetch once the values are ordered

CeremonyStep: TypeAlias = Literal[
    "commit",
    "reveal",
    "confirm",
    "relin_first",
    "relin_second",
    "relin_combine",
    "test_commit",
    "test_open",
]
FixStep: TypeAlias = Literal["commit", "verify"]
StartStep: TypeAlias = Literal["commit", "verify", "refresh", "add"]


@dataclass(frozen=True, slots=True)
class Shared:
    """What every order of a study names. `members` are sorted; `template` is its contract's."""

    key: OrderKey
    study: bytes
    members: tuple[str, ...]
    template: str = "study"


@dataclass(frozen=True, slots=True)
class KeyCeremony:
    """A step of the key ceremony. Maps are digests by member, empty before their step.

    online: who opens the test's product, in its last step; else empty.
    """

    shared: Shared
    step: CeremonyStep
    threshold: int
    profile: str
    seed: bytes
    commitments: Mapping[str, bytes]
    reveals: Mapping[str, bytes]
    online: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What the chain says of a study's text, and the key that it is computed under.

    data_set, outputs: what its permit allows. source: the instance whose key it is, empty for the
    study's own.
    """

    threshold: int
    minimum: int
    spec_digest: bytes
    data_set: str
    outputs: tuple[str, ...]
    requester_key_digest: bytes
    key_digest: bytes
    source: bytes = b""


@dataclass(frozen=True, slots=True)
class StartStudy:
    """Encrypt (commit), or add what all have encrypted (verify); after a dead release, encrypt
    zeros (refresh), and add them to the sum (add).

    Attributes:
        round: of the values, from 1; 0 for the counts.
        iterate: digest of the round's parameters; empty without any.
        commitments: digests of what is to be added, by member.
        verdicts: digests of the guardians' left-out cells; empty for the counts.
        refreshed: digest of the sum that is refreshed; else empty.
    """

    shared: Shared
    stage: Stage
    step: StartStep
    asked: Asked
    round: int
    iterate: bytes
    commitments: Mapping[str, bytes]
    verdicts: Mapping[str, bytes]
    refreshed: bytes

    @property
    def starts(self) -> bool:
        """Whether it is the first of its study: opt-outs that came before its block count."""
        return (self.stage, self.step) == ("counts", "commit")

    @property
    def sum(self) -> Sum:
        """Which sum of the study it is about."""
        return Sum(self.shared.study, self.stage, self.round, self.refreshed)


@dataclass(frozen=True, slots=True)
class ReleaseCounts:
    """The set opens the sum of the counts that has `digest` to all members."""

    shared: Shared
    online: tuple[str, ...]
    digest: bytes
    minimum: int
    key_digest: bytes
    source: bytes = b""


@dataclass(frozen=True, slots=True)
class ReleaseResult:
    """The set switches the sum of the values that has `digest` to the requester's key."""

    shared: Shared
    online: tuple[str, ...]
    digest: bytes
    requester_key_digest: bytes
    key_digest: bytes
    round: int = 1
    source: bytes = b""


@dataclass(frozen=True, slots=True)
class FixColumns:
    """Encrypt this member's columns for all who have enrolled (commit), or verify all (verify).

    commitments: to the lists of columns, by member; empty before. seed: of the block that holds
    them all, for the check of the flags; empty before.
    """

    shared: Shared
    step: FixStep
    threshold: int
    key_digest: bytes
    commitments: Mapping[str, bytes]
    seed: bytes


@dataclass(frozen=True, slots=True)
class RetireKey:
    """The study is over: its key is destroyed. `cause` is why, one of CAUSES."""

    shared: Shared
    cause: str


Release: TypeAlias = ReleaseCounts | ReleaseResult
Instruction: TypeAlias = (
    KeyCeremony | StartStudy | FixColumns | ReleaseCounts | ReleaseResult | RetireKey
)


def stage_of(instruction: Instruction) -> str:
    """Return the state of the contract in which the instruction is given."""
    match instruction:
        case KeyCeremony():
            return f"keying_{instruction.step}"
        case StartStudy() if instruction.shared.template == RISK_SCORE:
            if instruction.stage == "values":
                return "scoring"
            return "masking" if instruction.step == "commit" else "mask_ready"
        case StartStudy(step="refresh"):
            return f"{instruction.stage}_refreshing"
        case StartStudy(step="add"):
            return f"{instruction.stage}_adding"
        case StartStudy(stage="counts"):
            return "counting" if instruction.step == "commit" else "counts_ready"
        case StartStudy():
            return "valuing" if instruction.step == "commit" else "values_ready"
        case FixColumns():
            return "fixing" if instruction.step == "commit" else "checking_flags"
        case ReleaseCounts():
            return "opening_flags" if instruction.shared.template == "data-key" else "checking"
        case ReleaseResult():
            return "releasing"
        case RetireKey():
            return "ended"


def opens(instruction: Instruction) -> str:
    """Return what peers may fetch from this order on, because all have committed; or ""."""
    match instruction:
        case KeyCeremony():
            return f"keys/{instruction.step}"
        case StartStudy(step="verify" | "add"):
            return instruction.sum.name
        case StartStudy(stage="values", step="commit"):
            return VERDICTS
        case FixColumns(step="verify"):
            return COLUMNS
        case _:
            return ""


def awaited(instruction: Instruction) -> tuple[str, ...]:
    """Return the members whose reports the contract waits for."""
    if isinstance(instruction, ReleaseResult):
        return instruction.online
    return instruction.shared.members


def supersedes(instruction: Instruction) -> tuple[str, ...]:
    """Return the kinds of waiting orders of the study that mean nothing any more.

    A release whose set has failed waits for shares in vain: the next attempt, or the values that
    others' verdicts have let through, come in its place; as does the next use of a risk score. The
    end of a study takes all.
    """
    match instruction:
        case StartStudy(stage="counts") if instruction.shared.template == RISK_SCORE:
            return tuple(kind.__name__ for kind in _INSTRUCTIONS)  # of uses before
        case StartStudy(stage="values") if instruction.shared.template == RISK_SCORE:
            return (ReleaseCounts.__name__,)
        case StartStudy(step="refresh") | StartStudy(stage="values", step="commit"):
            return (ReleaseCounts.__name__, ReleaseResult.__name__)
        case FixColumns(step="verify"):  # anew, with other weights
            return (ReleaseCounts.__name__,)
        case RetireKey():
            return tuple(kind.__name__ for kind in _INSTRUCTIONS)
        case _:
            return ()


_INSTRUCTIONS = (KeyCeremony, StartStudy, FixColumns, ReleaseCounts, ReleaseResult)
