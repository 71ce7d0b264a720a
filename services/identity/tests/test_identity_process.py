"""The process itself: `python -m cipherward_identity` against a ledger's stream, killed and begun
again."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio

from cipherward.identity.v1 import identity_service_pb2 as pb
from cipherward.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import (
    LedgerServiceServicer,
    add_LedgerServiceServicer_to_server,
)
from cipherward_anoncred.credential import Credential
from cipherward_anoncred.issuance import HolderSecret, request_first
from cipherward_anoncred.scheme import generate_issuer_key
from cipherward_chain.genesis import Issuer
from cipherward_chain.testing import TestChain, make_genesis, seed_of
from cipherward_chain.wire import NANOS
from cipherward_kit.channels import open_channel
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import TestAlliance, eventually, serve_in_process

if TYPE_CHECKING:
    from collections.abc import Mapping

MEMBER = "hospital-b"  # its ledger is another member's: the alliance's one


class ChainStream(LedgerServiceServicer):
    """What followers ask of a ledger, over a chain of genuine blocks."""

    def __init__(self, chain: TestChain) -> None:
        self._chain = chain

    async def StreamBlocks(
        self, request: ledger_pb.StreamBlocksRequest, context: aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[ledger_pb.StreamBlocksResponse]:
        async for block in self._chain.blocks_from(request.from_height):
            yield ledger_pb.StreamBlocksResponse(block=block)

    async def GetStatus(
        self, request: ledger_pb.GetStatusRequest, context: aio.ServicerContext[Any, Any]
    ) -> ledger_pb.GetStatusResponse:
        return ledger_pb.GetStatusResponse(height=self._chain.height, first_height=1)


class Running:
    """A process of ours, and the channels to the ports that it announced."""

    def __init__(self, process: asyncio.subprocess.Process, alliance: TestAlliance) -> None:
        self.process = process
        self._alliance = alliance
        self.ports: Mapping[str, int] = {}

    def stub(self, port: str, as_service: str | None) -> IdentityServiceStub:
        identity = None if as_service is None else self._alliance.identity(MEMBER, as_service)
        channel = open_channel(
            f"127.0.0.1:{self.ports[port]}",
            identity=identity,
            registry=self._alliance.registry,
            peer_member=MEMBER,
            peer_service="identity",
        )
        return IdentityServiceStub(channel)


@asynccontextmanager
async def process_of(
    environment: dict[str, str], alliance: TestAlliance
) -> AsyncGenerator[Running]:
    ready_file = Path(environment["CIPHERWARD_READY_FILE"])
    await asyncio.to_thread(ready_file.unlink, missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cipherward_identity", env=environment
    )
    running = Running(process, alliance)
    try:
        await eventually(ready_file.exists, seconds=30)
        running.ports = json.loads(await asyncio.to_thread(ready_file.read_text))
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def credential_of(running: Running) -> tuple[pb.RequestCredentialRequest, bytes, Credential]:
    desk, holder = running.stub("listen", "client"), running.stub("holder", None)
    admitted = await desk.AdmitHolder(
        pb.AdmitHolderRequest(request_id="e0f0a7a8-9c3f-4a39-9a54-2b6c30e7e1fa", schema="patient")
    )
    code = admitted.admission_code

    async def begun() -> pb.BeginCredentialResponse | None:
        try:
            return await holder.BeginCredential(pb.BeginCredentialRequest(admission_code=code))
        except aio.AioRpcError as error:
            if reason_of(error) != "CHAIN_STALE":
                raise
            return None  # the first block is on its way

    await eventually(begun)
    offer = await begun()
    assert offer is not None
    octets, pending = request_first(
        HolderSecret.generate(), issuer=offer.issuer, header=offer.header, session=offer.session
    )
    request = pb.RequestCredentialRequest(
        admission_code=code, session=offer.session, request=octets
    )
    grant = (await holder.RequestCredential(request)).grant
    return request, grant, pending.accept(grant, offer.public_key, tuple(offer.attributes))


@pytest.mark.slow
async def test_a_killed_process_answers_the_same_grant_again_and_drains_on_sigterm(
    alliance: TestAlliance, tmp_path: Path
) -> None:
    material = seed_of(f"{MEMBER}/issuer")
    members = ("hospital-a", MEMBER)
    authorities = {m: alliance.registry.authority_pem(m).decode() for m in members}
    genesis, keys = make_genesis(
        2,
        issuers=[Issuer(MEMBER, generate_issuer_key(material).public, ("patient", "staff"))],
        ca_certificates=authorities,
        time_ns=time.time_ns() - 10 * NANOS,
    )
    chain = TestChain(genesis, keys)
    chain.heartbeat(time.time_ns())
    chain.heartbeat(time.time_ns())
    register = ChainStream(chain)  # pyright: ignore[reportAbstractUsage] - followers ask for the stream only
    async with serve_in_process(
        lambda server: add_LedgerServiceServicer_to_server(register, server),
        domain="ledger.cipherward",
        alliance=alliance,
        service="ledger",
        member="hospital-a",
    ) as ledger:
        (tmp_path / "genesis.json").write_bytes(keys.document)
        for name, key in (("issuer.key", material), ("member.key", keys.member_seeds[MEMBER])):
            (tmp_path / name).write_bytes(key)
            (tmp_path / name).chmod(0o600)
        endpoints = {"hospital-a": {"ledger": {"listen": f"127.0.0.1:{ledger.ports.listen}"}}}
        (tmp_path / "alliance.json").write_text(
            json.dumps(
                {
                    "chain_id": genesis.chain_id,
                    "ledger_member": "hospital-a",
                    "endpoints": endpoints,
                }
            )
        )
        settings = alliance.settings(MEMBER, "identity") | {
            "data_dir": tmp_path / "data",
            "genesis_file": tmp_path / "genesis.json",
            "endpoints_file": tmp_path / "alliance.json",
            "issuer_key_file": tmp_path / "issuer.key",
            "member_key_file": tmp_path / "member.key",
            "ready_file": tmp_path / "ready.json",
            "parent_pid": os.getpid(),
            "workers": 1,
        }
        environment = {f"CIPHERWARD_{name.upper()}": str(v) for name, v in settings.items()}
        environment |= {"PATH": os.environ["PATH"]}
        async with process_of(environment, alliance) as running:
            request, grant, credential = await credential_of(running)
            running.process.kill()
            await running.process.wait()
        async with process_of(environment, alliance) as running:
            holder = running.stub("holder", None)

            async def answered() -> bool:
                try:
                    return (await holder.RequestCredential(request)).grant == grant
                except aio.AioRpcError as error:
                    if reason_of(error) != "CHAIN_STALE":
                        raise
                    return False

            await eventually(answered)
            renewed = await holder.RenewCredential(
                pb.RenewCredentialRequest(identity=credential.identity())
            )
            credential.renewed(renewed.signature, renewed.header)
            running.process.terminate()
            assert await asyncio.wait_for(running.process.wait(), 10) == 0
