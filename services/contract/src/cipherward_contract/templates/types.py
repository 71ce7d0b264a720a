"""The types that a template's terms and arguments may have, each with its bounds.

| type | parameters | value |
|---|---|---|
| bytes | lengths | a byte string of one of these lengths |
| text | one_of | a text of a closed list |
| int | minimum, maximum | an integer between the two, both included |
| time | ahead_max | Unix seconds, later than the block and at most so many seconds ahead of it |
| member | may_be_empty | the id of a member of the registry |
| members | at_least, at_most (may be left out) | sorted distinct ids of members, so many |
| quorum | of | n - floor((n-1)/3) for the n members of the term `of`: 2f+1 when n = 3f+1 |
| count | of, least | an integer from the value of the term `least` to the number of `of` |
| flag | - | true or false |
| texts | one_of, at_least | sorted distinct texts of a closed list, at least so many |
| data_set | - | the name of a data set: `cohort-N` |
| data_sets | at_least | sorted distinct names of data sets, at least so many |
| digest | - | a SHA-256 digest, 32 bytes |
| instance | template, states, may_be_empty | the id of such a contract in one of these states |
| template_name | - | the name of a template |
| scope | - | where staff are known for an epoch: `duty:MEMBER:EPOCH` |
| pseudonym | - | somebody's name inside a scope, 48 bytes |
| new_member | - | an id that no member has |
| name | - | what people call an institution: at most 64 characters |
| certificate | - | an authority's certificate, PEM |
| certificates | - | the certificates of 1 to 4 authorities, one after the other, PEM |
| public_key | may_be_empty | an Ed25519 key that may be registered |
| sealing_key | - | an HPKE key of the suite |

There is no free text about anybody: what is on the chain is from closed lists, random or a digest,
and of an institution its name and its certificates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cipherward_chain.acts import NAME
from cipherward_chain.canonical import Value
from cipherward_chain.fields import Fields

# Cedar's Long is a signed 64-bit integer; half of it leaves policies room to add two.
INTEGER_MAX = 2**62
LENGTH_MAX = 4096  # the longest key or digest of any suite is 1216 bytes


class TypeUnknown(ValueError):
    """A template gives a term or an argument a type or a bound that does not exist."""


@dataclass(frozen=True, slots=True)
class FieldType:
    """One typed field; `numbers` and `names` are its kind's parameters, in the table's order."""

    kind: str
    numbers: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def cedar(self) -> str:
        """The field's type in a Cedar schema."""
        return _CEDAR.get(self.kind, "String")


_CEDAR: Mapping[str, str] = {
    **dict.fromkeys(("int", "time", "quorum", "count"), "Long"),
    **dict.fromkeys(("members", "texts", "data_sets"), "Set<String>"),
    "flag": "Bool",
}


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


def _texts_type(kind: str, fields: Fields) -> FieldType:
    words, least = fields.texts("one_of"), fields.integer("at_least")
    if not words or least > len(set(words)):
        raise TypeUnknown("texts need a closed list of at least so many")
    return FieldType(kind, (least,), words)


def _instance_type(kind: str, fields: Fields) -> FieldType:
    template, states = fields.text("template"), fields.texts("states")
    if not NAME.fullmatch(template) or not states:
        raise TypeUnknown("an instance is of a template, in one of some states")
    return FieldType(kind, (int(fields.flag("may_be_empty")),), (template, *states))


def _members_type(kind: str, fields: Fields) -> FieldType:
    least = fields.integer("at_least")
    if not fields.has("at_most"):
        return FieldType(kind, (least,))
    most = fields.integer("at_most", minimum=1)
    if least > most:
        raise TypeUnknown("at_least is above at_most")
    return FieldType(kind, (least, most))


def _plain(kind: str, _: Fields) -> FieldType:
    return FieldType(kind)


_PARAMETERS: Mapping[str, Callable[[str, Fields], FieldType]] = {
    "bytes": _bytes_type,
    "text": _text_type,
    "int": _int_type,
    "time": lambda kind, fields: FieldType(kind, numbers=(fields.integer("ahead_max", minimum=1),)),
    "member": lambda kind, fields: FieldType(kind, numbers=(int(fields.flag("may_be_empty")),)),
    "members": _members_type,
    "quorum": lambda kind, fields: FieldType(kind, names=(fields.text("of"),)),
    "count": lambda kind, fields: FieldType(kind, names=(fields.text("of"), fields.text("least"))),
    "flag": _plain,
    "texts": _texts_type,
    "data_set": _plain,
    "data_sets": lambda kind, fields: FieldType(kind, numbers=(fields.integer("at_least"),)),
    "digest": _plain,
    "instance": _instance_type,
    "template_name": _plain,
    "scope": _plain,
    "pseudonym": _plain,
    "new_member": _plain,
    "name": _plain,
    "certificate": _plain,
    "certificates": _plain,
    "public_key": lambda kind, fields: FieldType(kind, (int(fields.flag("may_be_empty")),)),
    "sealing_key": _plain,
}


def _integers(items: Sequence[Value]) -> tuple[int, ...]:
    found: list[int] = []
    for item in items:
        if not isinstance(item, int) or isinstance(item, bool):
            raise TypeUnknown("a length is not an integer")
        found.append(item)
    return tuple(found)
