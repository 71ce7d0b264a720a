"""What a scenario writes for a term or an argument, made into the value of its type.

| written | type | value |
|---|---|---|
| record:NAME, contract:NAME | bytes, instance | the id of a record or a contract of the scenario |
| key:NAME, pseudonym:NAME, scope:NAME | any | a holder's registered key, pseudonym or scope |
| some:WORD | bytes, digest, keys | bytes of the right length, the same for the same word |
| "" or hexadecimal | bytes and their like | the bytes |
| +30d | time | so long after the act; a number is Unix seconds |
| 2h | int | a duration in seconds |

Everything else stays as it is: the machine checks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cipherward_chain.acts import DIGEST_BYTES, ID_BYTES
from cipherward_chain.authorization import PSEUDONYM_BYTES
from cipherward_chain.canonical import Value
from cipherward_chain.signatures import SigningKey
from cipherward_contract.simulation.cast import octets, sealing_key, seed_of
from cipherward_contract.simulation.scenario import ScenarioMalformed, seconds_of
from cipherward_contract.templates.types import FieldType

_LENGTHS: Mapping[str, int] = {
    "digest": DIGEST_BYTES,
    "instance": ID_BYTES,
    "pseudonym": PSEUDONYM_BYTES,
}
_BYTES = frozenset({"bytes", "public_key", "sealing_key", *_LENGTHS})


class Names(Protocol):
    """What the names of a scenario stand for at this moment. Adapter: the play."""

    def named(self, kind: str, name: str) -> Value:
        """Return what `kind:name` stands for, or raise `ScenarioMalformed`."""
        ...


def document_of(
    types: Mapping[str, FieldType], written: Mapping[str, Value], names: Names, now: int
) -> dict[str, Value]:
    """Return the terms or arguments that a scenario means, for an act at `now`.

    Raises:
        ScenarioMalformed: a name stands for nothing.
    """
    return {name: _value(types.get(name), item, names, now) for name, item in written.items()}


def _value(kind: FieldType | None, written: Value, names: Names, now: int) -> Value:
    if not isinstance(written, str) or kind is None:
        return written
    what, colon, name = written.partition(":")
    if colon and what in ("record", "contract", "key", "pseudonym", "scope"):
        return names.named(what, name)
    if kind.kind == "time":
        seconds = seconds_of(written.removeprefix("+"))
        return written if seconds is None else now + seconds
    if kind.kind == "int":
        seconds = seconds_of(written)
        return written if seconds is None else seconds
    if kind.kind in _BYTES:
        return _some(kind, name) if what == "some" else _hexadecimal(written)
    return written


def _some(kind: FieldType, name: str) -> bytes:
    if kind.kind == "public_key":
        return SigningKey(seed_of(name)).public_key
    if kind.kind == "sealing_key":
        return sealing_key(name)
    return octets(name, _LENGTHS.get(kind.kind) or max(kind.numbers))


def _hexadecimal(written: str) -> bytes:
    try:
        return bytes.fromhex(written)
    except ValueError:
        raise ScenarioMalformed(
            f"{written[:40]!r} is neither hexadecimal nor record:, contract:, key: or some:"
        ) from None
