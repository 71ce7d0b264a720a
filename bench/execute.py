"""Acts executed by the contract service: policies evaluated, orders made, state tree and disk.

`execute` are a clinician's `open` of a consent of its own record (of the second suite, with four
guardians), one a transaction: the policies are asked, a release is ordered, the instance is
written. `execute-consents` are the owners' grants of them. Blocks are full; execution and commit
are measured together. Signatures are not verified here: the ledger does that, once, before a block
is proposed.

`python -m bench.execute [blocks]` prints the figures, and where the executing thread's time goes.
"""

from __future__ import annotations

import asyncio
import cProfile
import hashlib
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.results import Row, Spread, Target
from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward_chain.acts import anchor_record, countersign, register_pseudonym
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.results import TransactionResult
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import seed_of
from cipherward_chain.wire import NANOS, exact_bytes
from cipherward_contract.testing import (
    Presented,
    Story,
    contract_genesis,
    instantiate,
    open_story,
    transition,
)
from cipherward_contract.testing_records import share_record_key, shared_anchor

NAMES = OPENS, GRANTS = "execute", "execute-consents"
TARGET = Target(3_000.0, at_least=True)
BLOCK = 500  # the most that a block of the ledger holds
BLOCKS, CONSENTS = 12, 3_000
READER_KEY = bytes(1216)
YEAR_SECONDS = 31_536_000


@dataclass(slots=True)
class Rates:
    """Acts a second of each block, execution and commit together."""

    opens: list[float] = field(default_factory=list[float])
    grants: list[float] = field(default_factory=list[float])


async def timed(story: Story, transactions: Sequence[bytes]) -> float:
    """Make a block in which everything is applied; return its transactions a second."""
    height, time_ns = story.height + 1, story.now * NANOS
    started = time.perf_counter()
    answer = await story.chain.execute(height, time_ns, transactions)
    await story.chain.commit(height)
    rate = len(transactions) / (time.perf_counter() - started)
    story.height, story.now = height, story.now + 1
    for raw in contract_pb.ExecuteBlockResponse.FromString(answer).results:
        result = TransactionResult.from_bytes(raw)
        if not result.applied:
            raise AssertionError(f"an act was refused: {result}")
    return rate


async def consents(story: Story, numbers: range, key_epoch: int) -> float:
    """Anchor a record for each number, each of an owner of its own, and grant a consent about it.

    Returns:
        The grants a second.
    """
    registrations, anchors, grants = list[bytes](), list[bytes](), list[bytes]()
    author, slot = story.member("hospital-a"), hashlib.sha256(b"slot").digest()
    chain_id = story.genesis.chain_id
    for number in numbers:
        record, name = record_id(number), f"owner/{number}"
        seed, scope = seed_of(name), f"record:{record.hex()}"
        presented = Presented(scope, "hospital-a", name=name)
        act = register_pseudonym(chain_id, scope, seed)
        registrations.append(story.transaction(presented, act))
        anchor = shared_anchor(key_epoch)
        anchor.record_id = record
        signature = countersign(chain_id, exact_bytes(anchor), seed)
        owner = SigningKey(seed).public_key
        anchors.append(story.transaction(author, anchor_record(anchor, slot, owner, signature)))
        terms = {
            "record": record,
            "grantee_member": "hospital-b",
            "grantee_key": b"",
            "representative_key": b"",
            "purposes": ["TREAT"],
            "expires": story.now + YEAR_SECONDS + number,
            "visits_max": 1000,
            "visit_seconds": 600,
        }
        granted = instantiate("consent", record, terms)
        grants.append(story.transaction(PseudonymSigner(seed), granted))
    await timed(story, registrations)
    await timed(story, anchors)
    return await timed(story, grants)


def record_id(number: int) -> bytes:
    """Return the id of a record, and of the consent about it."""
    return hashlib.sha256(number.to_bytes(8, "big")).digest()[:16]


async def rates(blocks: int, profile: cProfile.Profile | None = None) -> Rates:
    """Return what was found.

    Args:
        profile: of the executing thread, from the first opening on.
    """
    found = Rates()
    genesis, keys = contract_genesis()
    with tempfile.TemporaryDirectory(prefix="cipherward-bench-") as made:
        async with open_story(Path(made), genesis, keys) as story:
            entry = await share_record_key(story)
            for first in range(0, CONSENTS, BLOCK):
                numbers = range(first, first + BLOCK)
                found.grants.append(await consents(story, numbers, entry.key_epoch))
            reader = await story.staff("hospital-b", "clinician", "reader")
            if profile is not None:
                await story.database.read(lambda _: profile.enable())
            for block in range(blocks):
                numbers = range(block * BLOCK, (block + 1) * BLOCK)
                opening = {"reader_key": READER_KEY, "purpose": "TREAT"}
                wanted = [
                    story.transaction(
                        reader, transition(record_id(number % CONSENTS), "open", **opening)
                    )
                    for number in numbers
                ]
                found.opens.append(await timed(story, wanted))
            if profile is not None:
                await story.database.read(lambda _: profile.disable())
    return found


def measure() -> list[Row]:
    """Return the rows."""
    found = asyncio.run(rates(BLOCKS))
    rows = zip(NAMES, (found.opens, found.grants), strict=True)
    return [
        Row(name, statistics.median(each), "acts/s", Spread.extremes(each, "blocks"), TARGET)
        for name, each in rows
    ]


if __name__ == "__main__":
    profiled = cProfile.Profile()
    measured = asyncio.run(rates(int(sys.argv[1]) if len(sys.argv) > 1 else BLOCKS, profiled))
    print(f"opens: {statistics.median(measured.opens):,.0f} acts/s, under the profiler")
    print(f"grants: {statistics.median(measured.grants):,.0f} acts/s")
    pstats.Stats(profiled).sort_stats("tottime").print_stats(25)
