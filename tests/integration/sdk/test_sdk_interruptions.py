"""A line that breaks costs what was on it, never the record: transfers go on where they stopped."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_client.alliance.layout import CLIENT, MEMBER_KEY
from cipherward_client.alliance.running import RunningAlliance
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.consents import ConsentTerms, grant_consent
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct, Submitter
from cipherward_client.sdk.records import WalletOwner, get_record, put_record
from cipherward_kit.tls import Identity

Town = Any  # conftest's; test modules cannot import it

PIECE = 64 * 1024
CLOSE_SECONDS = 10.0  # an aborted connection ends in the loop's next rounds
PART = 1024 * 1024  # what an upload sends at once
TICK = chain_pb.Act(tick=chain_pb.Tick())


class BreakingLine:
    """Forwards TCP connections, and breaks each after `bytes_max` bytes, `breaks` times in all."""

    def __init__(self, target: str, bytes_max: int, breaks: int) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._bytes_max = bytes_max
        self._left = breaks
        self._serving: set[asyncio.Task[None]] = set()
        self._sides: list[asyncio.StreamWriter] = []
        self.broken = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[str]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()[:2]
            yield f"{host}:{port}"
        # Every connection is at its end before the loop is: the loop's end would cancel the tasks
        # that serve them, and asyncio's server does not bear a cancelled one.
        for side in self._sides:
            side.transport.abort()
        if self._serving:
            await asyncio.wait(self._serving, timeout=CLOSE_SECONDS)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sides.append(writer)
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._host, self._port)
        self._sides.append(there[1])
        passed = 0

        async def forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            nonlocal passed
            with suppress(ConnectionError):
                while piece := await source.read(PIECE):
                    passed += len(piece)
                    if passed > self._bytes_max and self._left:
                        self._left -= 1
                        self.broken += 1
                        break
                    sink.write(piece)
                    await sink.drain()
            for side in (writer, there[1]):
                side.transport.abort()

        await asyncio.gather(forward(reader, there[1]), forward(there[0], writer))


def with_storage_at(town: Town, tmp_path: Path, **ports: str) -> Path:
    """Write the alliance's endpoints with other addresses of hospital-a's storage."""
    document = json.loads(town.folder.endpoints_file.read_text())
    document["endpoints"]["hospital-a"]["storage"].update(ports)
    path = tmp_path / "alliance.json"
    path.write_text(json.dumps(document))
    return path


async def test_an_upload_goes_on_where_its_line_broke(town: Town, tmp_path: Path) -> None:
    content = secrets.token_bytes(24_000_000)
    target = town.alliance.endpoints.of("hospital-a", "storage").listen
    line = BreakingLine(target, bytes_max=15_000_000, breaks=2)
    home = town.folder.member("hospital-a")
    identity = Identity.from_files(*home.certificate(CLIENT))
    patient = await town.person("a")
    async with line.open() as address:
        endpoints = with_storage_at(town, tmp_path, listen=address)
        opened = Alliance.open(endpoints, town.folder.genesis_file, member_identity=identity)
        async with opened as alliance:
            hospital = Hospital.of(alliance, home.key(MEMBER_KEY).read_bytes())
            told: list[int] = []
            receipt = await put_record(
                hospital,
                content,
                WalletOwner(town.alliance, patient),
                progress=lambda stage, done, _: told.append(done) if stage == "upload" else None,
            )
    assert line.broken >= 1
    assert max(told) == receipt.ciphertext_bytes
    # Gone on, not begun again: the last stream began where an earlier one had come to.
    begun = [after for before, after in pairwise(told) if after <= before]
    assert begun[-1] > 2 * PART


async def test_a_download_goes_on_where_its_line_broke(town: Town, tmp_path: Path) -> None:
    content = secrets.token_bytes(24_000_000)
    patient, clinician = await town.person("a"), await town.person("b", "staff", "clinician")
    owner = WalletOwner(town.alliance, patient)
    record = await put_record(await town.hospital("a"), content, owner)
    expires = int(town.alliance.now()) + 3600
    terms = ConsentTerms(record.record_id, "hospital-b", expires)
    consent = await grant_consent(town.alliance, patient, terms)
    target = town.alliance.endpoints.of("hospital-a", "storage").holder
    line = BreakingLine(target, bytes_max=9_000_000, breaks=2)
    async with line.open() as address:
        endpoints = with_storage_at(town, tmp_path, holder=address)
        async with Alliance.open(endpoints, town.folder.genesis_file) as alliance:
            opened = await get_record(alliance, clinician, record.record_id, consent.grant_id)
    assert opened.content == content
    assert line.broken == 2


async def test_acts_survive_a_ledger_and_a_contract_that_are_killed(
    town: Town, running: RunningAlliance
) -> None:
    hospital = await town.hospital("a")
    submitter = Submitter(hospital.alliance)
    for service in ("ledger", "contract"):
        made = [submitter.build([TICK], hospital.signer) for _ in range(40)]
        async with asyncio.TaskGroup() as group:
            under_way = group.create_task(submitter.submit_many(made))
            os.kill(running.supervisor.pids[f"hospital-a/{service}"], signal.SIGKILL)
            outcomes = await under_way
        assert all(isinstance(outcome, ProvenAct) for outcome in outcomes), outcomes
        heights = {outcome.height for outcome in outcomes if isinstance(outcome, ProvenAct)}
        again = await submitter.submit_many(made)
        assert {one.height for one in again if isinstance(one, ProvenAct)} == heights


@pytest.mark.parametrize(
    "parts", [pytest.param("production", marks=pytest.mark.servers)], indirect=True
)
async def test_while_ones_own_ledger_is_away_anothers_takes_the_same_bytes(
    town: Town, tmp_path: Path
) -> None:
    document = json.loads(town.folder.endpoints_file.read_text())
    with socket.create_server(("127.0.0.1", 0)) as unused:
        gone = f"127.0.0.1:{unused.getsockname()[1]}"
    document["endpoints"]["hospital-a"]["ledger"].update(listen=gone, holder=gone)
    endpoints = tmp_path / "alliance.json"
    endpoints.write_text(json.dumps(document))
    home = town.folder.member("hospital-a")
    identity = Identity.from_files(*home.certificate(CLIENT))
    opened = Alliance.open(endpoints, town.folder.genesis_file, member_identity=identity)
    async with opened as alliance:
        assert alliance.home == "hospital-a"
        hospital = Hospital.of(alliance, home.key(MEMBER_KEY).read_bytes())
        submitter = Submitter(alliance)
        made = [submitter.build([TICK], hospital.signer) for _ in range(3)]
        act = await submitter.submit_built(made[0])
        others = await submitter.submit_many(made[1:])
        assert all(isinstance(one, ProvenAct) for one in others), others
    own = Submitter((await town.hospital("a")).alliance)
    again = await own.submit_built(made[0])
    assert (again.height, again.result) == (act.height, act.result)
