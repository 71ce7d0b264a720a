"""Faults of policies where they stand in the text: Cedar names the policy, we find its line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import cedarpy

# What a policy set is made of, as far as its policies' ends matter: comments, texts, semicolons.
_PART = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"|;', re.DOTALL)
_NAMED = re.compile(r"`([^`]+)`")
_POLICY = re.compile(r"policy(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class PolicyFault:
    """What is wrong, and at which line of the policies' text, from 0."""

    rule: str
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class _Piece:
    """One policy's text and the line at which it begins."""

    text: str
    line: int


def policy_faults(policies: str, schema: str) -> list[PolicyFault]:
    """Return every policy that does not parse; if all do, everything that does not validate."""
    pieces = list(_pieces(policies))
    faults = [
        PolicyFault("policy-syntax", piece.line, str(error))
        for piece in pieces
        if (error := _syntax(piece.text)) is not None
    ]
    if faults:
        return faults
    validate = cast("Callable[..., Any]", cedarpy.validate_policies)  # pyright: ignore[reportUnknownMemberType] - its arguments have no types
    found = [
        _placed(str(error.error), str(error.policy_id), pieces)
        for error in validate(policies, schema).errors
    ]
    return sorted(set(found), key=lambda fault: (fault.line, fault.message))


def _pieces(policies: str) -> Iterator[_Piece]:
    """Yield the policies; what follows the last semicolon is one only if it says something."""
    begin = 0
    for part in _PART.finditer(policies):
        if part[0] == ";":
            yield _piece(policies, begin, part.end())
            begin = part.end()
    rest = _PART.sub(lambda part: "" if part[0].startswith("//") else part[0], policies[begin:])
    if rest.strip():
        yield _piece(policies, begin, len(policies))


def _piece(policies: str, begin: int, end: int) -> _Piece:
    text = policies[begin:end]
    return _Piece(text, policies.count("\n", 0, begin + len(text) - len(text.lstrip())))


def _syntax(text: str) -> ValueError | None:
    try:
        cedarpy.policies_to_json_str(text)
    except ValueError as error:
        return error
    return None


def _placed(message: str, policy_id: str, pieces: list[_Piece]) -> PolicyFault:
    """Place a fault at the first word of its policy that Cedar's message quotes."""
    number = _POLICY.fullmatch(policy_id)
    index = int(number[1]) if number else 0
    said = re.sub(r"^for policy `policy\d+`, ", "", message)
    if index >= len(pieces):
        return PolicyFault("policy-types", 0, said)
    piece = pieces[index]
    body = piece.text.lstrip()
    for quoted in _NAMED.findall(said):
        found = re.search(rf"(?<!\w){re.escape(quoted)}(?!\w)", body)
        if found:
            line = piece.line + body.count("\n", 0, found.start())
            return PolicyFault("policy-types", line, said)
    return PolicyFault("policy-types", piece.line, said)
