"""Two hospitals that run as they should, and two that were set up with a template that leaks."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from cipherward_chain.canonical import Value, decode_map, encode
from cipherward_client.alliance.create import create_alliance
from cipherward_client.alliance.layout import CLIENT, MEMBER_KEY, AllianceFolder
from cipherward_client.alliance.parts import ALL_EMBEDDED
from cipherward_client.alliance.running import RunningAlliance, new_plan, running_alliance
from cipherward_client.canaries.memory import Memory
from cipherward_client.canaries.schedule import Kind
from cipherward_client.canaries.spots import Case
from cipherward_client.canaries.stage import Files, open_stage
from cipherward_client.canaries.verdicts import Results
from cipherward_client.canaries.watch import CANARIES, SCENES, Waits, Watch
from cipherward_kit.readiness import Readiness
from cipherward_kit.testing import eventually
from cipherward_kit.tls import Identity

START_SECONDS = 180.0  # eight processes on a busy machine without compiled bytecode
MEMBER = "hospital-a"
HOSPITALS = 2  # one whose canaries ask, and one that is another institution
# An end is asked about soon after: every service here follows the chain within milliseconds.
WAITS = Waits(settle_seconds=3, expiry_seconds=15)
ENDED = frozenset({Case.REVOKED, Case.EXPIRED, Case.ERASED})

Change = Callable[[dict[str, Value]], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the processes, which take seconds to start."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@contextmanager
def alliance_in_thread(root: Path) -> Generator[RunningAlliance]:
    """Run the alliance of a folder in a thread with a loop of its own: it outlives the tests'."""
    ready: concurrent.futures.Future[RunningAlliance] = concurrent.futures.Future()
    stop = threading.Event()

    async def run() -> None:
        try:
            async with running_alliance(root) as running:
                ready.set_result(running)
                await asyncio.to_thread(stop.wait)
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    try:
        yield ready.result(START_SECONDS)
    finally:
        stop.set()
        thread.join(START_SECONDS)


def found_alliance(root: Path, change: Change | None = None) -> AllianceFolder:
    """Make an alliance whose genesis has the shipped templates; `change` patches consent's."""
    folder = AllianceFolder(root)
    root.mkdir(mode=0o700)
    create_alliance(folder, new_plan(ALL_EMBEDDED, HOSPITALS))
    if change is not None:
        genesis = json.loads(folder.genesis_file.read_bytes())
        templates = cast("list[dict[str, str]]", genesis["app_state"]["templates"])
        consent = next(one for one in templates if one["name"] == "consent")
        document = dict(decode_map(bytes.fromhex(consent["document"])))
        change(document)
        consent["document"] = encode(document).hex()
        folder.genesis_file.write_text(json.dumps(genesis, indent=1) + "\n")
    return folder


@dataclass(frozen=True)
class Watched:
    """The canaries of hospital-a after their scenes have settled and a round of each kind."""

    running: RunningAlliance
    memory: Memory
    files: Files
    watch: Watch
    readiness: Readiness
    results: Mapping[Kind, Results]
    waits: Waits = WAITS


def files_of(folder: AllianceFolder) -> Files:
    """Return the files that the canaries of hospital-a are given."""
    home = folder.member(MEMBER)
    return Files(
        folder.endpoints_file,
        folder.genesis_file,
        home.key(MEMBER_KEY),
        Identity.from_files(*home.certificate(CLIENT)),
    )


def watched(running: RunningAlliance, memory_file: Path) -> Watched:
    """Let the canaries make their scenes, wait until all ends are over, and hold the rounds."""
    files = files_of(running.folder)
    memory = Memory.load(memory_file, running.genesis.chain_id)
    readiness = Readiness(SCENES, CANARIES)
    watch = Watch(memory, partial(open_stage, files, memory), readiness, WAITS)

    async def work() -> Mapping[Kind, Results]:
        await watch.round(Kind.READS)  # it makes the scenes; no end is asked about yet
        scenes = memory.scenes
        assert scenes is not None, "the scenes could not be made: the log says why"
        await eventually(
            lambda: watch.over_now(scenes, time.time()) == ENDED, seconds=60, what="the ends"
        )
        return {kind: await watch.round(kind) for kind in Kind}

    return Watched(running, memory, files, watch, readiness, asyncio.run(work()))


@contextmanager
def watched_alliance(root: Path, change: Change | None = None) -> Generator[Watched]:
    """Run an alliance, and canaries of it, in a folder; `change` patches its consent template."""
    found_alliance(root / "alliance", change)
    with alliance_in_thread(root / "alliance") as running:
        yield watched(running, root / "canaries.cbor")


def tried_out(folder: AllianceFolder, canary_health: str = "") -> subprocess.CompletedProcess[str]:
    """Run the trial of hospital-a's release, as `helm test` does, and return how it ended."""
    files = files_of(folder)
    certificate, private_key = folder.member(MEMBER).certificate(CLIENT)
    settings: dict[str, object] = {
        "MEMBER": MEMBER,
        "GENESIS_FILE": files.genesis,
        "ENDPOINTS_FILE": files.endpoints,
        "TLS_CERTIFICATE": certificate,
        "TLS_PRIVATE_KEY": private_key,
        "MEMBER_KEY_FILE": files.member_key,
    }
    if canary_health:
        settings["CANARY_HEALTH"] = canary_health
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CIPHERWARD_")}
    return subprocess.run(
        [sys.executable, "-m", "cipherward_client.trial"],
        env=inherited | {f"CIPHERWARD_{name}": str(value) for name, value in settings.items()},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
    )


TryOut = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def try_out() -> TryOut:
    """Take a synthetic record through a running alliance."""
    return tried_out


WatchAlliance = Callable[[Path, Change | None], AbstractContextManager[Watched]]


@pytest.fixture(scope="session")
def watch_alliance() -> WatchAlliance:
    """Run one alliance at a time: whoever asks ends it with its module."""
    return watched_alliance
