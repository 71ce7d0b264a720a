"""Whether terms and arguments are what their types say: one plain question a type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from cryptography import x509

from tests.reference.templates import Document
from tests.reference.world import World

LIST_MAX = 64


def in_order(world: World, types: Document, values: Mapping[str, Any]) -> bool:
    """Say whether `values` are exactly the fields of `types`, each of its type."""
    if set(types) != set(values):
        return False
    return all(_fits(world, types[name], values[name], values) for name in types)


def _fits(world: World, kind: Document, value: Any, others: Mapping[str, Any]) -> bool:
    match kind["type"]:
        case "bytes":
            return isinstance(value, bytes) and len(value) in kind["lengths"]
        case "text":
            return isinstance(value, str) and value in kind["one_of"]
        case "int":
            return type(value) is int and kind["minimum"] <= value <= kind["maximum"]
        case "time":
            return type(value) is int and world.now < value <= world.now + kind["ahead_max"]
        case "member":
            empty = value == "" and bool(kind["may_be_empty"])
            return empty or (isinstance(value, str) and value in world.members())
        case "members":
            many = _listed(value, max(1, kind["at_least"])) and set(value) <= set(world.members())
            return many and len(value) <= kind.get("at_most", LIST_MAX)
        case "texts":
            return _listed(value, kind["at_least"]) and set(value) <= set(kind["one_of"])
        case "data_sets":
            return _listed(value, kind["at_least"]) and all(map(_is_data_set, value))
        case "data_set":
            return isinstance(value, str) and _is_data_set(value)
        case "quorum":
            count = _length(others[kind["of"]])
            return type(value) is int and value == count - (count - 1) // 3 and value >= 3
        case "count":
            least, most = others[kind["least"]], _length(others[kind["of"]])
            return type(value) is int and type(least) is int and least <= value <= most
        case _:
            return _fits_rarely(world, kind, value)


def _fits_rarely(world: World, kind: Document, value: Any) -> bool:
    match kind["type"]:
        case "digest":
            return isinstance(value, bytes) and len(value) == 32
        case "pseudonym":
            return isinstance(value, bytes) and len(value) == 48
        case "sealing_key":
            return isinstance(value, bytes) and len(value) == 1216
        case "template_name":
            return isinstance(value, str) and bool(re.fullmatch("[a-z][a-z0-9_-]{0,63}", value))
        case "scope":
            return isinstance(value, str) and bool(
                re.fullmatch("duty:[a-z][a-z0-9-]{1,30}:[1-9][0-9]{0,9}", value)
            )
        case "instance":
            if value == b"":
                return bool(kind["may_be_empty"])
            found = world.get(b"instance/" + value) if isinstance(value, bytes) else None
            return (
                found is not None
                and len(value) == 16
                and found["template"] == kind["template"]
                and found["state"] in kind["states"]
            )
        case "certificates":
            return isinstance(value, str) and 1 <= len(set(certificates(value))) <= 4
        case other:
            raise NotImplementedError(other)


def one_by_one(text: str) -> list[str]:
    """Return certificates in PEM, cut where each ends."""
    ends = "-----END CERTIFICATE-----\n"
    return [f"{part}{ends}" for part in text.split(ends)[:-1]]


@lru_cache
def certificates(text: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a text, read by a parser of X.509; none if it is no such text."""
    try:
        found = tuple(x509.load_pem_x509_certificates(text.encode()))
    except ValueError:
        return ()
    return found if len(set(found)) == len(found) else ()


def _listed(value: Any, least: int) -> bool:
    """Say whether a value is a list of distinct texts in their order, at least so many."""
    if not isinstance(value, list):
        return False
    items = cast("list[Any]", value)
    texts = all(isinstance(item, str) for item in items)
    return texts and items == sorted(set(items)) and least <= len(items) <= LIST_MAX


def _length(value: Any) -> int:
    return len(cast("list[Any]", value)) if isinstance(value, list) else 0


def _is_data_set(text: str) -> bool:
    return re.fullmatch("cohort-(0|[1-9][0-9]{0,5})", text) is not None
