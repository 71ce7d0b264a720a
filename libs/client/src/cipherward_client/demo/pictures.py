"""Pictures of the story's results, as files that stay.

They are drawn when the alliance is switched off: what draws them takes as much memory as a service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from cipherward_client.demo.report import Report, size
from cipherward_client.demo.teller import Teller
from cipherward_client.research.extras import ExtraMissing
from cipherward_client.research.plots import plot
from cipherward_studies.analysis import Result

PNG = b"\x89PNG\r\n\x1a\n"  # RFC 2083, 3.1


async def draw(teller: Teller, report: Report, folder: Path, results: Mapping[str, Result]) -> None:
    """Write the pictures of the studies' results by file name, and tell where they are.

    Without matplotlib (an extra) there are none; the story says how to get it.
    """
    teller.chapter("What the studies found, as pictures")
    for name, result in results.items():
        file = folder / name
        try:
            octets = await asyncio.to_thread(_written, result, file)
        except ExtraMissing as missing:
            teller.say(f"No picture: {missing}")
            return
        report.check(f"{name} is drawn", octets > 0, size(octets))
        teller.say(f"{result.kind.replace('_', ' ')}: {file}")


def _written(result: Result, file: Path) -> int:
    """Write a picture and return its size; 0 if it is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    plot(result).savefig(file, format="png")
    content = file.read_bytes()
    return len(content) if content.startswith(PNG) else 0
