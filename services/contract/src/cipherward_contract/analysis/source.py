"""A template's YAML source: its document, and the line of everything in it.

A source may come from anybody: its size, its depth and what its aliases amount to are bounded
before a value is made of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from cipherward_chain.canonical import NotCanonical, Value, encode
from cipherward_contract.analysis.findings import Finding

SOURCE_BYTES_MAX = 262_144  # five times the longest document: comments and indentation are free
NODES_MAX = 20_000  # aliases taken out; a document of 48 KiB has fewer
DEPTH_MAX = 24  # nobody reads deeper nesting

Place = tuple[str, ...]

_KINDS = frozenset({"str", "int", "bool", "map", "seq", "binary"})
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"


@dataclass(slots=True)
class Source:
    """What was read of a source: nothing of `value` is to be used while a finding is a fault.

    lines: from 1, by place; a list's items are numbered from 0. text_lines: the line, from 1, of
    the first line of a text that stands in a block of its own.
    """

    value: Mapping[str, Value] = field(default_factory=dict[str, Value])
    document: bytes = b""
    findings: list[Finding] = field(default_factory=list[Finding])
    lines: dict[Place, int] = field(default_factory=dict[Place, int])
    text_lines: dict[Place, int] = field(default_factory=dict[Place, int])

    def line_of(self, place: Place) -> int:
        """Return the line of a place, or of the nearest thing around it; 0 is the whole."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)


class _TooMuch(ValueError):
    """The source amounts to more than is looked at; says what."""


def read_source(text: str) -> Source:
    """Return what a source holds, with every fault of its form that YAML itself shows."""
    found = Source()
    if len(text.encode()) > SOURCE_BYTES_MAX:
        found.findings.append(Finding("size", f"a source has at most {SOURCE_BYTES_MAX} bytes"))
        return found
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        if not isinstance(root, yaml.MappingNode):
            found.findings.append(Finding("yaml", "the source is not a map"))
            return found
        _look(root, found)
        if not found.findings:
            found.value = yaml.safe_load(text)
            found.document = encode(found.value)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        message = error.problem or "not YAML"
        found.findings.append(Finding("yaml", message, line=mark.line + 1 if mark else 0))
    except RecursionError:
        found.findings.append(Finding("yaml", "nested too deep"))
    except (yaml.YAMLError, _TooMuch, ValueError, NotCanonical) as error:
        found.findings.append(Finding("yaml", str(error)))
    return found


def _look(root: yaml.MappingNode, found: Source) -> None:
    """Note lines and faults of every node, aliases as often as they are used."""
    waiting: list[tuple[Place, yaml.Node, int]] = [((), root, 0)]
    seen = 0
    while waiting:
        place, node, depth = waiting.pop()
        seen += 1
        if seen > NODES_MAX or depth > DEPTH_MAX:
            raise _TooMuch(f"more than {NODES_MAX} values, or deeper than {DEPTH_MAX}")
        kind = node.tag.removeprefix(_TAG)
        line = node.start_mark.line + 1
        if kind not in _KINDS:
            message = f"{'.'.join(place)}: a document holds no {kind.lstrip('!')}"
            found.findings.append(Finding("yaml-value", message, line=line))
        if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
            found.text_lines[place] = line + 1
        for inner, child, where in _children(node, place, found):
            found.lines.setdefault(inner, where)
            waiting.append((inner, child, depth + 1))


def _children(
    node: yaml.Node, place: Place, found: Source
) -> Iterator[tuple[Place, yaml.Node, int]]:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*place, str(index)), item, item.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        return
    keys: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.tag == _MERGE:
            merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for one in merged:
                yield place, one, line
            continue
        name = str(key.value)
        if key.tag != f"{_TAG}str":
            message = f"{'.'.join((*place, name))}: a key is a text"
            found.findings.append(Finding("yaml-key", message, line=line))
        if name in keys:
            message = f"{'.'.join((*place, name))}: the key is there twice"
            found.findings.append(Finding("yaml-key", message, line=line))
        keys.add(name)
        yield (*place, name), value, line
