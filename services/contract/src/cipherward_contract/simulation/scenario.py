"""A scenario: who there is, which records, and what is tried when. Its YAML, read strictly.

    members: [hospital-a, hospital-b, hospital-c, hospital-d]
    holders:
      ada: {schema: patient, member: hospital-a, record: letter}
      bo: {schema: staff, member: hospital-b, role: clinician}
    records:
      letter: {owner: ada, author: hospital-a, custodian: hospital-a, templates: [consent/1]}
    acts:
      - {at: 0, by: ada, do: instantiate, terms: {record: "record:letter", expires: +30d}}
      - {at: +1h, by: bo, do: open, arguments: {purpose: TREAT}, expect: allowed, state: active}

docs/contracts/README.md has the whole form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from cipherward_chain.acts import MEMBER_ID
from cipherward_chain.canonical import NotCanonical, Value
from cipherward_chain.fields import Fields
from cipherward_contract.analysis.source import read_source

MEMBERS_MAX = 16  # a story is told with a handful; keys of each take milliseconds
HOLDERS_MAX, RECORDS_MAX = 64, 16
ACTS_MAX = 500  # one block each; a second of work
SECONDS_MAX = 100 * 366 * 86_400  # nothing here is for longer than a century
ALLOWED = "allowed"  # what an act is expected to be, or the rule that refuses it
DEFAULT_CONTRACT = "contract"

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}", re.ASCII)
_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s)?", re.ASCII)
_UNITS = (86_400, 3_600, 60, 1)

T = TypeVar("T")


class ScenarioMalformed(ValueError):
    """A scenario is not of the form; says what, and at which line where that is known."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody with a wallet: a patient, known inside one record, or a member of staff."""

    name: str
    schema: str
    member: str
    role: str = ""
    record: str = ""


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """A record that is anchored before the first act; `owner` is empty while it is unclaimed."""

    name: str
    owner: str
    author: str
    custodian: str
    templates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a scenario expects of an act: nothing where it is empty or None."""

    outcome: str = ""
    state: str = ""
    orders: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ScriptedAct:
    """One line of a scenario.

    at: seconds since the beginning. by: who tries it, one after another.
    what: `instantiate`, `vote`, `report`, `tick`, `allow_template`, or the name of a transition.
    details: what else the line says, by its kind. contract: a name for the instance.
    """

    at: int
    by: tuple[str, ...]
    what: str
    contract: str
    details: Mapping[str, Value]
    wanted: Wanted
    line: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """The whole story."""

    members: tuple[str, ...]
    holders: Mapping[str, Holder]
    records: Mapping[str, RecordPlan]
    acts: tuple[ScriptedAct, ...]


def seconds_of(text: str) -> int | None:
    """Return a duration, as 1d12h or 90s, in seconds; None if it is none."""
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        return None
    return sum(
        int(count) * unit for count, unit in zip(found.groups(), _UNITS, strict=True) if count
    )


def parse_scenario(text: str) -> Scenario:
    """Return the scenario that a YAML text is, or raise `ScenarioMalformed`."""
    source = read_source(text)
    if source.findings:
        first = source.findings[0]
        raise ScenarioMalformed(f"line {first.line}: {first.message}")
    fields = Fields(source.value)
    try:
        members = fields.texts("members")
        holders = _named(fields, "holders", HOLDERS_MAX, _holder)
        records = _named(fields, "records", RECORDS_MAX, _record)
        items = fields.items("acts")
        fields.end()
    except NotCanonical as error:
        raise ScenarioMalformed(str(error)) from error
    if not 0 < len(members) <= MEMBERS_MAX or not all(map(MEMBER_ID.fullmatch, members)):
        raise ScenarioMalformed(f"members: 1 to {MEMBERS_MAX} ids")
    if not 0 < len(items) <= ACTS_MAX:
        raise ScenarioMalformed(f"acts: 1 to {ACTS_MAX}")
    acts: list[ScriptedAct] = []
    for index, item in enumerate(items):
        line = source.line_of(("acts", str(index)))
        before = acts[-1].at if acts else 0
        try:
            acts.append(_act(item, before, line))
        except (NotCanonical, ScenarioMalformed) as error:
            raise ScenarioMalformed(f"line {line}: {error}") from error
    found = Scenario(members, holders, records, tuple(acts))
    _check_names(found)
    return found


def _named(
    fields: Fields, key: str, count_max: int, read: Callable[[str, Fields], T]
) -> dict[str, T]:
    items = fields.mapping(key) if fields.has(key) else {}
    if len(items) > count_max or not all(map(_NAME.fullmatch, items)):
        raise ScenarioMalformed(f"{key}: at most {count_max}, with names of lower-case letters")
    found: dict[str, T] = {}
    for name, item in items.items():
        try:
            inner = Fields(item)
            found[name] = read(name, inner)
            inner.end()
        except NotCanonical as error:
            raise ScenarioMalformed(f"{key}.{name}: {error}") from error
    return found


def _holder(name: str, fields: Fields) -> Holder:
    schema, member = fields.text("schema"), fields.text("member")
    if schema == "staff":
        return Holder(name, schema, member, role=fields.text("role"))
    if schema != "patient":
        raise ScenarioMalformed(f"holders.{name}: a schema is patient or staff")
    return Holder(name, schema, member, record=fields.text("record"))


def _record(name: str, fields: Fields) -> RecordPlan:
    return RecordPlan(
        name,
        owner=fields.text("owner") if fields.has("owner") else "",
        author=fields.text("author"),
        custodian=fields.text("custodian"),
        templates=tuple(sorted(fields.texts("templates"))),
    )


def _act(item: Value, before: int, line: int) -> ScriptedAct:
    fields = Fields(item)
    kinds = {key: type(value) for key, value in item.items()} if isinstance(item, Mapping) else {}
    at = _time(fields, before, is_number=kinds.get("at") is int)
    what = fields.text("do")
    details: dict[str, Value] = {}
    for name, take in _DETAILS.items():
        if fields.has(name):
            details[name] = take(fields, name)
    found = ScriptedAct(
        at,
        _by(fields, what, is_one=kinds.get("by") is str),
        what,
        fields.text("contract") if fields.has("contract") else DEFAULT_CONTRACT,
        details,
        Wanted(
            fields.text("expect") if fields.has("expect") else "",
            fields.text("state") if fields.has("state") else "",
            fields.texts("orders") if fields.has("orders") else None,
        ),
        line,
    )
    fields.end()
    return found


# What an act may say besides who, when and which contract.
_DETAILS: Mapping[str, Callable[[Fields, str], Value]] = {
    "terms": Fields.mapping,
    "arguments": Fields.mapping,
    "template": Fields.text,
    "transition": Fields.text,
    "approve": Fields.flag,
    "order": Fields.text,
    "outcome": Fields.text,
    "digest": Fields.text,
    "record": Fields.text,
}


def _time(fields: Fields, before: int, *, is_number: bool) -> int:
    """Return when an act is: seconds or a duration since the beginning; with + since the last."""
    if is_number:
        at = fields.integer("at")
    else:
        text = fields.text("at")
        found = seconds_of(text.removeprefix("+"))
        if found is None:
            raise ScenarioMalformed(f"at: {text[:20]!r} is no time, as 3600, 1h or +1d12h")
        at = found + (before if text.startswith("+") else 0)
    if not before <= at <= SECONDS_MAX:
        raise ScenarioMalformed("at: acts are in the order of their times, within a century")
    return at


def _by(fields: Fields, what: str, *, is_one: bool) -> tuple[str, ...]:
    if not fields.has("by"):
        if what != "tick":
            raise ScenarioMalformed("by: somebody acts, except when time passes (tick)")
        return ("",)
    return (fields.text("by"),) if is_one else fields.texts("by")


def _check_names(found: Scenario) -> None:
    """Everybody who is named must be there."""
    for holder in found.holders.values():
        if holder.member not in found.members or holder.name in found.members:
            raise ScenarioMalformed(f"holders.{holder.name}: no member {holder.member}")
        if holder.record and holder.record not in found.records:
            raise ScenarioMalformed(f"holders.{holder.name}: no record {holder.record}")
    for record in found.records.values():
        if not {record.author, record.custodian} <= set(found.members):
            raise ScenarioMalformed(f"records.{record.name}: author and custodian are members")
        owner = found.holders.get(record.owner)
        if record.owner and (owner is None or owner.record != record.name):
            raise ScenarioMalformed(f"records.{record.name}: its owner is a patient of that record")
    for act in found.acts:
        for name in act.by:
            if name and name not in found.members and name not in found.holders:
                raise ScenarioMalformed(f"line {act.line}: nobody is called {name}")
