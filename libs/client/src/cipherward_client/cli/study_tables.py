"""Answers of studies, as the documents and the lines that commands print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from cipherward_client.sdk.study_results import StudyResult


def document_of(result: StudyResult) -> dict[str, Any]:
    """Return the result as the JSON document that commands print."""
    return {
        "study": result.study_id.hex(),
        "stage": "released",
        "contributors": list(result.contributors),
        "release_set": list(result.release_set),
        "answer": result.answer.to_document(),
    }


def lines_of(result: StudyResult) -> list[str]:
    """Return the result as lines that a person reads."""
    found = result.answer
    rounds = f" in {found.rounds} rounds" if found.rounds > 1 else ""
    lines = [
        f"{found.patients} patients of {len(result.contributors)} hospitals; released{rounds} by "
        f"{', '.join(result.release_set)}"
    ]
    if found.private:
        lines.append("Noise was added to every figure; intervals and tests do not know of it.")
    if found.excluded is not None:
        lines.append(f"{found.excluded} patients were left out for a missing or implausible value")
    for one in found.results:
        lines += ["", one.kind.replace("_", " "), *_remarks(one.to_document())]
        lines += _rows(one.to_rows())
    if found.left_out:
        lines += ["", "left out, for too few patients: " + "; ".join(found.left_out)]
    return lines


def _remarks(document: Mapping[str, Any]) -> list[str]:
    """Return the figures of a result that stand beside its rows, one line each level."""
    plain = {name: one for name, one in document.items() if isinstance(one, (str, int, float))}
    lines = ["  ".join(f"{_name(name)}: {_text(one)}" for name, one in plain.items() if one != "")]
    for name, entries in document.items():
        if isinstance(entries, Mapping):
            inner = cast("Mapping[str, object]", entries)
            figures = "  ".join(f"{_name(key)}: {_text(one)}" for key, one in inner.items())
            lines.append(f"{_name(name)}: {figures}")
    return [line for line in lines if line]


def _name(name: str) -> str:
    return name.replace("_", " ")


def _rows(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    names = list(rows[0])
    table = [names, *([_text(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(names))]
    return [
        "  ".join(f"{text:>{width}}" for text, width in zip(line, widths, strict=True))
        for line in table
    ]


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
