"""Templates that nobody has deployed: checking one, and playing a scenario against it.

Pure and heavy: seconds at worst. It runs in a worker of the service, or in a process of its own
(`cipherward_contract.check`, `cipherward_contract.simulate`), so nothing here imports gRPC.
"""

from __future__ import annotations

from cipherward_contract.analysis.analyse import analyse
from cipherward_contract.analysis.findings import Analysis, Finding
from cipherward_contract.analysis.source import read_source
from cipherward_contract.genesis_state import GenesisUnusable
from cipherward_contract.simulation.playing import Step, play
from cipherward_contract.simulation.scenario import parse_scenario
from cipherward_contract.templates.document import TemplateMalformed


def check_draft(source: str) -> Analysis:
    """Return every finding about a template's YAML source, and what was shown about it."""
    return analyse(source)


def play_draft(source: str, scenario: str) -> list[Step]:
    """Play a scenario's YAML against a template's YAML; return every step.

    Raises:
        TemplateMalformed: the template may not be deployed; `check_draft` says all that is wrong.
        ScenarioMalformed: the scenario is not of the form, or cannot be played.
    """
    told = parse_scenario(scenario)
    template = read_source(source)
    if template.findings:
        first = template.findings[0]
        raise TemplateMalformed(f"line {first.line}: {first.message}")
    try:
        return play(template.document, told)
    except GenesisUnusable as error:
        raise TemplateMalformed(str(error)) from error


def analysis_json(analysis: Analysis) -> dict[str, object]:
    """Return an analysis as JSON has it; the digest is hexadecimal."""
    return {
        "deployable": analysis.deployable,
        "digest": analysis.digest.hex(),
        "findings": [_finding_json(finding) for finding in analysis.findings],
        "report": list(analysis.report),
    }


def _finding_json(finding: Finding) -> dict[str, object]:
    return {
        "fault": finding.is_fault,
        "rule": finding.rule,
        "line": finding.line,
        "message": finding.message,
        "fix": finding.fix,
        "trace": list(finding.trace),
    }


def step_json(step: Step) -> dict[str, object]:
    """Return a step as JSON has it; `at` is Unix seconds."""
    return {
        "at": step.at,
        "act": step.act,
        "allowed": step.allowed,
        "policies": list(step.policies),
        "rule": step.rule,
        "message": step.message,
        "state": step.state,
        "orders": list(step.orders),
        "expected": step.surprise,
    }
