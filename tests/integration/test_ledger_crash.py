"""kill -9 of ledger and contract under load: nothing acknowledged is lost or applied twice."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.genesis import Genesis
from cipherward_chain.light import LightClient
from cipherward_chain.receipts import verify_receipt
from cipherward_chain.testing import TestKeys, make_genesis
from cipherward_chain.transactions import build_transaction, parse_transaction
from cipherward_chain.wire import exact_bytes
from cipherward_kit.channels import open_channel
from cipherward_kit.config import ENV_PREFIX
from cipherward_kit.testing import TestAlliance, eventually
from cipherward_ledger.testing import free_port

MEMBER = "hospital-a"
START_SECONDS = 60.0  # two processes that import much, on a busy machine
CALL_SECONDS = 10.0
BATCH = 20
WRITERS = 2
RECEIPTS = 50  # asked for at once


@dataclass
class Deployment:
    """A ledger and a contract of one member, each a process of its own."""

    folder: Path
    alliance: TestAlliance
    genesis: Genesis
    keys: TestKeys
    ports: dict[str, int]
    processes: dict[str, subprocess.Popen[bytes]] = field(
        default_factory=dict[str, "subprocess.Popen[bytes]"]
    )

    @classmethod
    def make(cls, folder: Path) -> Deployment:
        alliance = TestAlliance(folder / "alliance")
        authorities = {m: ca.certificate_pem.decode() for m, ca in alliance.authorities.items()}
        genesis, keys = make_genesis(ca_certificates=authorities, time_ns=time.time_ns())
        ports = {name: free_port() for name in ("ledger", "contract", "identity")}
        made = cls(folder, alliance, genesis, keys, ports)
        made.write("genesis.json", keys.document)
        made.write("validator.key", keys.validator_seed)
        made.write("member.key", keys.member_seeds[MEMBER])
        listens = {name: {"listen": f"127.0.0.1:{port}"} for name, port in ports.items()}
        endpoints = {
            "chain_id": genesis.chain_id,
            "ledger_member": MEMBER,
            "endpoints": {MEMBER: listens},
        }
        made.write("alliance.json", json.dumps(endpoints).encode())
        return made

    def write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)

    def start(self, service: str) -> None:
        settings = self.alliance.settings(MEMBER, service) | {
            "genesis_file": self.folder / "genesis.json",
            "data_dir": self.folder / "data" / service,
            "listen": f"127.0.0.1:{self.ports[service]}",
            "parent_pid": os.getpid(),
        }
        if service == "ledger":
            settings |= {
                "endpoints_file": self.folder / "alliance.json",
                "validator_key_file": self.folder / "validator.key",
                "member_key_file": self.folder / "member.key",
            }
        given = {ENV_PREFIX + name.upper(): str(value) for name, value in settings.items()}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}
        with (self.folder / f"{service}.log").open("ab") as log:
            self.processes[service] = subprocess.Popen(
                [sys.executable, "-m", f"cipherward_{service}"],
                env=inherited | given,
                stdout=log,
                stderr=log,
            )

    def kill(self, service: str) -> None:
        process = self.processes.pop(service)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def logs(self) -> str:
        return "\n".join(path.read_text()[-3_000:] for path in self.folder.glob("*.log"))

    def channel(self, service: str, caller: str) -> aio.Channel:
        return open_channel(
            f"127.0.0.1:{self.ports[service]}",
            identity=self.alliance.identity(MEMBER, caller),
            registry=self.alliance.registry,
            peer_member=MEMBER,
            peer_service=service,
        )

    def transactions(self, count: int) -> list[bytes]:
        signer = MemberSigner(MEMBER, self.keys.member_seeds[MEMBER])
        return [
            build_transaction(
                [tx_pb.Act(tick=tx_pb.Tick())],
                chain_id=self.genesis.chain_id,
                expires_at=int(time.time()) + 500,
                signer=signer,
            )
            for _ in range(count)
        ]


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    made = await asyncio.to_thread(Deployment.make, tmp_path)
    try:
        for service in ("contract", "ledger"):
            made.start(service)
        yield made
    finally:
        for service in list(made.processes):
            made.kill(service)


@dataclass
class Load:
    """Writers that submit batches whatever happens, and remember what was acknowledged."""

    deployment: Deployment
    acknowledged: set[bytes] = field(default_factory=set[bytes])
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def write(self, stub: LedgerServiceStub) -> None:
        while not self.stop.is_set():
            await self.submit(stub, self.deployment.transactions(BATCH))

    async def submit(self, stub: LedgerServiceStub, contents: Sequence[bytes]) -> bool:
        """Submit once; a batch without an answer may or may not have been admitted."""
        request = pb.SubmitBatchRequest(transactions=contents)
        try:
            answer = await stub.SubmitBatch(request, timeout=CALL_SECONDS)
        except aio.AioRpcError:
            await asyncio.sleep(0.02)  # the ledger is away: do not spin
            return False
        self.acknowledged.update(v.transaction_id for v in answer.verdicts if not v.reason)
        return True


@asynccontextmanager
async def writing(deployment: Deployment) -> AsyncGenerator[Load]:
    """Keep writers at work while the context is open."""
    load = Load(deployment)
    async with deployment.channel("ledger", "client") as channel:
        stub = LedgerServiceStub(channel)
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(load.write(stub))
            try:
                yield load
            finally:
                load.stop.set()


async def until_acknowledged(load: Load, more: int) -> None:
    wanted = len(load.acknowledged) + more
    await eventually(lambda: len(load.acknowledged) >= wanted, seconds=START_SECONDS)


async def kill_at_random(deployment: Deployment, kills: int, seed: int) -> set[bytes]:
    """Kill ledger, contract or both, `kills` times under load; return what was acknowledged."""
    choose = random.Random(seed)  # noqa: S311 - instants to kill at, so that a failure repeats
    async with writing(deployment) as load:
        await until_acknowledged(load, BATCH)
        for number in range(kills):
            await asyncio.sleep(choose.uniform(0, 0.4))  # the random instant is the test
            victims = (("ledger",), ("contract",), ("ledger", "contract"))[number % 3]
            for victim in victims:
                deployment.kill(victim)
            for victim in reversed(victims):
                deployment.start(victim)
            await until_acknowledged(load, BATCH)
    return load.acknowledged


async def check_everything(deployment: Deployment, acknowledged: set[bytes]) -> bytes:
    """Wait for every acknowledged transaction, verify the whole chain, return its app hash."""
    async with (
        deployment.channel("ledger", "client") as channel,
        deployment.channel("contract", "ledger") as direct,
    ):
        async with asyncio.timeout(START_SECONDS):
            await channel.channel_ready()
            await direct.channel_ready()
        stub = LedgerServiceStub(channel)
        root = deployment.genesis.trust_root()

        async def check(transaction_id: bytes) -> None:
            request = pb.GetReceiptRequest(transaction_id=transaction_id, wait=True)
            answer = await stub.GetReceipt(request, timeout=START_SECONDS)
            receipt = verify_receipt(exact_bytes(answer.receipt), root)
            assert receipt.transaction.id == transaction_id
            assert receipt.result.applied

        waiting = sorted(acknowledged)
        for at in range(0, len(waiting), RECEIPTS):
            await asyncio.gather(*map(check, waiting[at : at + RECEIPTS]))
        ids, client = await whole_chain(deployment, stub)
        assert len(ids) == len(set(ids)), "a transaction is in the chain twice"
        assert acknowledged <= set(ids)
        committed = await ContractServiceStub(direct).GetCommitted(
            contract_pb.GetCommittedRequest(), timeout=CALL_SECONDS
        )
        checkpoint = client.checkpoint
        assert checkpoint is not None
        assert checkpoint.app_hash == committed.app_hash
        return committed.app_hash


async def whole_chain(
    deployment: Deployment, stub: LedgerServiceStub
) -> tuple[list[bytes], LightClient]:
    """Follow the chain from its first block to its newest proven one; return its ids, in order."""
    async with asyncio.timeout(START_SECONDS):
        while True:  # until nothing waits and the newest block proves an empty one
            status = await stub.GetStatus(pb.GetStatusRequest(), timeout=CALL_SECONDS)
            client, ids = LightClient(deployment.genesis.trust_root()), list[bytes]()
            call = stub.StreamBlocks(pb.StreamBlocksRequest(from_height=1))
            async for answer in call:
                block = client.accept(answer.block)
                ids += [parse_transaction(raw).id for raw in block.transactions]
                if block.height == status.height - 1:
                    break
            call.cancel()
            again = await stub.GetStatus(pb.GetStatusRequest(), timeout=CALL_SECONDS)
            if status.pending == 0 and again.height == status.height:
                return ids, client


async def check_kills(deployment: Deployment, kills: int, seed: int) -> None:
    try:
        acknowledged = await kill_at_random(deployment, kills, seed)
        assert len(acknowledged) >= kills * BATCH
        before = await check_everything(deployment, acknowledged)
        for service in ("ledger", "contract"):
            deployment.kill(service)
        for service in ("ledger", "contract"):  # in the wrong order: the ledger waits
            deployment.start(service)
        assert await check_everything(deployment, acknowledged) == before
    except BaseException:
        print(deployment.logs())
        raise


@pytest.mark.slow
async def test_three_kills_under_load_lose_nothing_and_apply_nothing_twice(
    deployment: Deployment,
) -> None:
    await check_kills(deployment, kills=3, seed=1)


@pytest.mark.soak
async def test_twenty_kills_under_load_lose_nothing_and_apply_nothing_twice(
    deployment: Deployment,
) -> None:
    await check_kills(deployment, kills=20, seed=2)
