"""Misconfigurations that leak, deployed for real: each is found, and readiness goes.

The alliance begins with a template "consent" that somebody has weakened: its policies forget the
grantee and the purpose, and its ends forget to tell the storages. Everything that the template does
not say stays refused.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY

from cipherward_client.canaries.memory import Memory
from cipherward_client.canaries.schedule import Kind
from cipherward_client.canaries.spots import Case, Outcome, Spot
from cipherward_client.canaries.spots import Path as Way
from cipherward_client.canaries.stage import open_stage
from cipherward_client.canaries.watch import CANARIES, SCENES, Watch
from cipherward_kit.readiness import Readiness

if TYPE_CHECKING:
    from conftest import TryOut, WatchAlliance, Watched

    from cipherward_chain.canonical import Value

RELEASED = (Way.RELEASED_KEY, Way.GUARDIAN_SHARE, Way.RECORD)
LEAKS: Mapping[str, set[Spot]] = {
    "the policies forget the purpose": {
        Spot(Way.DECIDE, Case.WRONG_PURPOSE),
        Spot(Way.OPEN, Case.WRONG_PURPOSE),
    },
    "the template takes the hospital's own staff for the grantee": {
        Spot(path, case)
        for path in (Way.DECIDE, Way.OPEN, Way.CONTRACT)
        for case in (Case.NO_CONSENT, Case.WRONG_INSTITUTION)
    },
    "a revocation does not reach the storages": {Spot(path, Case.REVOKED) for path in RELEASED},
    "an end does not reach the storages": {Spot(path, Case.EXPIRED) for path in RELEASED},
}


def weaken(document: dict[str, Value]) -> None:
    """Take out of the template what the leaks are named after."""
    parties = cast("dict[str, Any]", document["parties"])
    parties["grantee"] = {"is": "custodian_staff"}
    transitions = cast("dict[str, Any]", document["transitions"])
    for end in ("revoke", "expire"):
        del transitions[end]["instructions"]
    release = transitions["open"]["instructions"][0]["with"]
    release["ends"] = {"total": ["block.time", "terms.visit_seconds"]}
    policies = cast("str", document["policies"])
    for forgotten in ("not-the-grantee", "purpose-differs"):
        policies, found = re.subn(rf'@id\("{forgotten}"\).*?\}};\n', "", policies, flags=re.S)
        assert found == 1
    document["policies"] = policies


@pytest.fixture(scope="module")
def leaky(
    tmp_path_factory: pytest.TempPathFactory, watch_alliance: WatchAlliance
) -> Generator[Watched]:
    """The canaries of an alliance with the weakened template."""
    with watch_alliance(tmp_path_factory.mktemp("leaky"), weaken) as found:
        yield found


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_found_on_every_path_that_it_opens(leaky: Watched, leak: str) -> None:
    for spot in LEAKS[leak]:
        assert outcomes_of(leaky, spot) == {Outcome.GIVEN}
        labels = {"path": str(spot.path), "case": str(spot.case)}
        assert (REGISTRY.get_sample_value("cipherward_canary_breaches_total", labels) or 0) > 0


def test_what_the_template_does_not_say_is_refused_all_the_same(leaky: Watched) -> None:
    leaking = set[Spot]().union(*LEAKS.values())
    assert set(leaky.watch.verdicts.leaking) == leaking
    for path in RELEASED:
        assert outcomes_of(leaky, Spot(path, Case.ERASED)) == {Outcome.REFUSED}
        assert outcomes_of(leaky, Spot(path, Case.NO_CONSENT)) == {Outcome.REFUSED}


async def test_a_leak_ends_readiness_here_and_of_the_members_services(leaky: Watched) -> None:
    paths = "contract, decide, guardian-share, open, record, released-key"
    assert leaky.readiness.missing() == {CANARIES: f"not refused on: {paths}"}
    gauge = REGISTRY.get_sample_value("cipherward_service_ready", {"condition": CANARIES})
    assert gauge == 0
    endpoints = leaky.running.endpoints
    assert await health_of(endpoints.of("hospital-a", "storage").health) == "NOT_SERVING"
    assert await health_of(endpoints.of("hospital-a", "contract").health) == "NOT_SERVING"
    # Another member's services follow their own canaries.
    assert await health_of(endpoints.of("hospital-b", "storage").health) == "SERVING"


async def test_a_leak_is_remembered_and_stays_while_it_lasts(
    leaky: Watched, tmp_path: Path
) -> None:
    memory = replace(leaky.memory, path=tmp_path / "canaries.cbor")
    memory.leaking = Memory.load(leaky.memory.path, leaky.running.genesis.chain_id).leaking
    readiness = Readiness(SCENES, CANARIES)
    stage = partial(open_stage, leaky.files, memory)
    again = Watch(memory, stage, readiness, leaky.waits)
    assert CANARIES in readiness.missing()
    await again.round(Kind.READS)
    assert again.verdicts.leaking == leaky.watch.verdicts.leaking


def test_a_trial_fails_where_a_record_opens_without_consent(
    leaky: Watched, try_out: TryOut
) -> None:
    ended = try_out(leaky.running.folder)
    assert ended.returncode == 1
    assert "FAILED  refused without consent: the record was opened" in ended.stderr
    assert "opened with consent" not in ended.stdout


def outcomes_of(found: Watched, spot: Spot) -> set[Outcome]:
    given: list[Sequence[Outcome]] = [r[spot] for r in found.results.values() if spot in r]
    return {outcome for outcomes in given for outcome in outcomes}


async def health_of(address: str) -> str:
    async with aio.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # grpc ships no types for it
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
