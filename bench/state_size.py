"""The contract service with a million keys: how soon it serves again, and in how much memory.

A store is filled through the product's own classes with what most of a state is: records, contracts
and registered keys of real sizes. Then the service is started on it as a process.

`python -m bench.state_size [pairs]` prints what was found.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2

from bench.results import Row, Spread, Target
from cipherward_chain.canonical import encode
from cipherward_chain.genesis import Genesis
from cipherward_chain.testing import make_genesis
from cipherward_chain.wire import exact_bytes
from cipherward_contract.entries import (
    INSTANCE,
    KEY,
    RECORD,
    Instance,
    Origin,
    Position,
    Record,
    Registration,
    pseudonym_key,
)
from cipherward_contract.genesis_state import initial_pairs
from cipherward_contract.store import SCHEMA, Head, all_pairs, save_head, save_writes
from cipherward_contract.testing import (
    shipped_documents,
)
from cipherward_contract.testing_anchors import record_anchor
from cipherward_contract.tree import StateTree
from cipherward_kit.database import Database
from cipherward_kit.testing import MEMBERS, TestAlliance

SERVING = health_pb2.HealthCheckResponse.SERVING
NAMES = ("state-ready", "state-memory")
PAIRS, ROUNDS = 1_000_000, 3
READY, MEMORY = Target(20.0, at_least=False), Target(400.0, at_least=False)
START_SECONDS = 120.0
BATCH = 100_000  # pairs of one transaction


@dataclass(frozen=True, slots=True)
class Started:
    """What one start took: seconds to SERVING, and resident megabytes then and at most."""

    seconds: float
    resident: float
    peak: float


def pairs_of_people(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield `count` pairs as patients leave them: key, pseudonym, record and consent of each."""
    for number in range((count + 3) // 4):
        digest = hashlib.sha256(number.to_bytes(8, "big")).digest()
        record = digest[:16]
        scope, pseudonym = f"record:{record.hex()}", (digest * 2)[:48]
        registration = Registration(pseudonym, scope, "hospital-a", "patient", "", 1, number)
        yield KEY + digest, registration.to_bytes()
        yield pseudonym_key(scope, pseudonym), digest
        anchor = exact_bytes(record_anchor(record))
        yield RECORD + record, Record(anchor, digest, digest, number).to_bytes()
        terms = {
            "record": record,
            "grantee_member": "hospital-b",
            "grantee_key": b"",
            "representative_key": b"",
            "purposes": ["TREAT"],
            "expires": 1_900_000_000,
            "visits_max": 10,
            "visit_seconds": 600,
        }
        origin = Origin("consent", 1, encode(terms), digest, number)
        instance = Instance(record, origin, Position("active", 1_900_000_000))
        yield INSTANCE + record, instance.to_bytes()


async def fill(folder: Path, genesis: Genesis, count: int) -> None:
    """Write the state of a chain that has `count` pairs more than its genesis."""
    async with Database(folder / "state.db", SCHEMA) as database:
        written = dict(initial_pairs(genesis))
        for key, value in pairs_of_people(count):
            written[key] = value
            if len(written) >= BATCH:
                await database.write(lambda c, writes=written: save_writes(c, writes))
                written = {}
        await database.write(lambda c: save_writes(c, written))
        tree = await database.read(lambda c: StateTree(all_pairs(c)))
        head = Head(1, genesis.time_ns, tree.root, genesis.digest)
        await database.write(lambda c: save_head(c, head))


def start(environment: dict[str, str], ready: Path) -> Started:
    """Start the service, wait until it serves, and stop it."""
    ready.unlink(missing_ok=True)
    began = time.perf_counter()
    running = subprocess.Popen([sys.executable, "-m", "cipherward_contract"], env=environment)
    try:
        while not ready.exists():
            if running.poll() is not None or time.perf_counter() - began > START_SECONDS:
                raise RuntimeError("the service did not start")
            time.sleep(0.02)
        port = int(re.findall(r'"health": (\d+)', ready.read_text(encoding="utf-8"))[0])
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            while check(health_pb2.HealthCheckRequest(), timeout=START_SECONDS).status != SERVING:
                time.sleep(0.02)
        seconds = time.perf_counter() - began
        status = Path(f"/proc/{running.pid}/status").read_text(encoding="utf-8")
        resident, peak = (
            int(re.findall(rf"{name}:\s+(\d+) kB", status)[0]) / 1000 for name in ("VmRSS", "VmHWM")
        )
        return Started(seconds, resident, peak)
    finally:
        running.terminate()
        running.wait(60)


def starts(pairs: int, rounds: int) -> list[Started]:
    """Fill a store, and start the service on it `rounds` times."""
    with tempfile.TemporaryDirectory(prefix="cipherward-bench-") as made:
        folder = Path(made)
        alliance = TestAlliance(folder)
        certificates = {m: a.certificate_pem.decode() for m, a in alliance.authorities.items()}
        genesis, keys = make_genesis(templates=shipped_documents(), ca_certificates=certificates)
        (folder / "genesis.json").write_bytes(keys.document)
        ready = folder / "ready.json"
        settings = alliance.settings(MEMBERS[0], "contract") | {"ready_file": ready}
        settings |= {"drain_seconds": 0, "grace_seconds": 1}
        data = Path(str(settings["data_dir"]))
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        asyncio.run(fill(data, genesis, pairs))
        environment = {
            **os.environ,
            **{f"CIPHERWARD_{name.upper()}": str(value) for name, value in settings.items()},
        }
        return [start(environment, ready) for _ in range(rounds)]


def measure() -> list[Row]:
    """Return the rows."""
    found = starts(PAIRS, ROUNDS)
    seconds, memory = [one.seconds for one in found], [one.peak for one in found]
    return [
        Row(NAMES[0], statistics.median(seconds), "s", Spread.extremes(seconds), READY),
        Row(NAMES[1], statistics.median(memory), "MB", Spread.extremes(memory), MEMORY),
    ]


if __name__ == "__main__":
    for one in starts(int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS, 1):
        print(f"{one.seconds:.1f} s to SERVING, {one.resident:.0f} MB, {one.peak:.0f} MB at most")
