"""Which attributes the policies of a template name: Cedar is told these and no others.

To read an attribute costs a decision as much as to judge by it, and most policies name a handful of
those that a contract has. An attribute that no policy names decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

# The records among the attributes and variables; every other attribute is a single value or a set.
_RECORDS = frozenset({"terms", "arguments", "context"})


def named_attributes(source: Mapping[str, object]) -> frozenset[str] | None:
    """Return the names of all attributes, terms and arguments that policies ask for.

    Args:
        source: a policy set in Cedar's JSON form.

    Returns:
        None when a policy takes a record as a whole, or makes one: then it may decide by everything
        that a record holds.
    """
    found: set[str] = set()
    for node, is_read in _nodes(source, is_read=False):
        access = node.get(".") or node.get("has")
        if isinstance(access, Mapping):
            name = cast("Mapping[str, object]", access).get("attr")
            if not isinstance(name, str):  # a form of a later Cedar
                return None
            found.add(name)
            whole = name if "." in node else ""
        else:
            whole = node.get("Var")
        if "Record" in node or (whole in _RECORDS and not is_read):
            return None
    return frozenset(found)


def _nodes(value: object, *, is_read: bool) -> Iterator[tuple[Mapping[str, object], bool]]:
    """Yield every map inside, and whether an attribute of what it stands for is read."""
    if isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _nodes(item, is_read=False)
    elif isinstance(value, Mapping):
        node = cast("Mapping[str, object]", value)
        yield node, is_read
        for key, item in node.items():
            if key in (".", "has") and isinstance(item, Mapping):
                left = cast("Mapping[str, object]", item).get("left")
                yield from _nodes(left, is_read=True)
            elif key != "Value":  # a literal
                yield from _nodes(item, is_read=False)
