"""Proofs that members changed their authorities, as they lie beside alliance.json.

A connection that stays open takes new ones by itself: whoever has one writes it there, as it does
with addresses and proofs of admission.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from cipherward_chain.authorities import FOLDER, AuthoritiesRejected
from cipherward_chain.checkpoint import TrustRoot
from cipherward_chain.members import AuthoritiesSet
from cipherward_kit.looking import looking
from cipherward_member.alliance_files import read_authorities

# As services look at their certificates: between a vote and the first certificate of a new
# authority people write files, which takes longer.
LOOK_SECONDS = 5.0

Taken = Callable[[Mapping[str, AuthoritiesSet]], None]

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def authorities_file(endpoints_file: Path, member: str) -> Path:
    """Return where the proof of a member's newest authorities lies."""
    return endpoints_file.parent / FOLDER / f"{member}.json"


@asynccontextmanager
async def following_authorities(
    endpoints_file: Path, trust_root: TrustRoot, taken: Taken, *, seconds: float = LOOK_SECONDS
) -> AsyncGenerator[None]:
    """Look at the proofs beside alliance.json while the context is open.

    Args:
        endpoints_file: alliance.json.
        trust_root: what the proofs are held against.
        taken: gets all that is proven, before the context opens and whenever it is other.
        seconds: from one look to the next.
    """
    seen: Mapping[str, int] = {}

    async def look() -> None:
        nonlocal seen
        found = await asyncio.to_thread(_marks, endpoints_file)
        if found == seen:
            return
        try:
            taken(await asyncio.to_thread(read_authorities, endpoints_file, trust_root))
        except (AuthoritiesRejected, OSError) as error:  # half written, or of somebody else
            log.warning("authorities_not_taken", why=str(error))
            return
        seen = found

    async with looking(look, seconds):
        yield


def _marks(endpoints_file: Path) -> Mapping[str, int]:
    folder = endpoints_file.parent / FOLDER
    marks: dict[str, int] = {}
    for path in folder.glob("*.json"):
        try:
            marks[path.name] = path.stat().st_mtime_ns
        except FileNotFoundError:  # it is just being replaced
            continue
    return marks
