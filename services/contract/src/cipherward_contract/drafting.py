"""Answers about templates that nobody has deployed: the service's edge of `drafts`."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_contract import drafts
from cipherward_contract.analysis.findings import Finding
from cipherward_contract.analysis.source import SOURCE_BYTES_MAX
from cipherward_contract.errors import (
    DraftMalformed,
    ScenarioRefused,
    SourceTooLarge,
)
from cipherward_contract.simulation.playing import Step
from cipherward_contract.simulation.scenario import ScenarioMalformed
from cipherward_contract.templates.document import TemplateMalformed
from cipherward_kit.jobs import WorkerPool

DRAFTS_WAITING_MAX = 4  # a second each; more callers than that come back later
WORKER_MODULE = drafts.__name__  # what a worker of the pool imports


class Drafts:
    """Checks and plays in a bounded pool, so that no block waits for it."""

    def __init__(self, pool: WorkerPool) -> None:
        """Use a pool that imports `WORKER_MODULE`."""
        self._pool = pool

    async def validate(self, source: str) -> pb.ValidateContractResponse:
        """Answer whether a template may be deployed, and why.

        Raises:
            SourceTooLarge, WorkersBusy, WorkerLost.
        """
        _check_size(source)
        found = await self._pool.run(drafts.check_draft, source)
        return pb.ValidateContractResponse(
            deployable=found.deployable,
            findings=[_finding(finding) for finding in found.findings],
            report=found.report,
            digest=found.digest,
        )

    async def simulate(self, source: str, scenario: str) -> pb.SimulateContractResponse:
        """Answer what becomes of each act of a scenario.

        Raises:
            SourceTooLarge, DraftMalformed, ScenarioRefused, WorkersBusy, WorkerLost.
        """
        _check_size(source)
        _check_size(scenario)
        try:
            steps = await self._pool.run(drafts.play_draft, source, scenario)
        except ScenarioMalformed as error:
            raise ScenarioRefused(str(error)) from error
        except TemplateMalformed as error:
            raise DraftMalformed(str(error)) from error
        return pb.SimulateContractResponse(steps=[_step(step) for step in steps])


def _check_size(text: str) -> None:
    if len(text.encode()) > SOURCE_BYTES_MAX:
        raise SourceTooLarge(
            f"a source has at most {SOURCE_BYTES_MAX} bytes", bytes_max=SOURCE_BYTES_MAX
        )


def _finding(finding: Finding) -> pb.Finding:
    return pb.Finding(
        is_fault=finding.is_fault,
        rule=finding.rule,
        line=finding.line,
        message=finding.message,
        fix=finding.fix,
        trace=finding.trace,
    )


def _step(step: Step) -> pb.SimulatedStep:
    return pb.SimulatedStep(
        at=Timestamp(seconds=step.at),
        act=step.act,
        allowed=step.allowed,
        policies=step.policies,
        rule=step.rule,
        state=step.state,
        orders=step.orders,
        expected=step.surprise,
    )
