"""Acts executed by the contract service: policies evaluated, orders made, state tree and disk.

Every act is a clinician's `open` of a consent of its own record, one a transaction: the policies
are asked, a release is ordered, the instance is written. Blocks are full. Signatures are not
verified here: the ledger does that, once, before a block is proposed.

`python -m bench.execute [blocks]` prints the figure and where the time goes.
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
from pathlib import Path

from bench.results import Row, Spread, Target
from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward_chain.acts import anchor_record, countersign, register_pseudonym
from cipherward_chain.authorization import PseudonymSigner
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
from cipherward_contract.testing_anchors import record_anchor

NAME = "execute"
TARGET = Target(3_000.0, at_least=True)
BLOCK = 500  # the most that a block of the ledger holds
BLOCKS, CONSENTS = 12, 1_000
READER_KEY = bytes(1216)
YEAR_SECONDS = 31_536_000


async def consents(story: Story, count: int) -> list[bytes]:
    """Anchor `count` records of as many owners, and grant a consent about each."""
    made: list[bytes] = []
    author, slot = story.member("hospital-a"), hashlib.sha256(b"slot").digest()
    for first in range(0, count, BLOCK):
        numbers = range(first, min(first + BLOCK, count))
        registrations, anchors, grants = list[bytes](), list[bytes](), list[bytes]()
        for number in numbers:
            record, name = number.to_bytes(16, "big"), f"owner/{number}"
            seed, scope = seed_of(name), f"record:{record.hex()}"
            presented = Presented(scope, "hospital-a", name=name)
            act = register_pseudonym(story.genesis.chain_id, scope, seed)
            registrations.append(story.transaction(presented, act))
            anchor = record_anchor(record)
            signature = countersign(story.genesis.chain_id, exact_bytes(anchor), seed)
            owner = SigningKey(seed).public_key
            anchors.append(story.transaction(author, anchor_record(anchor, slot, owner, signature)))
            terms = {
                "record": record,
                "grantee_member": "hospital-b",
                "grantee_key": b"",
                "representative_key": b"",
                "purposes": ["TREAT"],
                "expires": story.now + YEAR_SECONDS,
                "visits_max": 1000,
                "visit_seconds": 600,
            }
            grants.append(
                story.transaction(PseudonymSigner(seed), instantiate("consent", record, terms))
            )
            made.append(record)
        for transactions in (registrations, anchors, grants):
            decided = await story.block(*transactions)
            if not all(result.applied for result in decided.results):
                raise AssertionError("the stage was not set")
    return made


async def rates(blocks: int) -> list[float]:
    """Return the acts a second of each block, execution and commit together."""
    found: list[float] = []
    genesis, keys = contract_genesis()
    with tempfile.TemporaryDirectory(prefix="cipherward-bench-") as made:
        async with open_story(Path(made), genesis, keys) as story:
            instances = await consents(story, CONSENTS)
            reader = await story.staff("hospital-b", "clinician", "reader")
            for block in range(blocks):
                wanted = [
                    story.transaction(
                        reader,
                        transition(
                            instances[(block * BLOCK + n) % CONSENTS],
                            "open",
                            reader_key=READER_KEY,
                            purpose="TREAT",
                        ),
                    )
                    for n in range(BLOCK)
                ]
                height, time_ns = story.height + 1, story.now * NANOS
                started = time.perf_counter()
                answer = await story.chain.execute(height, time_ns, wanted)
                await story.chain.commit(height)
                found.append(BLOCK / (time.perf_counter() - started))
                story.height, story.now = height, story.now + 1
                orders = contract_pb.ExecuteBlockResponse.FromString(answer).orders
                if len(orders) != BLOCK:
                    raise AssertionError("an open was refused")
    return found


def measure() -> list[Row]:
    """Return the row."""
    found = asyncio.run(rates(BLOCKS))
    spread = Spread.extremes(found, "blocks")
    return [Row(NAME, statistics.median(found), "acts/s", spread, TARGET)]


if __name__ == "__main__":
    profile = cProfile.Profile()
    profile.enable()
    measured = asyncio.run(rates(int(sys.argv[1]) if len(sys.argv) > 1 else BLOCKS))
    profile.disable()
    print(f"{statistics.median(measured):,.0f} acts/s under the profiler")
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)
