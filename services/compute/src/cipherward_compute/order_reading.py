"""Reading the chain's orders: strictly, since another form is another release's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast, get_args

from cipherward_chain.acts import DIGEST_BYTES, ID_BYTES
from cipherward_chain.canonical import NotCanonical
from cipherward_chain.fields import Fields
from cipherward_chain.orders import Order
from cipherward_compute.instructions import (
    CAUSES,
    RISK_SCORE,
    TEMPLATES,
    Asked,
    CeremonyStep,
    FixColumns,
    FixStep,
    HandOverKey,
    Instruction,
    KeyCeremony,
    ReleaseCounts,
    ReleaseResult,
    ReshareKey,
    ReshareStep,
    Resharing,
    RetireKey,
    Shared,
    StartStep,
    StartStudy,
)
from cipherward_compute.sums import Stage
from cipherward_member.reports import OrderKey


class OrderMalformed(ValueError):
    """An order of a study is not in the form that this release knows."""


def instruction_of(order: Order) -> Instruction | None:
    """Return what an order asks of compute services; None if it asks nothing of them.

    Raises:
        OrderMalformed: it is one of ours, in another form.
    """
    read = _READERS.get(order.instruction)
    if order.template not in TEMPLATES or read is None:
        return None
    try:
        fields = order.fields()
        shared = Shared(
            OrderKey(order.height, order.index),
            fields.octets("study", length=ID_BYTES),
            fields.texts("members"),
            order.template,
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


def _sorted_once(members: tuple[str, ...]) -> bool:
    return bool(members) and list(members) == sorted(set(members))


def _key_ceremony(shared: Shared, fields: Fields) -> KeyCeremony:
    return KeyCeremony(
        shared,
        cast("CeremonyStep", _one_of(fields, "step", *get_args(CeremonyStep))),
        fields.integer("threshold", minimum=1),
        fields.text("profile"),
        fields.octets("seed", length=DIGEST_BYTES),
        _digests(fields, "commitments"),
        _digests(fields, "reveals"),
        fields.texts("set") if fields.has("set") else (),
    )


def _start_study(shared: Shared, fields: Fields) -> StartStudy:
    found = StartStudy(
        shared,
        cast("Stage", _one_of(fields, "stage", *get_args(Stage))),
        cast("StartStep", _one_of(fields, "step", *get_args(StartStep))),
        Asked(
            fields.integer("threshold", minimum=1),
            fields.integer("minimum", minimum=1),
            fields.octets("spec_digest", length=DIGEST_BYTES),
            fields.text("data_set"),
            fields.texts("outputs"),
            fields.octets("requester_key_digest", length=DIGEST_BYTES),
            fields.octets("key_digest", length=DIGEST_BYTES),
            _octets_or_none(fields, "source", ID_BYTES),
        ),
        fields.integer("round"),
        _octets_or_none(fields, "iterate", DIGEST_BYTES),
        _digests(fields, "commitments"),
        _digests(fields, "verdicts"),
        _octets_or_none(fields, "digest", DIGEST_BYTES),
    )
    if shared.template == RISK_SCORE:
        _check_use(found)
        return found
    if (found.stage == "values") != (found.round > 0):
        raise NotCanonical("field round does not fit the stage")
    if (found.step in ("refresh", "add")) != bool(found.refreshed):
        raise NotCanonical("field digest does not fit the step")
    return found


def _check_use(order: StartStudy) -> None:
    """Accept an order of a risk score: a use is numbered from 1, and its mask is one member's."""
    if order.step not in ("commit", "verify") or (order.stage, order.step) == ("values", "commit"):
        raise NotCanonical("field step does not fit the stage")
    if order.asked.outputs != ("risk_score",) or order.verdicts or order.refreshed:
        raise NotCanonical("an order of a risk score has what belongs to studies")
    if order.round < 1 or len(order.iterate) != DIGEST_BYTES or not order.asked.source:
        raise NotCanonical("an order of a risk score does not say which use it is")
    mask = order.shared.members if order.step == "commit" else tuple(order.commitments)
    if len(mask) != 1 or (order.step == "commit" and order.commitments):
        raise NotCanonical("the mask is not one member's")


def _release_counts(shared: Shared, fields: Fields) -> ReleaseCounts:
    fields.integer("threshold", minimum=1)
    return ReleaseCounts(
        shared,
        fields.texts("set"),
        fields.octets("digest", length=DIGEST_BYTES),
        fields.integer("minimum", minimum=1),
        fields.octets("key_digest", length=DIGEST_BYTES),
        _octets_or_none(fields, "source", ID_BYTES),
    )


def _release_result(shared: Shared, fields: Fields) -> ReleaseResult:
    fields.integer("threshold", minimum=1)
    return ReleaseResult(
        shared,
        fields.texts("set"),
        fields.octets("digest", length=DIGEST_BYTES),
        fields.octets("requester_key_digest", length=DIGEST_BYTES),
        fields.octets("key_digest", length=DIGEST_BYTES),
        fields.integer("round", minimum=1),
        _octets_or_none(fields, "source", ID_BYTES),
    )


def _fix_columns(shared: Shared, fields: Fields) -> FixColumns:
    return FixColumns(
        shared,
        cast("FixStep", _one_of(fields, "step", *get_args(FixStep))),
        fields.integer("threshold", minimum=1),
        fields.octets("key_digest", length=DIGEST_BYTES),
        _digests(fields, "commitments"),
        _octets_or_none(fields, "seed", DIGEST_BYTES),
    )


def _reshare_key(shared: Shared, fields: Fields) -> ReshareKey:
    found = ReshareKey(
        shared,
        cast("ReshareStep", _one_of(fields, "step", *get_args(ReshareStep))),
        _resharing(fields),
        fields.texts("dealers"),
        fields.octets("evaluation_digest", length=DIGEST_BYTES),
        fields.octets("spec_digest", length=DIGEST_BYTES),
        _digests(fields, "column_commitments"),
        _octets_or_none(fields, "seed", DIGEST_BYTES),
        _digests(fields, "commitments"),
        _digests(fields, "reveals"),
    )
    _check_resharing(found)
    return found


def _check_resharing(order: ReshareKey) -> None:
    """Refuse an order whose members and digests do not fit its step."""
    resharing, dealers, step = order.resharing, order.dealers, order.step
    takes = {"ready": resharing.holders, "deal": dealers}.get(step, resharing.new)
    if order.shared.members != takes:
        raise NotCanonical("another step's members")
    if step == "ready":
        wanted: tuple[tuple[str, ...], ...] = ((), (), ())
    else:
        if not _sorted_once(dealers) or not set(dealers) <= set(resharing.holders):
            raise NotCanonical("field dealers names others than holders")
        wanted = (
            dealers,
            () if step == "deal" else dealers,
            () if step in ("deal", "answer") else resharing.new,
        )
    if (dealers, tuple(sorted(order.commitments)), tuple(sorted(order.reveals))) != wanted:
        raise NotCanonical("the dealers or the digests are not those of the step")
    if bool(order.seed) != (step in ("test", "open")):
        raise NotCanonical("field seed does not fit the step")


def _hand_over_key(shared: Shared, fields: Fields) -> HandOverKey:
    return HandOverKey(shared, _resharing(fields))


def _resharing(fields: Fields) -> Resharing:
    found = Resharing(
        fields.octets("source", length=ID_BYTES),
        fields.texts("holders"),
        fields.texts("new"),
        fields.integer("threshold", minimum=1),
        fields.octets("key_digest", length=DIGEST_BYTES),
    )
    if not _sorted_once(found.holders) or not _sorted_once(found.new):
        raise NotCanonical("the holders are not in order")
    if found.threshold > len(found.new):
        raise NotCanonical("the threshold is more than the holders")
    return found


def _retire_key(shared: Shared, fields: Fields) -> RetireKey:
    return RetireKey(shared, _one_of(fields, "cause", *CAUSES))


_READERS: Mapping[str, Callable[[Shared, Fields], Instruction]] = {
    "run_key_ceremony": _key_ceremony,
    "start_study": _start_study,
    "release_counts": _release_counts,
    "release_result": _release_result,
    "fix_columns": _fix_columns,
    "reshare_key": _reshare_key,
    "hand_over_key": _hand_over_key,
    "retire_key": _retire_key,
}


def _one_of(fields: Fields, name: str, *words: str) -> str:
    word = fields.text(name)
    if word not in words:
        raise NotCanonical(f"field {name} is none of {', '.join(words)}")
    return word


def _octets_or_none(fields: Fields, name: str, length: int) -> bytes:
    octets = fields.octets(name)
    if len(octets) not in (0, length):
        raise NotCanonical(f"field {name} has neither {length} bytes nor none")
    return octets


def _digests(fields: Fields, name: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for member, value in fields.mapping(name).items():
        if not isinstance(value, bytes) or len(value) != DIGEST_BYTES:
            raise NotCanonical(f"field {name} holds more than digests")
        found[member] = value
    return found
