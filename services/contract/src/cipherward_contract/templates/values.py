"""Checking the values of a contract's terms and arguments against their types."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cipherward_chain.acts import DIGEST_BYTES, ID_BYTES, NAME
from cipherward_chain.authorization import PSEUDONYM_BYTES
from cipherward_chain.canonical import Value
from cipherward_contract.templates.registration import (
    certificate_fault,
    certificates_fault,
    member_id_fault,
    name_fault,
    public_key_fault,
    sealing_key_fault,
)
from cipherward_contract.templates.types import FieldType
from cipherward_threshold.group.ceremony.plan import enough_of

# A policy sees longer byte strings (keys of kilobytes) by their digest, so that a decision stays
# cheap.
POLICY_BYTES_MAX = 64
LIST_MAX = 64  # as many members as an alliance may have
# Names say nothing of what is in a data set; the holders know.
DATA_SET = re.compile(r"cohort-(?:0|[1-9][0-9]{0,5})", re.ASCII)
DUTY_SCOPE = re.compile(r"duty:[a-z][a-z0-9-]{1,30}:[1-9][0-9]{0,9}", re.ASCII)

QUORUM_MIN = 3  # with fewer shares two members could decrypt for themselves

Values: TypeAlias = Mapping[str, Value]


class ValueRefused(ValueError):
    """A term or an argument is missing, unknown, of another type, or out of its bounds."""


@dataclass(frozen=True, slots=True)
class World:
    """What values are checked against: the members' ids, the block's time in seconds, and where
    contracts stand (template and state by id; None if there is none).
    """

    members: frozenset[str]
    now: int
    standing: Callable[[bytes], tuple[str, str] | None]


def check_values(types: Mapping[str, FieldType], values: Values, world: World) -> None:
    """Accept `values` only if they are exactly the fields of `types`, each of its type.

    Raises:
        ValueRefused: names the first field, by name, that is wrong, and why.
    """
    if types.keys() != values.keys():
        name = sorted(types.keys() ^ values.keys())[0]
        raise ValueRefused(f"{name}: " + ("missing" if name in types else "unknown"))
    for name in sorted(types):
        why = _CHECKS[types[name].kind](types[name], values[name], values, world)
        if why:
            raise ValueRefused(f"{name}: {why}")


def _number(value: Value) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


# Returns what is wrong with a value, or "".
_Check: TypeAlias = Callable[[FieldType, Value, Values, World], str]


def _check_bytes(kind: FieldType, value: Value, _: Values, __: World) -> str:
    if not isinstance(value, bytes) or len(value) not in kind.numbers:
        return f"not bytes of length {' or '.join(map(str, kind.numbers))}"
    return ""


def _check_text(kind: FieldType, value: Value, _: Values, __: World) -> str:
    return "" if isinstance(value, str) and value in kind.names else "not of the closed list"


def _check_int(kind: FieldType, value: Value, _: Values, __: World) -> str:
    low, high = kind.numbers
    number = _number(value)
    return "" if number is not None and low <= number <= high else f"not between {low} and {high}"


def _check_time(kind: FieldType, value: Value, _: Values, world: World) -> str:
    number = _number(value)
    if number is None or not world.now < number <= world.now + kind.numbers[0]:
        return f"not a time after the block and at most {kind.numbers[0]} seconds ahead"
    return ""


def _check_member(kind: FieldType, value: Value, _: Values, world: World) -> str:
    if value == "" and kind.numbers[0]:
        return ""
    return "" if isinstance(value, str) and value in world.members else "not a member"


def member_list(value: Value | None) -> list[str]:
    """Return a list of texts, or an empty one when `value` is anything else."""
    if not isinstance(value, (list, tuple)):
        return []
    texts = [item for item in value if isinstance(item, str)]
    return texts if len(texts) == len(value) else []


def _check_members(kind: FieldType, value: Value, _: Values, world: World) -> str:
    members = member_list(value)
    if not members or members != sorted(set(members)) or len(members) > LIST_MAX:
        return "not a sorted list of distinct members"
    if not world.members.issuperset(members):
        return "not all are members"
    if len(members) < kind.numbers[0]:
        return f"fewer than {kind.numbers[0]} members"
    most = kind.numbers[1] if len(kind.numbers) > 1 else LIST_MAX
    return "" if len(members) <= most else f"more than {most} members"


def _check_quorum(kind: FieldType, value: Value, values: Values, _: World) -> str:
    quorum = enough_of(len(member_list(values[kind.names[0]])))
    if _number(value) != quorum or quorum < QUORUM_MIN:
        return f"not the quorum of {kind.names[0]}"
    return ""


def _check_count(kind: FieldType, value: Value, values: Values, _: World) -> str:
    number, least = _number(value), _number(values[kind.names[1]])
    most = len(member_list(values[kind.names[0]]))
    if number is None or least is None or not least <= number <= most:
        return f"not between {kind.names[1]} and the number of {kind.names[0]}"
    return ""


def _sorted_distinct(value: Value, least: int, what: str) -> tuple[list[str], str]:
    """Return a list of texts, and why it is none that may be given, or ""."""
    found = member_list(value)
    if not isinstance(value, (list, tuple)) or len(found) != len(value):
        return [], f"not a list of {what}"
    if found != sorted(set(found)) or len(found) > LIST_MAX:
        return [], f"not a sorted list of distinct {what}"
    return found, "" if len(found) >= least else f"fewer than {least} {what}"


def _check_texts(kind: FieldType, value: Value, _: Values, __: World) -> str:
    found, fault = _sorted_distinct(value, kind.numbers[0], "texts")
    return fault or ("" if set(found) <= set(kind.names) else "not of the closed list")


def _check_data_sets(kind: FieldType, value: Value, _: Values, __: World) -> str:
    found, fault = _sorted_distinct(value, kind.numbers[0], "data sets")
    return fault or ("" if all(map(DATA_SET.fullmatch, found)) else "not all are data sets")


def _check_instance(kind: FieldType, value: Value, _: Values, world: World) -> str:
    if value == b"" and kind.numbers[0]:
        return ""
    if not isinstance(value, bytes) or len(value) != ID_BYTES:
        return "not the id of a contract"
    template, *states = kind.names
    found = world.standing(value)
    if found is None or found[0] != template:
        return f"not a contract {template}"
    return "" if found[1] in states else f"the contract is {found[1]}"


def _check_flag(_: FieldType, value: Value, __: Values, ___: World) -> str:
    return "" if isinstance(value, bool) else "not true or false"


def _text_like(pattern: re.Pattern[str], what: str) -> _Check:
    def check(_: FieldType, value: Value, __: Values, ___: World) -> str:
        return "" if isinstance(value, str) and pattern.fullmatch(value) else f"not {what}"

    return check


def _bytes_long(length: int, what: str) -> _Check:
    def check(_: FieldType, value: Value, __: Values, ___: World) -> str:
        return "" if isinstance(value, bytes) and len(value) == length else f"not {what}"

    return check


def _check_new_member(_: FieldType, value: Value, __: Values, world: World) -> str:
    fault = member_id_fault(value)
    return fault or ("a member has that id" if value in world.members else "")


def _check_public_key(kind: FieldType, value: Value, _: Values, __: World) -> str:
    return "" if value == b"" and kind.numbers[0] else public_key_fault(value)


_CHECKS: Mapping[str, _Check] = {
    "flag": _check_flag,
    "texts": _check_texts,
    "data_set": _text_like(DATA_SET, "the name of a data set"),
    "data_sets": _check_data_sets,
    "digest": _bytes_long(DIGEST_BYTES, f"a digest of {DIGEST_BYTES} bytes"),
    "instance": _check_instance,
    "template_name": _text_like(NAME, "the name of a template"),
    "scope": _text_like(DUTY_SCOPE, "a scope of staff"),
    "pseudonym": _bytes_long(PSEUDONYM_BYTES, f"a pseudonym of {PSEUDONYM_BYTES} bytes"),
    "bytes": _check_bytes,
    "text": _check_text,
    "int": _check_int,
    "time": _check_time,
    "member": _check_member,
    "members": _check_members,
    "quorum": _check_quorum,
    "count": _check_count,
    "new_member": _check_new_member,
    "name": lambda _, value, __, ___: name_fault(value),
    "certificate": lambda _, value, __, ___: certificate_fault(value),
    "certificates": lambda _, value, __, ___: certificates_fault(value),
    "public_key": _check_public_key,
    "sealing_key": lambda _, value, __, ___: sealing_key_fault(value),
}


def for_policy(value: Value) -> Value:
    """Return a checked value as policies see it: bytes as lower-case hex, long ones by their
    SHA-256.
    """
    if isinstance(value, bytes):
        return value.hex() if len(value) <= POLICY_BYTES_MAX else hashlib.sha256(value).hexdigest()
    return value
