"""A member's MongoDB is lost and put back by a tool of its own; what came back is held against the
chain before a storage serves it.

The tool here copies collection by collection, as a dump does: of one moment, or of several.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from cipherward_client.alliance.create import AlliancePlan, hospitals
from cipherward_client.alliance.parts import MONGO, Parts
from cipherward_client.alliance.running import RunningAlliance, running_alliance
from cipherward_client.alliance.supervisor import child_environment
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.hospital import open_hospital
from cipherward_client.sdk.records import WalletOwner, put_record
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.testing import eventually
from tests.servers.mongo import running_mongo
from tests.servers.need import need

pytestmark = [pytest.mark.slow, pytest.mark.servers]

MEMBER: Final = "hospital-a"
STORAGE: Final = f"{MEMBER}/storage"
DIFFERS: Final = 51
VERIFY_SECONDS: Final = 60.0  # the start of a process, and a handful of records
ANCHORED_SECONDS: Final = 30  # a block, and the storage's following it, on a busy machine
CHAIN: Final = "dev-restored"

Dump: TypeAlias = Mapping[str, list[dict[str, Any]]]


@contextmanager
def database(uri: str) -> Generator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](uri) as client:
        yield client[f"cipherward_{CHAIN}_{MEMBER}"]


@dataclass(frozen=True)
class Kept:
    """A dump, and the slot keys of that moment: here they are renewed every ten seconds."""

    dump: Dump
    slot_keys: Mapping[str, bytes]


@dataclass(frozen=True)
class Place:
    """Where a member's database and slot keys are."""

    uri: str
    slot_keys: Path

    def keep(self) -> Kept:
        while True:
            before = self._keys()
            with database(self.uri) as found:
                dump = {name: list(found[name].find()) for name in found.list_collection_names()}
            if self._keys() == before:
                return Kept(dump, before)

    def anchored(self, records: int) -> bool:
        with database(self.uri) as found:
            return found["anchors"].count_documents({}) == records

    def put_back(self, kept: Kept) -> None:
        """Lose everything, and put back what was kept."""
        shutil.rmtree(self.slot_keys)
        self.slot_keys.mkdir(mode=0o700)
        for name, octets in kept.slot_keys.items():
            (self.slot_keys / name).write_bytes(octets)
        with database(self.uri) as found:
            found.client.drop_database(found.name)
            for name, documents in kept.dump.items():
                if documents:
                    found[name].insert_many(documents)

    def _keys(self) -> dict[str, bytes]:
        return {
            path.name: path.read_bytes()
            for path in self.slot_keys.iterdir()
            if not path.name.startswith(".")
        }


async def store_record(running: RunningAlliance, patient: Wallet, name: str) -> None:
    folder = running.folder
    async with (
        Alliance.open(folder.endpoints_file, folder.genesis_file) as alliance,
        open_hospital(folder, MEMBER) as hospital,
    ):
        await put_record(hospital, secrets.token_bytes(1000), WalletOwner(alliance, patient, name))


async def new_patient(running: RunningAlliance) -> Wallet:
    folder = running.folder
    async with Alliance.open(folder.endpoints_file, folder.genesis_file) as alliance:
        wallet = Wallet.create(alliance.chain_id)
        async with open_hospital(folder, MEMBER) as hospital:
            code = await admit_holder(hospital, "patient")
        await obtain_credential(alliance, wallet, MEMBER, code)
    return wallet


async def verified(running: RunningAlliance) -> tuple[int, dict[str, Any], str]:
    """Run the verification with the settings of the stopped storage; return its status, what it has
    found and its last words.
    """
    plan = running.deployment.process_plan(
        (MEMBER, "storage"), running.endpoints.of(MEMBER, "storage")
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cipherward_storage.verify"),
        env=child_environment(plan.environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(VERIFY_SECONDS):
        out, words = await process.communicate()
    lines = [line for line in out.decode().splitlines() if line.startswith('{"height"')]
    assert process.returncode is not None
    return process.returncode, json.loads(lines[0]) if lines else {}, words.decode()


@asynccontextmanager
async def one_hospital(root: Path, uri: str) -> AsyncGenerator[RunningAlliance]:
    plan = AlliancePlan(CHAIN, hospitals(1))
    async with running_alliance(root, plan=plan, parts=Parts(store=MONGO, mongo=uri)) as running:
        yield running


async def test_a_database_that_was_put_back_is_held_against_the_chain(tmp_path: Path) -> None:
    need("mongo")
    with running_mongo(tmp_path / "mongo") as server:
        async with one_hospital(tmp_path / "alliance", server.uri) as running:
            slot_keys = running.folder.member(MEMBER).data("storage") / "slot-keys"
            place = Place(server.uri, slot_keys)
            patient = await new_patient(running)
            await store_record(running, patient, "first")
            await eventually(lambda: asyncio.to_thread(place.anchored, 1), seconds=ANCHORED_SECONDS)
            before = await asyncio.to_thread(place.keep)
            await store_record(running, patient, "second")
            await eventually(lambda: asyncio.to_thread(place.anchored, 2), seconds=ANCHORED_SECONDS)
            await running.supervisor.end([STORAGE])
            after = await asyncio.to_thread(place.keep)

            async def again(kept: Kept) -> tuple[int, dict[str, Any], str]:
                await asyncio.to_thread(place.put_back, kept)
                return await verified(running)

            status, found, words = await again(after)
            assert (status, found["records"], found["missing"]) == (0, 2, 0), words
            assert found["chain_height"] > found["height"] > 0

            # An older moment: the chain brings the rest.
            status, found, words = await again(before)
            assert (status, found["records"]) == (0, 1), words

            # Anchors were read before the place in the chain: nobody would read them up again.
            torn = replace(after, dump={**after.dump, "anchors": before.dump["anchors"]})
            status, found, words = await again(torn)
            assert (status, found["forgotten"]) == (DIFFERS, 1), words
            assert "restore it from another copy" in words

            # Ciphertext was read before its record was there.
            bodies = {name: rows for name, rows in before.dump.items() if name[:7] == "bodies."}
            torn = replace(after, dump={**after.dump, **bodies})
            status, found, words = await again(torn)
            assert (status, found["corrupt_records"]) == (DIFFERS, 1), words

            status, found, words = await again(replace(after, dump={}))
            assert (status, found) == (DIFFERS, {})
            assert "seen no block" in words
