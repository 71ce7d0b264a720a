"""The types that a template's terms and arguments may have, each with its bounds.

| type | parameters | value |
|---|---|---|
| bytes | lengths | a byte string of one of these lengths |
| text | one_of | a text of a closed list |
| int | minimum, maximum | an integer between the two, both included |
| time | ahead_max | Unix seconds, later than the block and at most so many seconds ahead of it |
| member | may_be_empty | the id of a member of the registry |
| members | at_least | sorted distinct ids of members, at least so many |
| quorum | of | n - floor((n-1)/3) for the n members of the term `of`: 2f+1 when n = 3f+1 |
| count | of, least | an integer from the value of the term `least` to the number of `of` |

| new_member | - | an id that no member has |
| name | - | what people call an institution: at most 64 characters |
| certificate | - | an authority's certificate, PEM |
| public_key | may_be_empty | an Ed25519 key that may be registered |
| sealing_key | - | an HPKE key of the suite |

There is no free text about anybody: what is on the chain is from closed lists, random or a digest,
and of an institution its name and its certificate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cipherward_chain.canonical import Value
from cipherward_chain.fields import Fields
from cipherward_contract.templates.registration import (
    certificate_fault,
    member_id_fault,
    name_fault,
    public_key_fault,
    sealing_key_fault,
)

# Cedar's Long is a signed 64-bit integer; half of it leaves policies room to add two.
INTEGER_MAX = 2**62
# A policy sees longer byte strings (keys of kilobytes) by their digest, so that a decision stays
# cheap.
POLICY_BYTES_MAX = 64
LENGTH_MAX = 4096  # the longest key or digest of any suite is 1216 bytes
LIST_MAX = 64  # as many members as an alliance may have

QUORUM_MIN = 3  # with fewer shares two members could decrypt for themselves

Values: TypeAlias = Mapping[str, Value]


class TypeUnknown(ValueError):
    """A template gives a term or an argument a type or a bound that does not exist."""


class ValueRefused(ValueError):
    """A term or an argument is missing, unknown, of another type, or out of its bounds."""


@dataclass(frozen=True, slots=True)
class World:
    """What values are checked against: the members' ids, and the block's time in seconds."""

    members: frozenset[str]
    now: int


@dataclass(frozen=True, slots=True)
class FieldType:
    """One typed field; `numbers` and `names` are its kind's parameters, in the table's order."""

    kind: str
    numbers: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def cedar(self) -> str:
        """The field's type in a Cedar schema."""
        return {"int": "Long", "time": "Long", "quorum": "Long", "count": "Long"}.get(
            self.kind, "Set<String>" if self.kind == "members" else "String"
        )


def parse_type(value: Value) -> FieldType:
    """Return the type that a template's document describes.

    Raises:
        TypeUnknown: no such type, or bounds that no value can meet.
        NotCanonical: a parameter is missing, unknown or of another type.
    """
    fields = Fields(value)
    kind = fields.text("type")
    read = _PARAMETERS.get(kind)
    if read is None:
        raise TypeUnknown(f"no type {kind}")
    found = read(kind, fields)
    fields.end()
    if any(not -INTEGER_MAX <= number <= INTEGER_MAX for number in found.numbers):
        raise TypeUnknown(f"a bound of a {kind} is beyond 62 bits")
    return found


def _bytes_type(kind: str, fields: Fields) -> FieldType:
    lengths = _integers(fields.items("lengths"))
    if not lengths or any(not 0 <= length <= LENGTH_MAX for length in lengths):
        raise TypeUnknown(f"bytes need lengths between 0 and {LENGTH_MAX}")
    return FieldType(kind, numbers=lengths)


def _text_type(kind: str, fields: Fields) -> FieldType:
    words = fields.texts("one_of")
    if not words:
        raise TypeUnknown("a text needs a closed list")
    return FieldType(kind, names=words)


def _int_type(kind: str, fields: Fields) -> FieldType:
    bounds = fields.integer("minimum"), fields.integer("maximum")
    if bounds[0] > bounds[1]:
        raise TypeUnknown("minimum is above maximum")
    return FieldType(kind, numbers=bounds)


_PARAMETERS: Mapping[str, Callable[[str, Fields], FieldType]] = {
    "bytes": _bytes_type,
    "text": _text_type,
    "int": _int_type,
    "time": lambda kind, fields: FieldType(kind, numbers=(fields.integer("ahead_max", minimum=1),)),
    "member": lambda kind, fields: FieldType(kind, numbers=(int(fields.flag("may_be_empty")),)),
    "members": lambda kind, fields: FieldType(kind, numbers=(fields.integer("at_least"),)),
    "quorum": lambda kind, fields: FieldType(kind, names=(fields.text("of"),)),
    "count": lambda kind, fields: FieldType(kind, names=(fields.text("of"), fields.text("least"))),
    "new_member": lambda kind, _: FieldType(kind),
    "name": lambda kind, _: FieldType(kind),
    "certificate": lambda kind, _: FieldType(kind),
    "public_key": lambda kind, fields: FieldType(kind, (int(fields.flag("may_be_empty")),)),
    "sealing_key": lambda kind, _: FieldType(kind),
}


def _integers(items: Sequence[Value]) -> tuple[int, ...]:
    found: list[int] = []
    for item in items:
        if not isinstance(item, int) or isinstance(item, bool):
            raise TypeUnknown("a length is not an integer")
        found.append(item)
    return tuple(found)


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
    return "" if len(members) >= kind.numbers[0] else f"fewer than {kind.numbers[0]} members"


def _check_quorum(kind: FieldType, value: Value, values: Values, _: World) -> str:
    count = len(member_list(values[kind.names[0]]))
    quorum = count - (count - 1) // 3
    if _number(value) != quorum or quorum < QUORUM_MIN:
        return f"not the quorum of {kind.names[0]}"
    return ""


def _check_count(kind: FieldType, value: Value, values: Values, _: World) -> str:
    number, least = _number(value), _number(values[kind.names[1]])
    most = len(member_list(values[kind.names[0]]))
    if number is None or least is None or not least <= number <= most:
        return f"not between {kind.names[1]} and the number of {kind.names[0]}"
    return ""


def _check_new_member(_: FieldType, value: Value, __: Values, world: World) -> str:
    fault = member_id_fault(value)
    return fault or ("a member has that id" if value in world.members else "")


def _check_public_key(kind: FieldType, value: Value, _: Values, __: World) -> str:
    return "" if value == b"" and kind.numbers[0] else public_key_fault(value)


_CHECKS: Mapping[str, Callable[[FieldType, Value, Values, World], str]] = {
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
