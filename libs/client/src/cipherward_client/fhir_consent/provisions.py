"""The provision of a Consent: what is permitted, less its exceptions, as exact sets.

The root permits the product of its records, readers and purposes; each inner provision denies the
part of it that fits all its criteria. What no set of contracts grants exactly is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from cipherward_client.fhir_consent.codes import (
    BREAK_GLASS,
    LIMITS_URL,
    PARTICIPATION,
    RECIPIENT,
    WORDS,
)
from cipherward_client.fhir_consent.directory import Directory, Grantee
from cipherward_client.fhir_consent.elements import Element
from cipherward_client.fhir_consent.times import TimeNotExact, begin_of, end_after

# The profiles rule these out, or the chain knows nothing of what they speak of.
_REFUSED = {
    "action": "not used in the profile: the purpose says what is done",
    "class": "not used in the profile",
    "code": "not used in the profile",
    "securityLabel": "of the advanced profile: no label of sensitivity goes on the chain; name "
    "the records",
    "dataPeriod": "the chain knows no dates of data; name the records",
}
GRANTS_MAX = 10_000  # records x readers: more is no decision that a person has made

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """How often a record may be opened, and for how long each time; None: as the contract says."""

    visits_max: int | None = None
    visit_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Permission:
    """What a Consent permits: purposes by (record, reader), until `expires` (Unix seconds)."""

    purposes: dict[tuple[bytes, Grantee], frozenset[str]]
    expires: int
    limits: Limits


@dataclass(frozen=True, slots=True)
class _Criteria:
    """What one provision names; None: it names none, so that any fits."""

    records: frozenset[bytes] | None
    grantees: frozenset[Grantee] | None
    purposes: frozenset[str] | None


def read_provision(root: Element, directory: Directory, now: int) -> Permission:
    """Read the root provision; everything that is refused becomes a finding."""
    if root.text("type") != "permit":
        root.refuse("type", "a dissent grants nothing, and without a consent nobody reads")
    expires = _period(root, now)
    limits = _limits(root)
    named = _criteria(root, directory)
    inner = [_exception(one, directory) for one in root.children("provision")]
    root.end()
    records = directory.all_records if named.records is None else named.records
    if not records:
        root.refuse_here("no record is meant: name them in `data`, or open the wallet with them")
    if named.grantees is None:
        root.refuse("actor", "everybody is no contract's party: name who may read")
    if named.purposes is None:
        root.refuse("purpose", "any purpose is no contract's term: name the purposes")
    grantees, purposes = named.grantees or frozenset(), named.purposes or frozenset()
    if len(records) * len(grantees) > GRANTS_MAX:
        root.refuse_here(f"more than {GRANTS_MAX} contracts")
        return Permission({}, expires, limits)
    granted = {(record, grantee): purposes for record in records for grantee in grantees}
    for path, exception in inner:
        _subtract(granted, exception, path)
    return Permission({key: left for key, left in granted.items() if left}, expires, limits)


def _period(root: Element, now: int) -> int:
    period = root.child("period")
    if period is None:
        root.refuse("period", "every contract ends by itself: give an end")
        return 0
    begin, end = period.text("start"), period.text("end")
    period.end()
    try:
        if begin and begin_of(begin) > now:
            period.refuse("start", "a contract begins when it is on the chain")
    except TimeNotExact as error:
        period.refuse("start", str(error))
    if not end:
        period.refuse("end", "every contract ends by itself: give an end")
        return 0
    try:
        return end_after(end)
    except TimeNotExact as error:
        period.refuse("end", str(error))
        return 0


def _limits(root: Element) -> Limits:
    found: dict[str, int] = {}
    for extension in root.children("extension"):
        if extension.text("url") != LIMITS_URL:
            extension.refuse("url", "an extension that is not known here")
        for part in extension.children("extension"):
            name, value = part.text("url"), part.raw("valuePositiveInt")
            part.end()
            known = name in ("visits_max", "visit_seconds")
            if not known or not isinstance(value, int) or isinstance(value, bool):
                part.refuse_here("neither visits_max nor visit_seconds, as a positive integer")
            else:
                found[name] = value
        extension.end()
    return Limits(found.get("visits_max"), found.get("visit_seconds"))


def _criteria(provision: Element, directory: Directory) -> _Criteria:
    for name, why in _REFUSED.items():
        if provision.has(name):
            provision.refuse(name, why)
    return _Criteria(
        records=_each(provision, "data", lambda data: _record(data, directory)),
        grantees=_each(provision, "actor", lambda actor: _grantee(actor, directory)),
        purposes=_each(provision, "purpose", _purpose),
    )


def _each(
    provision: Element, name: str, read: Callable[[Element], T | None]
) -> frozenset[T] | None:
    if not provision.has(name):
        return None
    found = (read(one) for one in provision.children(name))
    return frozenset(one for one in found if one is not None)


def _record(data: Element, directory: Directory) -> bytes | None:
    meaning, reference = data.text("meaning"), data.child("reference")
    data.end()
    if meaning != "instance":
        data.refuse("meaning", "only named data can be granted: the chain knows no relations")
        return None
    if reference is None:
        data.refuse("reference", "no record is named")
        return None
    return directory.record(reference)


def _grantee(actor: Element, directory: Directory) -> Grantee | None:
    role, reference = actor.child("role"), actor.child("reference")
    actor.end()
    if role is None or codings(role) != {(PARTICIPATION, RECIPIENT)}:
        actor.refuse("role", f"not {RECIPIENT}, an information recipient")
    if reference is None:
        actor.refuse("reference", "nobody is named")
        return None
    return directory.grantee(reference)


def _purpose(purpose: Element) -> str | None:
    coding = coding_of(purpose)
    if coding == BREAK_GLASS:
        purpose.refuse_here("an emergency needs no consent: it has a contract of its own")
        return None
    word = WORDS.get(coding)
    if word is None:
        purpose.refuse_here("not a purpose of the contract's closed list, which names no disease")
    return word


def codings(concept: Element) -> set[tuple[str, str]]:
    """Take a CodeableConcept's (system, code)s."""
    concept.raw("text")
    found = {coding_of(coding) for coding in concept.children("coding")}
    concept.end()
    return found


def coding_of(coding: Element) -> tuple[str, str]:
    """Take a Coding's system and code; its display says nothing more."""
    found = coding.text("system"), coding.text("code")
    for harmless in ("display", "version", "userSelected"):
        coding.raw(harmless)
    coding.end()
    return found


def _exception(inner: Element, directory: Directory) -> tuple[Element, _Criteria]:
    if inner.text("type") != "deny":
        inner.refuse("type", "an exception to what is permitted denies")
    for name in ("period", "provision", "extension"):
        if inner.has(name):
            inner.refuse(name, "an exception names records, readers or purposes, and nothing else")
    found = _criteria(inner, directory)
    inner.end()
    if found == _Criteria(None, None, None):
        inner.refuse_here("an exception without criteria denies everything")
    return inner, found


def _subtract(
    granted: dict[tuple[bytes, Grantee], frozenset[str]], denied: _Criteria, inner: Element
) -> None:
    for (record, grantee), purposes in granted.items():
        if denied.records is not None and record not in denied.records:
            continue
        if denied.grantees is not None and not _fits(grantee, denied.grantees, inner):
            continue
        gone = purposes if denied.purposes is None else denied.purposes
        granted[record, grantee] = purposes - gone


def _fits(grantee: Grantee, denied: Iterable[Grantee], inner: Element) -> bool:
    """Say whether a reader is among those denied; one person out of a whole member is no set."""
    for one in denied:
        if one == grantee or (not one.key and one.member == grantee.member):
            return True
        if one.key and not grantee.key and one.member in ("", grantee.member):
            inner.refuse("actor", "all of a member's clinicians but one is no contract's party")
    return False
