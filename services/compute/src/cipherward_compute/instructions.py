"""The orders that a study's contract gives to compute services, as typed values.

An order is believed because a verified block holds it; that it names what is stored here is checked
by whoever carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from cipherward_chain.acts import DIGEST_BYTES, ID_BYTES
from cipherward_chain.canonical import NotCanonical, Value
from cipherward_chain.fields import Fields
from cipherward_chain.orders import Order
from cipherward_member.reports import OrderKey

TEMPLATE = "study"
# Why a study ends: its result is out, a step failed, somebody withdrew it, or its permit is over.
CAUSES = ("released", "failed", "withdrawn", "permit-ended")

Stage: TypeAlias = Literal["counts", "values"]


@dataclass(frozen=True, slots=True)
class Shared:
    """What every order of a study names. `members` are sorted."""

    key: OrderKey
    study: bytes
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyCeremony:
    """A step of the key ceremony. Maps are digests by member, empty before their step."""

    shared: Shared
    step: Literal["commit", "reveal", "confirm"]
    threshold: int
    seed: bytes
    commitments: Mapping[str, bytes]
    reveals: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class StartStudy:
    """Encrypt (commit), or add what all have encrypted (verify).

    data_set, outputs: what the study's permit allows of the text.
    """

    shared: Shared
    stage: Stage
    step: Literal["commit", "verify"]
    minimum: int
    spec_digest: bytes
    data_set: str
    outputs: tuple[str, ...]
    requester_key_digest: bytes
    key_digest: bytes
    commitments: Mapping[str, bytes]

    @property
    def starts(self) -> bool:
        """Whether it is the first of its study: opt-outs that came before its block count."""
        return (self.stage, self.step) == ("counts", "commit")


@dataclass(frozen=True, slots=True)
class ReleaseCounts:
    """The set opens the sum of the counts named by `c1_digest` to all members."""

    shared: Shared
    online: tuple[str, ...]
    c1_digest: bytes
    minimum: int
    key_digest: bytes


@dataclass(frozen=True, slots=True)
class ReleaseResult:
    """The set switches the sum of the values named by `c1_digest` to the requester's key."""

    shared: Shared
    online: tuple[str, ...]
    c1_digest: bytes
    requester_key_digest: bytes
    key_digest: bytes


@dataclass(frozen=True, slots=True)
class RetireKey:
    """The study is over: its key is destroyed. `cause` is why, one of CAUSES."""

    shared: Shared
    cause: str


Instruction: TypeAlias = KeyCeremony | StartStudy | ReleaseCounts | ReleaseResult | RetireKey


class OrderMalformed(ValueError):
    """An order of a study is not in the form that this release knows."""


def instruction_of(order: Order) -> Instruction | None:
    """Return what an order asks of compute services; None if it asks nothing of them.

    Raises:
        OrderMalformed: it is one of ours, in another form.
    """
    read = _READERS.get(order.instruction)
    if order.template != TEMPLATE or read is None:
        return None
    try:
        fields = order.fields()
        shared = Shared(
            OrderKey(order.height, order.index),
            fields.octets("study", length=ID_BYTES),
            fields.texts("members"),
        )
        found = read(shared, fields)
        fields.end()
    except NotCanonical as error:
        raise OrderMalformed(f"{order.instruction}: {error}") from None
    if shared.study != order.instance or not _sorted_once(shared.members):
        raise OrderMalformed(f"{order.instruction}: another study, or members not in order")
    if isinstance(found, ReleaseCounts | ReleaseResult) and not (
        _sorted_once(found.online) and set(found.online) <= set(shared.members)
    ):
        raise OrderMalformed(f"{order.instruction}: the set is not one of the members")
    return found


def stage_of(instruction: Instruction) -> str:
    """Return the state of the contract in which the instruction is given."""
    match instruction:
        case KeyCeremony():
            return f"keying_{instruction.step}"
        case StartStudy(stage="counts"):
            return "counting" if instruction.step == "commit" else "counts_ready"
        case StartStudy():
            return "valuing" if instruction.step == "commit" else "values_ready"
        case ReleaseCounts():
            return "checking"
        case ReleaseResult():
            return "releasing"
        case RetireKey():
            return "ended"


def opens(instruction: Instruction) -> str:
    """Return what peers may fetch from this order on, because all have committed; or ""."""
    match instruction:
        case KeyCeremony(step="reveal"):
            return "keys"
        case StartStudy(step="verify"):
            return instruction.stage
        case _:
            return ""


def _sorted_once(members: tuple[str, ...]) -> bool:
    return bool(members) and list(members) == sorted(set(members))


def _key_ceremony(shared: Shared, fields: Fields) -> KeyCeremony:
    step = _one_of(fields, "step", "commit", "reveal", "confirm")
    return KeyCeremony(
        shared,
        cast("Literal['commit', 'reveal', 'confirm']", step),
        fields.integer("threshold", minimum=1),
        fields.octets("seed", length=DIGEST_BYTES),
        _digests(fields, "commitments"),
        _digests(fields, "reveals"),
    )


def _start_study(shared: Shared, fields: Fields) -> StartStudy:
    fields.integer("threshold", minimum=1)  # the key has it
    return StartStudy(
        shared,
        cast("Stage", _one_of(fields, "stage", "counts", "values")),
        cast("Literal['commit', 'verify']", _one_of(fields, "step", "commit", "verify")),
        fields.integer("minimum", minimum=1),
        fields.octets("spec_digest", length=DIGEST_BYTES),
        fields.text("data_set"),
        fields.texts("outputs"),
        fields.octets("requester_key_digest", length=DIGEST_BYTES),
        fields.octets("key_digest", length=DIGEST_BYTES),
        _digests(fields, "commitments"),
    )


def _release_counts(shared: Shared, fields: Fields) -> ReleaseCounts:
    fields.integer("threshold", minimum=1)
    return ReleaseCounts(
        shared,
        fields.texts("set"),
        fields.octets("digest", length=DIGEST_BYTES),
        fields.integer("minimum", minimum=1),
        fields.octets("key_digest", length=DIGEST_BYTES),
    )


def _release_result(shared: Shared, fields: Fields) -> ReleaseResult:
    fields.integer("threshold", minimum=1)
    return ReleaseResult(
        shared,
        fields.texts("set"),
        fields.octets("digest", length=DIGEST_BYTES),
        fields.octets("requester_key_digest", length=DIGEST_BYTES),
        fields.octets("key_digest", length=DIGEST_BYTES),
    )


def _retire_key(shared: Shared, fields: Fields) -> RetireKey:
    return RetireKey(shared, _one_of(fields, "cause", *CAUSES))


_READERS: Mapping[str, Callable[[Shared, Fields], Instruction]] = {
    "run_key_ceremony": _key_ceremony,
    "start_study": _start_study,
    "release_counts": _release_counts,
    "release_result": _release_result,
    "retire_key": _retire_key,
}


def _one_of(fields: Fields, name: str, *words: str) -> str:
    word = fields.text(name)
    if word not in words:
        raise NotCanonical(f"field {name} is none of {', '.join(words)}")
    return word


def _digests(fields: Fields, name: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    value: Value
    for member, value in fields.mapping(name).items():
        if not isinstance(value, bytes) or len(value) != DIGEST_BYTES:
            raise NotCanonical(f"field {name} holds more than digests")
        found[member] = value
    return found
