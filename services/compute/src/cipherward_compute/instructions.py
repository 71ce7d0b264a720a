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
KEY_RESHARING = "key-resharing"
TEMPLATES = frozenset(("study", "column-study", "data-key", RISK_SCORE, KEY_RESHARING))
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
ReshareStep: TypeAlias = Literal["ready", "deal", "answer", "confirm", "test", "open"]
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
class Resharing:
    """What every order of a resharing says about it.

    source: the data key. holders: who hold it and are in the alliance. new, threshold: who shall,
    and how many of them decrypt. key_digest: of the key, which stays.
    """

    source: bytes
    holders: tuple[str, ...]
    new: tuple[str, ...]
    threshold: int
    key_digest: bytes


@dataclass(frozen=True, slots=True)
class ReshareKey:
    """A step of a resharing, for the holders, their dealers or the new holders to take.

    Attributes:
        dealers: the holders that deal, from that step on.
        evaluation_digest, spec_digest: of the key by which ciphertexts are multiplied, and of the
            text of the columns: what a new holder is handed is held against them.
        columns: each member's commitment to the list of its columns.
        seed: of the block that holds all answers about the deals; empty before the test.
        commitments: the dealers', to what they deal; empty before all have.
        reveals: the new holders', to their answers, and then to their shares of the test.
    """

    shared: Shared
    step: ReshareStep
    resharing: Resharing
    dealers: tuple[str, ...]
    evaluation_digest: bytes
    spec_digest: bytes
    columns: Mapping[str, bytes]
    seed: bytes
    commitments: Mapping[str, bytes]
    reveals: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class HandOverKey:
    """The new sharing is in force: the old shares are destroyed, in the block's own transaction."""

    shared: Shared
    resharing: Resharing


@dataclass(frozen=True, slots=True)
class RetireKey:
    """The study is over: its key is destroyed. `cause` is why, one of CAUSES."""

    shared: Shared
    cause: str


Release: TypeAlias = ReleaseCounts | ReleaseResult
Instruction: TypeAlias = (
    KeyCeremony
    | StartStudy
    | FixColumns
    | ReleaseCounts
    | ReleaseResult
    | ReshareKey
    | HandOverKey
    | RetireKey
)
