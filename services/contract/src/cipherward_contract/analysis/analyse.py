"""The analysis of a template before it is deployed: pure, deterministic and bounded.

`analyse` looks at a source and finds everything at once; `require_deployable` is what a block asks
of a template that was proposed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cipherward_contract.analysis.arguments import argument_findings
from cipherward_contract.analysis.exploration import Exploration
from cipherward_contract.analysis.findings import Analysis, Finding
from cipherward_contract.analysis.forms import form_findings
from cipherward_contract.analysis.graph import ending_findings
from cipherward_contract.analysis.policy_source import PolicyFault, policy_faults
from cipherward_contract.analysis.properties import (
    Property,
    broken_properties,
    idle_parties,
    properties_of,
)
from cipherward_contract.analysis.reporting import report_of
from cipherward_contract.analysis.source import Source, read_source
from cipherward_contract.analysis.worlds import TooMuchEffort
from cipherward_contract.policies import Policies, cedar_schema
from cipherward_contract.templates.checks import faults_by_rule
from cipherward_contract.templates.document import Template, TemplateMalformed
from cipherward_contract.templates.parsing import parse_template

FAULTS_NAMED_MAX = 4  # in one refusal: a result's message is short


def require_deployable(template: Template) -> None:
    """Accept a template that was parsed, checked and compiled, if all that it does can be shown.

    Raises:
        TemplateMalformed: it does not end, gives an instruction what it cannot read, breaks one of
            its own properties, has a transition that its policies never permit, or tells more apart
            than is looked at; names the first faults.
    """
    findings, _ = _behaviour(template)
    faults = [finding for finding in findings if finding.is_fault]
    if faults:
        raise TemplateMalformed("; ".join(fault.message for fault in faults[:FAULTS_NAMED_MAX]))


def analyse(text: str) -> Analysis:
    """Return every finding about a source, by line, and what was shown if nothing is wrong."""
    source = read_source(text)
    findings = list(source.findings)
    report: tuple[str, ...] = ()
    if not findings:
        findings = form_findings(source.value)
        findings += _syntax(source)
    if not findings:
        findings, report = _meaning(source)
    placed = [_placed(source, finding) for finding in findings]
    placed.sort(key=lambda finding: (not finding.is_fault, finding.line, finding.message))
    deployable = not any(finding.is_fault for finding in placed)
    digest = parse_template(source.document).digest if deployable else b""
    return Analysis(tuple(placed), report if deployable else (), digest)


def _syntax(source: Source) -> list[Finding]:
    """Return the policies that do not parse; what they speak of is looked at later."""
    policies = source.value.get("policies")
    if not isinstance(policies, str):
        return []
    faults = policy_faults(policies, "")
    return [_policy(source, fault) for fault in faults if fault.rule == "policy-syntax"]


def _meaning(source: Source) -> tuple[list[Finding], tuple[str, ...]]:
    try:
        template = parse_template(source.document)
    except TemplateMalformed as error:  # of the whole: each item is of its form
        return [Finding("form", str(error))], ()
    found = [
        Finding(rule, fault, place_of(template, fault))
        for rule, faults in faults_by_rule(template).items()
        for fault in faults
    ]
    wrong = policy_faults(template.policies, cedar_schema(template))
    found += [_policy(source, fault) for fault in wrong]
    if not wrong:
        try:
            Policies(template)
        except TemplateMalformed as error:
            found.append(Finding("policy-set", str(error), ("policies",)))
    if found:
        return found, ()
    return _behaviour(template)


def _behaviour(template: Template) -> tuple[list[Finding], tuple[str, ...]]:
    """Return what a well-formed template does wrong, and what was shown about it."""
    findings = [*ending_findings(template), *argument_findings(template)]
    exploration = Exploration.of(template)
    properties, malformed = properties_of(exploration)
    findings += malformed
    if _has_faults(findings):
        return findings, ()
    try:
        exploration.walk()
        findings += broken_properties(exploration, properties)
    except TooMuchEffort as error:
        return [*findings, Finding("too-complex", str(error), ("policies",))], ()
    findings += idle_parties(exploration)
    return findings, _report(exploration, properties, findings)


def _report(
    exploration: Exploration, properties: list[Property], findings: list[Finding]
) -> tuple[str, ...]:
    return () if _has_faults(findings) else report_of(exploration, properties)


def _has_faults(findings: Iterable[Finding]) -> bool:
    return any(finding.is_fault for finding in findings)


def place_of(template: Template, fault: str) -> tuple[str, ...]:
    """Return where a fault of the checks is: every one begins with its place."""
    where = fault.partition(":")[0]
    kind, _, name = where.partition(" ")
    if name and kind in ("party", "term"):
        return ({"party": "parties", "term": "terms"}[kind], name)
    if kind == "never":
        ids = [never.id for never in template.never]
        return ("never", str(ids.index(name)))
    if where in template.transitions:
        return ("transitions", where)
    if where in template.states.names:
        return ("states", str(template.states.names.index(where)))
    return ()


def _policy(source: Source, fault: PolicyFault) -> Finding:
    first = source.text_lines.get(("policies",))
    line = source.line_of(("policies",)) if first is None else first + fault.line
    return Finding(fault.rule, fault.message, ("policies",), line=line)


def _placed(source: Source, finding: Finding) -> Finding:
    return finding if finding.line else replace(finding, line=source.line_of(finding.place))
