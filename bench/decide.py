"""What would be decided about a transition now, with 100 templates and 100,000 contracts.

Every question is a clinician's about opening a record under one of `many_contracts`, and is
answered yes. `decide` is the work in the service's reading thread; `decide-p99` is a service
process asked over gRPC, 300 times a second whatever it answers, each question signed by the
clinician's registered key, from the moment it was due.

`python -m bench.decide [instances]` prints what was found.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bench.many_contracts import Town, clinician, fill, record_id
from bench.results import Row, Spread, Target
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward_chain.canonical import encode
from cipherward_chain.reads import Reader, build_read
from cipherward_contract.catalogue import Catalogue
from cipherward_contract.deciding import KnownRules, Present, Question, decide, instance_of
from cipherward_contract.rights import reading_actor
from cipherward_contract.service import METHOD
from cipherward_contract.store import SCHEMA, StoredState
from cipherward_kit.channels import open_channel
from cipherward_kit.database import Database
from cipherward_kit.testing import MEMBERS, eventually

NAMES = NAME, P99_NAME = "decide", "decide-p99"
TARGET, P99_TARGET = Target(0.25, at_least=False), Target(10.0, at_least=False)
INSTANCES = 100_000
QUESTIONS = 5_000
RATE, SECONDS = 300, 20  # all questions are signed before the first: a read is good for a minute
START_SECONDS, CALL_SECONDS = 120.0, 30.0
ARGUMENTS = encode({"reader_key": bytes(1216), "purpose": "TREAT"})


def asked(town: Town, count: int, questions: int) -> list[bytes]:
    """Return contracts to ask about: one of every template first, then any."""
    draw = random.Random(questions)  # noqa: S311 - repeatable, not secret
    first = [record_id(number) for number in range(min(count, len(town.consents)))]
    return first + [record_id(draw.randrange(count)) for _ in range(questions)]


async def in_process(data: Path, contracts: Sequence[bytes]) -> list[float]:
    """Return the milliseconds of each decision, in the thread of the database."""
    present, key = Present(time.time, Catalogue(), KnownRules()), clinician().public_key

    def work(connection: sqlite3.Connection) -> list[float]:
        found: list[float] = []
        for contract in contracts:
            started = time.perf_counter()
            block = present.block(connection, StoredState(connection))
            actor = reading_actor(block, Reader("pseudonym", "", key, None, contract, None))
            question = Question("open", ARGUMENTS)
            answer = decide(block, actor, instance_of(block, contract), question)
            found.append(1000 * (time.perf_counter() - started))
            if not answer.allowed:
                raise AssertionError(f"the answer was {answer}")
        return found

    async with Database(data / "state.db", SCHEMA) as database:
        return await database.read(work)


@asynccontextmanager
async def serving(town: Town) -> AsyncGenerator[ContractServiceStub]:
    """Run the service of the first member as a process; yield a holder's stub."""
    ready = town.folder / "ready.json"
    settings = _settings(town) | {"ready_file": ready}
    environment = {f"CIPHERWARD_{name.upper()}": str(value) for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cipherward_contract", env={**os.environ, **environment}
    )
    try:
        await eventually(ready.exists, seconds=START_SECONDS, what="the ready file")
        port = json.loads(ready.read_text(encoding="utf-8"))["holder"]
        channel = open_channel(
            f"127.0.0.1:{port}",
            identity=None,
            registry=town.alliance.registry,
            peer_member=MEMBERS[0],
            peer_service="contract",
        )
        async with channel:
            yield ContractServiceStub(channel)
    finally:
        process.terminate()
        await process.wait()


def _settings(town: Town) -> dict[str, object]:
    return town.alliance.settings(MEMBERS[0], "contract")


def _data_folder(town: Town) -> Path:
    data = Path(str(_settings(town)["data_dir"]))
    data.mkdir(mode=0o700, parents=True)
    return data


def _request(town: Town, contract: bytes) -> pb.DecideRequest:
    read = build_read(
        METHOD + "Decide",
        contract,
        chain_id=town.genesis.chain_id,
        signer=clinician(),
        time_ns=time.time_ns(),
    )
    return pb.DecideRequest(read=read, transition="open", arguments=ARGUMENTS)


async def over_grpc(
    town: Town, stub: ContractServiceStub, contracts: Sequence[bytes]
) -> list[float]:
    """Return the milliseconds of each answer, from when it was due; templates are known before."""
    known = len(town.consents)
    for contract in contracts[:known]:
        await stub.Decide(_request(town, contract), timeout=CALL_SECONDS)
    requests = [_request(town, contract) for contract in contracts[known:]]
    found: list[float] = []
    loop = asyncio.get_running_loop()

    async def one(request: pb.DecideRequest, due: float) -> None:
        answer = await stub.Decide(request, timeout=CALL_SECONDS)
        found.append(1000 * (loop.time() - due))
        if not answer.allowed:
            raise AssertionError(f"the answer was {answer}")

    begin = loop.time() + 0.1
    async with asyncio.TaskGroup() as group:
        for number, request in enumerate(requests):
            due = begin + number / RATE
            await asyncio.sleep(max(0.0, due - loop.time()))
            group.create_task(one(request, due))
    return found


async def found_of(
    instances: int, questions: int, seconds: float
) -> tuple[list[float], list[float]]:
    """Return the milliseconds of decisions in process, and of answers over gRPC."""
    with tempfile.TemporaryDirectory(prefix="cipherward-bench-") as made:
        town = Town.found(Path(made))
        (town.folder / "genesis.json").write_bytes(town.document)
        data = _data_folder(town)
        await fill(town, data, instances)
        decided = await in_process(data, asked(town, instances, questions))
        async with serving(town) as stub:
            contracts = asked(town, instances, int(RATE * seconds))
            answered = await over_grpc(town, stub, contracts)
    return decided[len(town.consents) :], answered


def measure() -> list[Row]:
    """Return the rows."""
    decided, answered = asyncio.run(found_of(INSTANCES, QUESTIONS, SECONDS))
    p50, p99 = statistics.median(answered), _quantile(answered, 0.99)
    spread = Spread(p50, max(answered), f"median..max of {len(answered)} answers")
    return [
        Row(NAME, statistics.median(decided), "ms", Spread.deciles(decided, "decisions"), TARGET),
        Row(P99_NAME, p99, "ms", spread, P99_TARGET),
    ]


def _quantile(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else INSTANCES
    decided_ms, answered_ms = asyncio.run(found_of(count, 1_000, 3.0))
    print(f"in process: median {statistics.median(decided_ms):.3f} ms")
    print(
        f"over gRPC: median {statistics.median(answered_ms):.1f} ms,"
        f" p99 {_quantile(answered_ms, 0.99):.1f} ms, most {max(answered_ms):.1f} ms"
    )
