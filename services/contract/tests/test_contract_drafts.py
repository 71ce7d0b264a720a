"""Templates that nobody has deployed: through the service, and by the tools beside it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import grpc
import psutil
import pytest
from grpc import aio

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward_contract.analysis.source import SOURCE_BYTES_MAX
from cipherward_contract.drafting import WORKER_MODULE, Drafts
from cipherward_contract.templates.shipped import load_shipped
from cipherward_kit.errors import reason_of
from cipherward_kit.jobs import JOBS, WorkerPool
from cipherward_kit.testing import eventually, seen_reasons

SCENARIO = (Path(__file__).parents[1] / "scenarios" / "consent-runs-out.yaml").read_text("utf-8")
SECONDS = 30.0


class Serving(Protocol):
    """The fixture of conftest.py."""

    def stub(self, member: str = ..., service: str = ...) -> ContractServiceStub: ...


def source_of(name: str) -> str:
    path = resources.files("cipherward_contract.templates").joinpath(f"{name}.yaml")
    return path.read_text("utf-8")


CONSENT = source_of("consent")
BROKEN = CONSENT.replace("context.now >= resource.terms.expires };", "false };")


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code(), reason_of(caught.value)


async def test_a_template_is_validated_line_by_line(serving: Serving) -> None:
    stub = serving.stub(service="storage")
    found = await stub.ValidateContract(pb.ValidateContractRequest(source=CONSENT), timeout=SECONDS)
    assert found.deployable
    assert found.digest == load_shipped()["consent"][0].digest
    assert "never after-the-end: holds" in found.report
    broken = await stub.ValidateContract(pb.ValidateContractRequest(source=BROKEN), timeout=SECONDS)
    assert (broken.deployable, broken.digest, list(broken.report)) == (False, b"", [])
    (finding,) = broken.findings
    assert (finding.is_fault, finding.rule) == (True, "never-broken")
    assert BROKEN.split("\n")[finding.line - 1].strip().startswith("- {id: after-the-end")
    assert finding.fix
    assert "now >= terms.expires" in finding.trace[-1]


async def test_a_scenario_is_played_decision_by_decision(serving: Serving) -> None:
    request = pb.SimulateContractRequest(
        source=CONSENT, scenario=SCENARIO.replace("expect: allowed}", "expect: POLICY_DENIED}", 1)
    )
    found = await serving.stub(service="storage").SimulateContract(request, timeout=SECONDS)
    first, second = found.steps[:2]
    assert (first.act, first.allowed, first.state) == ("ada begins consent/1", True, "active")
    assert list(first.policies) == ["owner-grants"]
    assert (list(second.orders), second.expected) == (["release_key", "disclose"], "POLICY_DENIED")
    assert second.at.seconds - first.at.seconds == 3_600
    timer = next(step for step in found.steps if step.act == "timer expire")
    assert (timer.allowed, timer.state, timer.expected) == (True, "expired", "")
    assert found.steps[-1].rule == "STATE_FORBIDS"


async def test_what_cannot_be_looked_at_is_refused(serving: Serving) -> None:
    stub = serving.stub(service="storage")
    long = "#" * (SOURCE_BYTES_MAX + 1)
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert await refusal(
        stub.ValidateContract(pb.ValidateContractRequest(source=long), timeout=SECONDS)
    ) == (invalid, "SOURCE_TOO_LARGE")

    def simulated(source: str, scenario: str) -> Awaitable[Any]:
        request = pb.SimulateContractRequest(source=source, scenario=scenario)
        return stub.SimulateContract(request, timeout=SECONDS)

    assert await refusal(simulated(CONSENT, long)) == (invalid, "SOURCE_TOO_LARGE")
    assert await refusal(simulated(CONSENT, "acts: []")) == (invalid, "SCENARIO_MALFORMED")
    assert await refusal(simulated("name: [", SCENARIO)) == (invalid, "TEMPLATE_MALFORMED")
    lost = CONSENT.replace("initial: active", "initial: lost")
    assert await refusal(simulated(lost, SCENARIO)) == (invalid, "TEMPLATE_MALFORMED")


async def test_only_the_own_members_services_may_have_templates_checked(serving: Serving) -> None:
    request = pb.ValidateContractRequest(source=CONSENT)
    for member in ("hospital-b", "hospital-c"):
        code, _ = await refusal(
            serving.stub(member, "storage").ValidateContract(request, timeout=SECONDS)
        )
        assert code is grpc.StatusCode.PERMISSION_DENIED


async def test_more_drafts_than_the_pool_holds_are_told_to_come_back(serving: Serving) -> None:
    stub = serving.stub(service="storage")
    request = pb.ValidateContractRequest(source=CONSENT)
    asked = [stub.ValidateContract(request, timeout=SECONDS) for _ in range(4)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [one for one in answers if isinstance(one, aio.AioRpcError)]
    assert any(isinstance(one, pb.ValidateContractResponse) for one in answers)
    assert {reason_of(one) for one in refused} == {"WORKERS_BUSY"}


@pytest.mark.slow
async def test_a_worker_process_answers_as_a_thread_does() -> None:
    async with WorkerPool(1, 0, WORKER_MODULE) as processes, WorkerPool(0, 0, WORKER_MODULE) as one:
        there, here = Drafts(processes), Drafts(one)
        assert await there.validate(BROKEN) == await here.validate(BROKEN)
        assert await there.simulate(CONSENT, SCENARIO) == await here.simulate(CONSENT, SCENARIO)


@pytest.mark.slow
async def test_a_lost_worker_process_costs_a_retry_only(serving_by_a_process: Serving) -> None:
    jobs = JOBS.labels(WORKER_MODULE)
    (worker,) = [
        child.pid
        for child in psutil.Process().children()
        if "spawn_main" in " ".join(child.cmdline())
    ]
    os.kill(worker, signal.SIGSTOP)  # so that it is in the middle of the job
    stub = serving_by_a_process.stub(service="storage")
    request = pb.ValidateContractRequest(source=CONSENT)
    answer = asyncio.ensure_future(stub.ValidateContract(request, timeout=SECONDS))
    await eventually(lambda: any(s.value == 1 for m in jobs.collect() for s in m.samples))
    os.kill(worker, signal.SIGKILL)
    assert (await answer).deployable
    assert ("contract.cipherward", "WORKER_LOST") in seen_reasons()


def tool(name: str, given: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"cipherward_contract.{name}"]
    run = subprocess.run(
        command, input=given.encode(), capture_output=True, check=True, timeout=SECONDS
    )
    return json.loads(run.stdout)


@pytest.mark.slow
def test_the_tools_print_what_the_service_answers() -> None:
    assert tool("check", CONSENT)["deployable"] is True
    (fault,) = tool("check", BROKEN)["findings"]
    assert (fault["rule"], fault["fault"]) == ("never-broken", True)
    steps = tool("simulate", json.dumps({"source": CONSENT, "scenario": SCENARIO}))["steps"]
    assert [step["expected"] for step in steps] == [""] * len(steps)
    error = tool("simulate", json.dumps({"source": CONSENT, "scenario": "acts: []"}))["error"]
    assert error["reason"] == "SCENARIO_MALFORMED"
