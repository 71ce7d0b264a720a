"""An alliance that runs as it should: everything is asked, and everything is refused."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_client.alliance.supervisor import serving
from cipherward_client.canaries.building import SCENES_SECONDS
from cipherward_client.canaries.memory import Memory
from cipherward_client.canaries.schedule import Kind
from cipherward_client.canaries.spots import Case, Outcome, Spot
from cipherward_client.canaries.spots import Path as Way
from cipherward_client.canaries.stage import open_stage
from cipherward_client.canaries.watch import CANARIES, SCENES, Watch
from cipherward_client.sdk.audit import REFUSED, audit_record
from cipherward_client.sdk.questions import Asker, ask
from cipherward_kit.readiness import Readiness
from cipherward_kit.testing import eventually

if TYPE_CHECKING:
    from conftest import TryOut, WatchAlliance, Watched

    from cipherward_client.alliance.layout import AllianceFolder

MEMBER = "hospital-a"
RELEASED = (Way.RELEASED_KEY, Way.GUARDIAN_SHARE, Way.RECORD)
ENDED = (Case.REVOKED, Case.EXPIRED, Case.ERASED)
JUDGED = (Case.NO_CONSENT, Case.WRONG_INSTITUTION, Case.WRONG_PURPOSE, *ENDED)
READS = {
    *(Spot(path, case) for path in RELEASED for case in ENDED),
    *(Spot(path, Case.NO_CONSENT) for path in RELEASED),
    *(Spot(path, Case.WRONG_INSTITUTION) for path in RELEASED),
    *(Spot(Way.DECIDE, case) for case in JUDGED),
    Spot(Way.CONTRACT, Case.NO_CONSENT),
    Spot(Way.CONTRACT, Case.WRONG_INSTITUTION),
    *(Spot(path, Case.NO_CONSENT) for path in (Way.CONTRACTS, Way.DISCLOSURES, Way.NOTICES)),
    Spot(Way.DESCRIBE, Case.OUTSIDE),
    Spot(Way.STUDY_INPUT, Case.OUTSIDE),
}


@pytest.fixture(scope="module")
def tight(
    tmp_path_factory: pytest.TempPathFactory, watch_alliance: WatchAlliance
) -> Generator[Watched]:
    """The canaries of an alliance that runs as it should."""
    with watch_alliance(tmp_path_factory.mktemp("tight"), None) as found:
        yield found


@pytest.mark.parametrize(
    ("kind", "spots"),
    [(Kind.READS, READS), (Kind.ACTS, {Spot(Way.OPEN, case) for case in JUDGED})],
)
def test_every_path_and_case_is_asked_and_refused_for_the_right_reason(
    tight: Watched, kind: Kind, spots: set[Spot]
) -> None:
    results = tight.results[kind]
    wrong = {
        spot: outcomes for spot, outcomes in results.items() if set(outcomes) != {Outcome.REFUSED}
    }
    assert wrong == {}
    assert set(results) == spots
    assert tight.readiness.ready


def test_every_guardian_is_asked(tight: Watched) -> None:
    found = tight.results[Kind.READS][Spot(Way.GUARDIAN_SHARE, Case.REVOKED)]
    assert len(found) == len(tight.running.members)


async def test_what_canaries_do_is_seen_by_the_synthetic_owner_alone(tight: Watched) -> None:
    scenes = tight.memory.scenes
    assert scenes is not None
    owner = tight.memory.patients[0]
    async with open_stage(tight.files, tight.memory) as stage:
        rows = await audit_record(stage.holder, owner, scenes.standing.record_id)
        refused = [row for row in rows if row.stage == REFUSED]
        assert {row.grant_id for row in refused} >= {scenes.foreign, scenes.narrow}
        told = await ask(
            Asker.member(stage.hospital),
            "/cipherward.contract.v1.ContractService/ListNotices",
            b"",
            lambda read, left: stage.hospital.alliance.contract.ListNotices(
                pb.ListNoticesRequest(read=read), timeout=left
            ),
        )
    assert {notice.record_id for notice in told.notices} <= scenes.records


async def test_a_leak_of_an_earlier_run_is_over_once_a_round_is_refused(
    tight: Watched, tmp_path: Path
) -> None:
    memory = replace(tight.memory, path=tmp_path / "canaries.cbor")
    memory.leaking = (Spot(Way.RECORD, Case.REVOKED), Spot(Way.OPEN, Case.ERASED))
    readiness = Readiness(SCENES, CANARIES)
    watch = Watch(memory, partial(open_stage, tight.files, memory), readiness, tight.waits)
    assert readiness.missing() == {CANARIES: "not refused on: open, record"}
    await watch.round(Kind.READS)
    assert readiness.missing() == {CANARIES: "not refused on: open"}
    assert Memory.load(memory.path, tight.running.genesis.chain_id).leaking == memory.leaking
    await watch.round(Kind.ACTS)
    assert readiness.ready
    async with asyncio.timeout(30):  # the services were told so too
        await serving(tight.running.endpoints.of(MEMBER, "storage").health)
        await serving(tight.running.endpoints.of(MEMBER, "contract").health)


async def test_the_records_of_the_day_before_are_erased(tight: Watched, tmp_path: Path) -> None:
    memory = tight.memory
    before = memory.scenes
    assert before is not None
    memory.scenes = replace(before, made=before.made - SCENES_SECONDS)
    stage = partial(open_stage, tight.files, memory)
    watch = Watch(memory, stage, Readiness(SCENES, CANARIES), tight.waits)
    await watch.round(Kind.READS)
    after = memory.scenes
    assert after is not None
    assert not after.records & before.records
    assert {record for patient in memory.patients for record in patient.records} < after.records
    assert watch.verdicts.leaking == []


def test_a_trial_takes_a_record_through_a_member_and_erases_it(
    tight: Watched, try_out: TryOut
) -> None:
    ended = try_out(tight.running.folder)
    assert ended.returncode == 0, ended.stderr
    assert [line.split(" s  ")[1] for line in ended.stdout.splitlines()] == [
        "people admitted, duty registered",
        "record stored",
        "receipt of the record verified",
        "refused without consent",
        "opened with consent",
        "refused after the consent was revoked",
        "record erased",
    ]


@asynccontextmanager
async def command(
    folder: AllianceFolder, data: Path, settings: Mapping[str, str]
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run `cipherward canary run` while the context is open."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CIPHERWARD_")}
    arguments = ["--member", MEMBER, "--alliance", str(folder.root), "--data", str(data)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cipherward_client.cli", "canary", "run", *arguments),
        env=inherited | {f"CIPHERWARD_{name}": value for name, value in settings.items()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_command_runs_as_a_service_until_it_is_told_to_stop(
    tight: Watched, try_out: TryOut, tmp_path: Path
) -> None:
    ready = tmp_path / "ready.json"
    settings = {
        "READY_FILE": str(ready),
        "ROUND_SECONDS": "1",
        "SETTLE_SECONDS": "3",
        "EXPIRY_SECONDS": "15",
        "DRAIN_SECONDS": "0",
    }
    async with command(tight.running.folder, tmp_path / "data", settings) as process:
        await eventually(ready.exists, seconds=60, what="the process")
        ports = json.loads(await asyncio.to_thread(ready.read_text))
        assert ports["pid"] == process.pid
        async with asyncio.timeout(60):
            await serving(f"127.0.0.1:{ports['health']}")
        trial = partial(try_out, tight.running.folder, f"127.0.0.1:{ports['health']}")
        ended = await asyncio.to_thread(trial)
        assert "nothing that they asked for was given" in ended.stdout, ended.stderr
        page = f"http://127.0.0.1:{ports['metrics']}/metrics"

        async def shown() -> bool:
            text = await asyncio.to_thread(lambda: urllib.request.urlopen(page).read().decode())
            refused = 'asked_total{case="revoked",outcome="refused",path="record"}'
            return (
                refused in text
                and f"{refused} 0.0" not in text
                and 'cipherward_service_ready{condition="canaries"} 1.0' in text
            )

        await eventually(shown, seconds=60, what="a round about what has ended")
        process.send_signal(signal.SIGTERM)
        out, err = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, err.decode()
    scenes = Memory.load(tmp_path / "data/canaries.cbor", tight.running.genesis.chain_id).scenes
    assert scenes is not None
    for secret in (scenes.standing.record_id, scenes.standing.grant_id):
        assert secret.hex() not in out.decode() + err.decode()
