from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import resources

import pytest

from cipherward_contract.analysis.analyse import analyse, require_deployable
from cipherward_contract.analysis.findings import FIXES
from cipherward_contract.analysis.source import SOURCE_BYTES_MAX
from cipherward_contract.templates.document import TemplateMalformed
from cipherward_contract.templates.parsing import parse_template
from cipherward_contract.templates.shipped import SHIPPED, document_of, load_shipped

# What a member waits at most for the report of a template; of the processor's time, because the
# machine that tests may be busy.
ANALYSIS_SECONDS = 5.0


def source_of(name: str) -> str:
    path = resources.files("cipherward_contract.templates").joinpath(f"{name}.yaml")
    return path.read_text("utf-8")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_template_is_deployable_and_reported_in_time(name: str) -> None:
    started = time.process_time()
    found = analyse(source_of(name))
    assert time.process_time() - started < ANALYSIS_SECONDS
    assert found.deployable, found.findings
    template, _ = load_shipped()[name]
    assert found.digest == template.digest
    assert {line.partition(":")[0] for line in found.report} >= {
        f"state {state}" for state in template.states.names
    }
    assert [f"never {one.id}: holds" for one in template.never] == [
        line for line in found.report if line.startswith("never ")
    ]
    require_deployable(template)


def test_the_report_says_who_reads_what_for_and_until_when() -> None:
    (active,) = [line for line in analyse(source_of("consent")).report if "state active" in line]
    assert active == (
        "state active: read by grantee (clinician, researcher) (open), owner (open),"
        " representative (open); ended by timer (at terms.expires) to expired,"
        " by owner, representative (revoke) to revoked"
    )
    (released,) = [
        line for line in analyse(source_of("consent")).report if line.startswith("release_key")
    ]
    assert "from active for CAREMGT, ETREAT" in released
    assert released.endswith("only while now < terms.expires and uses < terms.visits_max")


@dataclass(frozen=True, slots=True)
class Broken:
    """A copy of a shipped template with texts of it replaced, and how it is refused.

    trace: what the last step of the counterexample says; "" where the rule needs none.
    """

    template: str
    what: str
    edits: tuple[tuple[str, str], ...]
    rule: str
    says: str
    trace: str = ""


def without(template: str, policy_id: str, rule: str, says: str, trace: str = "") -> Broken:
    """Return a copy in which a policy is missing, from its id to its end."""
    source = source_of(template)
    begin = source.index(f'  @id("{policy_id}")')
    policy = source[begin : source.index(";", begin) + 1]
    return Broken(template, f"without {policy_id}", ((policy, ""),), rule, says, trace)


BROKEN = [
    without("consent", "after-the-end", "never-broken", "after-the-end", "now >= terms.expires"),
    without("consent", "visits-spent", "never-broken", "visits-spent", "uses >= terms.visits_max"),
    without("consent", "purpose-differs", "never-broken", "another-purpose", "grantee takes open"),
    Broken(
        "consent",
        "with an operator turned",
        (
            (
                "context.now >= resource.terms.expires };",
                "context.now > resource.terms.expires };",
            ),
        ),
        "never-broken",
        "after-the-end",
        "now = terms.expires",
    ),
    Broken(
        "consent",
        "open to every member of staff",
        (
            ("  owner: {is: record_owner}", "  owner: {is: record_owner}\n  all: {is: any_staff}"),
            ("    by: [grantee, owner, representative]", "    by: [all, owner, representative]"),
            ('when { principal.parties.contains("grantee") };', "when { true };"),
            ('    principal.parties.contains("grantee") ||\n', "    true ||\n"),
        ),
        "never-broken",
        "somebody-else",
        "all takes open",
    ),
    Broken(
        "consent",
        "without its timer",
        (("  - {states: [active], when: {due: terms.expires}, transition: expire}", "  []"),),
        "reading-ends",
        "active",
    ),
    Broken(
        "consent",
        "that its owner cannot end",
        (("    by: [owner, representative]\n", "    by: [representative]\n"),),
        "reading-ends",
        "owner",
    ),
    Broken(
        "emergency-access",
        "for every role",
        ((' && principal.role == "clinician" };', " };"),),
        "never-broken",
        "only-clinicians",
        "staff takes instantiate",
    ),
    Broken(
        "emergency-access",
        "that is read again",
        (
            (
                "    from: [open]\n    to: ended\n    by: [reader]",
                "    from: [open, ended]\n    to: open\n    by: [reader]",
            ),
        ),
        "reading-ends",
        "open",
    ),
    without(
        "erasure", "owned-by-somebody", "never-broken", "erased-by-nobody-else", "author takes"
    ),
    Broken(
        "template-adoption",
        "by any member of staff",
        (
            ("  member: {is: any_member}", "  member: {is: any_member}\n  all: {is: any_staff}"),
            ("    kind: vote\n", "    kind: transition\n"),
            (
                "    by: [member]\n    quorum: two_thirds_of_registry\n    otherwise: reject\n",
                "    by: [all]\n",
            ),
            (
                'Action::"adopt", resource)\n  when { principal.parties.contains("member") };',
                'Action::"adopt", resource);',
            ),
        ),
        "never-broken",
        "by-others",
        "all takes adopt",
    ),
    Broken(
        "key-ceremony",
        "that begins twice",
        (
            (
                "    from: [proposed]\n    to: running",
                "    from: [proposed, running]\n    to: running",
            ),
            (
                "reject: {kind: automatic, from: [proposed],",
                "reject: {kind: automatic, from: [proposed, running],",
            ),
        ),
        "never-broken",
        "begun-once",
        "decides begin",
    ),
    Broken(
        "opening",
        "whose guardians nobody waits for",
        (
            (
                "  - {states: [opening], when: {after: terms.answer_seconds},"
                " transition: time_out}\n",
                "",
            ),
        ),
        "timer-missing",
        "time_out",
    ),
    without("authority-change", "member-votes", "policy-never-permits", "change"),
    without("opening", "member-votes", "policy-never-permits", "approve"),
    without("membership", "newcomer-joins", "policy-never-permits", "join"),
    without("removal", "others-vote", "policy-never-permits", "remove"),
    Broken(
        "removal",
        "of a number",
        (("        with: {member: terms.member}", "        with: {member: terms.vote_seconds}"),),
        "arguments",
        "member is a number, and must be a text",
    ),
    Broken(
        "suspension",
        "by its own vote",
        (
            (
                "    from: [proposed]\n    to: suspended\n    by: [other]",
                "    from: [proposed]\n    to: suspended\n    by: [member]",
            ),
            (
                'Action::"suspend", resource)\n  when { principal.parties.contains("other") };',
                'Action::"suspend", resource);',
            ),
        ),
        "never-broken",
        "not-by-its-own-vote",
        "member votes, and decides suspend",
    ),
    Broken(
        "machine-upgrade",
        "that never ends by itself",
        (
            ("from: [proposed], to: lapsed}", "from: [proposed], to: proposed}"),
            (
                "states: [proposed, scheduled, lapsed, rejected]",
                "states: [proposed, scheduled, rejected]",
            ),
            ("finals: [lapsed, ", "finals: ["),
        ),
        "timer-loop",
        "proposed to proposed",
        "a timer takes lapse",
    ),
    Broken(
        "data-permit",
        "that its user revokes",
        (
            ("    to: revoked\n    by: [holder]", "    to: revoked\n    by: [holder, user]"),
            (
                'Action::"revoke", resource)\n  when { principal.parties.contains("holder") };',
                'Action::"revoke", resource);',
            ),
        ),
        "never-broken",
        "revoked-by-others-than-holders",
        "user takes revoke",
    ),
    Broken(
        "study",
        "that members outside it approve",
        (
            (
                "  member: {is: member_of, members: members}",
                "  member: {is: member_of, members: members}\n  all: {is: any_member}",
            ),
            (
                "    to: keying_commit\n    by: [member]",
                "    to: keying_commit\n    by: [member, all]",
            ),
            (
                'Action::"approve", resource)\n  when { principal.parties.contains("member") };',
                'Action::"approve", resource);',
            ),
        ),
        "never-broken",
        "no-key-without-approval",
        "all votes, and decides approve",
    ),
    without("data-key", "member-withdraws", "policy-never-permits", "withdraw"),
    Broken(
        "data-key",
        "whose deadline for flags goes round",
        (
            (
                "    from: [opening_flags]\n    to: checking_flags",
                "    from: [opening_flags]\n    to: opening_flags",
            ),
        ),
        "timer-loop",
        "opening_flags to opening_flags",
        "a timer takes retry_flags",
    ),
    Broken(
        "column-study",
        "that anybody starts",
        (
            (
                "  member: {is: member_of, members: members}",
                "  member: {is: member_of, members: members}\n  all: {is: any_member}",
            ),
            (
                "    to: counts_ready\n    by: [member]",
                "    to: counts_ready\n    by: [member, all]",
            ),
            (
                'Action::"approve", resource)\n  when { principal.parties.contains("member") };',
                'Action::"approve", resource);',
            ),
        ),
        "never-broken",
        "nothing-is-computed-without-approval",
        "all votes, and decides approve",
    ),
    without("key-resharing", "member-votes", "policy-never-permits", "retire"),
    without("risk-score", "used-up", "never-broken", "not-more-often", "hospital takes infer"),
    without("risk-score", "expired", "never-broken", "not-after-its-time", "hospital takes infer"),
]


def test_every_shipped_template_has_a_broken_copy() -> None:
    assert {broken.template for broken in BROKEN} == set(SHIPPED)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: f"{broken.template} {broken.what}")
def test_a_broken_copy_of_a_shipped_template_is_refused(broken: Broken) -> None:
    source = source_of(broken.template)
    for old, new in broken.edits:
        assert old in source, "the shipped template has changed: break it in another way"
        source = source.replace(old, new, 1)
    found = analyse(source)
    assert not found.deployable
    assert not found.report
    fault = next(one for one in found.findings if one.rule == broken.rule)
    assert broken.says in fault.message
    assert fault.line > 0
    assert fault.fix == FIXES[broken.rule]
    if broken.trace:
        assert broken.trace in fault.trace[-1]


def test_a_counterexample_is_a_whole_history_from_the_beginning() -> None:
    broken = next(one for one in BROKEN if one.what == "without visits-spent")
    source = source_of("consent").replace(*broken.edits[0])
    (fault,) = analyse(source).findings
    assert [step.partition(" with ")[0] for step in fault.trace] == [
        "1. owner takes instantiate; then it is active",
        "2. grantee takes open",
        "3. grantee takes open",
    ]
    with pytest.raises(TemplateMalformed, match="visits-spent: release_key can be ordered"):
        require_deployable(parse_template(document_of(source)))


# A template with something wrong in every part, so that the findings are many.
SMALL = """\
name: small
version: 1
object: record
parties:
  owner: {is: record_owner}
terms:
  record: {type: bytes, lengths: [16]}
  minutes: {type: int, minimum: 1, maximum: 60}
states: [open, closed]
initial: open
finals: [closed]
timers:
  - {states: [open], when: {after: terms.minutes}, transition: lapse}
transitions:
  instantiate: {kind: transition, to: open, by: [owner]}
  close: {kind: transition, from: [open], to: closed, by: [owner]}
  lapse: {kind: timer, from: [open], to: closed}
policies: |
  @id("owner-begins")
  permit (principal, action == Action::"instantiate", resource)
  when { principal.parties.contains("owner") };

  @id("owner-closes")
  permit (principal, action == Action::"close", resource)
  when { principal.parties.contains("owner") };
"""


def faults(source: str) -> list[tuple[str, int]]:
    return [(one.rule, one.line) for one in analyse(source).findings if one.is_fault]


def test_the_small_template_is_deployable() -> None:
    assert analyse(SMALL).deployable


def test_all_items_out_of_form_are_found_at_once_each_at_its_line() -> None:
    source = (
        SMALL.replace("is: record_owner", "is: somebody")
        .replace("minimum: 1, maximum: 60", "minimum: 70, maximum: 60")
        .replace("to: closed, by: [owner]}", "by: [owner]}")
        .replace("object: record\n", "")
        .replace("initial: open\n", "initial: open\ncolour: red\n")
        .replace('contains("owner") };\n\n', 'contains("owner" };\n\n')
    )
    assert sorted(faults(source), key=lambda fault: fault[1]) == [
        ("missing", 0),
        ("form", 4),
        ("form", 7),
        ("unknown", 10),
        ("form", 16),
        ("policy-syntax", 19),
    ]


def test_all_policies_that_do_not_fit_are_found_at_once_each_at_its_line() -> None:
    source = SMALL.replace("principal.parties", "principal.partys").replace(
        "owner-closes", "owner-begins"
    )
    assert faults(source) == [("policy-types", 21), ("policy-types", 25)]
    (fault,) = analyse(SMALL.replace("owner-closes", "owner-begins")).findings
    assert (fault.rule, fault.line) == ("policy-set", 18)


@pytest.mark.parametrize(
    ("old", "new", "rule", "line"),
    [
        ("version: 1\n", "version: 1\nversion: 2\n", "yaml-key", 3),
        ("version: 1\n", "version: 1.5\n", "yaml-value", 2),
        ("version: 1\n", "version:\n", "yaml-value", 2),
        ("version: 1\n", "version: [1\n", "yaml", 3),
        ("states: [open, closed]", "states: [open, closed, lost]", "graph", 9),
        ("to: closed, by: [owner]}", "to: lost, by: [owner]}", "names", 0),
        ("after: terms.minutes", "after: terms.hours", "expressions", 0),
        ("minutes: {type: int,", "minutes: {type: number,", "form", 8),
        (
            "close: {kind: transition",
            "close: {kind: vote, quorum: all, otherwise: lapse",
            "transitions",
            16,
        ),
        (
            "by: [owner]}\n  lapse",
            "by: [owner], instructions: [{order: launch, with: {}}]}\n  lapse",
            "transitions",
            16,
        ),
    ],
)
def test_a_fault_has_its_rule_and_its_line(old: str, new: str, rule: str, line: int) -> None:
    assert old in SMALL
    found = analyse(SMALL.replace(old, new, 1))
    assert (rule, line) in [(one.rule, one.line) for one in found.findings]
    assert not found.deployable
    assert all(one.rule in FIXES for one in found.findings)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "- a list",
        "\t",
        "[" * 5_000,
        "a: &a [x]\n"
        + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n"
            for i in range(9)
        ),
        "a: &a\n  b: *a\n",
        "x" * (SOURCE_BYTES_MAX + 1),
        "name: !!python/object/apply:os.system [ls]\n",
        "when: 2026-01-01\n",
    ],
    ids=["empty", "list", "tab", "deep", "bomb", "cycle", "long", "python", "date"],
)
def test_a_source_that_is_no_template_is_a_finding_and_nothing_worse(source: str) -> None:
    found = analyse(source)
    assert not found.deployable
    assert found.findings


NEVER = """\
never:
  - {id: one, order: revoke_key, when: context.now > 5}
"""


@pytest.mark.parametrize(
    ("item", "rule", "is_fault"),
    [
        ("{id: one, order: revoke_key, when: context.now > 5}", "never-idle", False),
        ("{id: one, order: launch, when: context.now > 5}", "never", True),
        (
            "{id: one, order: revoke_key, transition: launch, when: context.now > 5}",
            "never",
            True,
        ),
        ("{id: one, order: revoke_key, in: [lost]}", "never", True),
        ("{id: one, order: revoke_key}", "form", True),
        ("{id: one, order: revoke_key, when: 'true', in: [open]}", "form", True),
    ],
)
def test_a_property_that_says_nothing_is_found(item: str, rule: str, is_fault: bool) -> None:
    found = analyse(f"{SMALL}never:\n  - {item}\n")
    assert (rule, is_fault) in [(one.rule, one.is_fault) for one in found.findings]
    assert found.deployable is not is_fault


ORDERS = """\
    instructions:
      - order: revoke_key
        with: {record: record.id, custodian: record.custodian, grant: instance.id}
"""


def test_a_property_speaks_of_what_is_there_in_every_transition_that_it_is_about() -> None:
    lapse = "  lapse: {kind: timer, from: [open], to: closed}\n"
    source = SMALL.replace(
        lapse, f"  lapse:\n    kind: timer\n    from: [open]\n    to: closed\n{ORDERS}"
    )
    wrong = (
        "never:\n  - {id: one, order: revoke_key, when: 'context.arguments.purpose == \"TREAT\"'}\n"
    )
    assert faults(source + wrong) == [("never-condition", 33)]
    by_nobody = 'never:\n  - {id: one, order: revoke_key, unless: principal.kind == "pseudonym"}\n'
    (fault,) = analyse(source + by_nobody).findings
    assert fault.rule == "never-broken"
    assert fault.trace[-1] == "2. a timer takes lapse; then it is closed"


def test_what_lasts_is_remembered_along_a_history() -> None:
    source = SMALL.replace(
        '  @id("owner-closes")',
        '  @id("not-for-long")\n'
        '  forbid (principal, action == Action::"instantiate", resource)\n'
        "  when { resource.terms.minutes > 30 };\n\n"
        '  @id("owner-closes")',
    ).replace(
        "to: closed, by: [owner]}\n",
        "to: closed, by: [owner], instructions: [{order: revoke_key, with: {record: record.id,"
        " custodian: record.custodian, grant: instance.id}}]}\n",
    )
    begun_so = "never:\n  - {id: one, order: revoke_key, when: resource.terms.minutes > 30}\n"
    (only,) = analyse(source + begun_so).findings  # no contract of this version begins so
    assert only.trace[0] == "1. upgraded from another version; it is open"
    fails = "never:\n  - {id: one, order: revoke_key, when: resource.terms.minutes > 29}\n"
    (fault,) = analyse(source + fails).findings
    assert fault.trace[0].startswith("1. owner takes instantiate with terms.minutes <= 30")
    assert "terms.minutes > 29" in fault.trace[1]


def test_time_only_grows_and_begins_before_the_times_of_the_terms() -> None:
    source = (
        SMALL.replace(
            "minutes: {type: int, minimum: 1, maximum: 60}", "end: {type: time, ahead_max: 60}"
        )
        .replace("after: terms.minutes", "due: terms.end")
        .replace(
            "by: [owner]}\n  close",
            "by: [owner], instructions: [{order: revoke_key, with: {record: record.id,"
            " custodian: record.custodian, grant: instance.id}}]}\n  close",
        )
    )
    holds = "never:\n  - {id: one, order: revoke_key, when: context.now >= resource.terms.end}\n"
    assert analyse(source + holds).deployable
    also = "never:\n  - {id: one, order: revoke_key, when: context.now + 60 < resource.terms.end}\n"
    assert analyse(source + also).deployable
    fails = (
        "never:\n  - {id: one, order: revoke_key, when: context.now + 59 < resource.terms.end}\n"
    )
    assert faults(source + fails) == [("never-broken", 27)]


def test_a_policy_that_may_err_permits_nothing_where_it_does() -> None:
    source = SMALL.replace(
        'permit (principal, action == Action::"close", resource)\n  when {',
        'permit (principal, action == Action::"close", resource)\n'
        "  when { context.now * context.now > 5 &&",
    )
    assert analyse(source).deployable
    erring = source.replace(
        "context.now * context.now > 5 &&", 'decimal("x").lessThan(decimal("1.0")) &&'
    )
    assert not analyse(erring).deployable


def test_a_template_that_tells_too_much_apart_is_refused_and_not_looked_at_for_ever() -> None:
    atoms = " && ".join(
        f"resource.terms.t{i} != context.arguments.a{j}" for i in range(8) for j in range(8)
    )
    terms = "".join(f"  t{i}: {{type: bytes, lengths: [16]}}\n" for i in range(8))
    arguments = ", ".join(f"a{j}: {{type: bytes, lengths: [16]}}" for j in range(8))
    source = (
        SMALL.replace("  minutes:", f"{terms}  minutes:")
        .replace(
            "to: closed, by: [owner]}", f"to: closed, by: [owner], arguments: {{{arguments}}}}}"
        )
        .replace(
            'Action::"close", resource)\n  when {',
            f'Action::"close", resource)\n  when {{ {atoms} &&',
        )
    )
    assert [rule for rule, _ in faults(source)] == ["too-complex"]


def test_the_same_template_gives_the_same_findings() -> None:
    broken = source_of("consent").replace("context.now >= resource.terms.expires };", "false };")
    assert analyse(broken) == analyse(broken)
    assert analyse(source_of("study")) == analyse(source_of("study"))
