"""The analysis of the templates about the alliance: a copy that breaks its word is refused."""

from __future__ import annotations

from importlib import resources

import pytest

from cipherward_contract.analysis.analyse import analyse

TEMPLATES = (
    *("authority-change", "key-ceremony", "machine-upgrade", "membership", "opening"),
    *("removal", "suspension"),
)


def source(template: str) -> str:
    folder = resources.files("cipherward_contract.templates")
    return folder.joinpath(f"{template}.yaml").read_text("utf-8")


def changed(template: str, *changes: tuple[str, str]) -> str:
    text = source(template)
    for before, after in changes:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_template_keeps_its_word(template: str) -> None:
    found = analyse(source(template))
    assert found.deployable
    assert not found.findings
    promised = source(template).count("  - {id: ")
    held = [line for line in found.report if line.startswith("never") and "holds" in line]
    assert promised
    assert len(held) == promised


SEATED_BY_ANOTHER = changed(
    "membership",
    ("    by: [newcomer]", "    by: [member, newcomer]"),
    (
        'action == Action::"join", resource)\n  when { principal.parties.contains("newcomer") };',
        'action == Action::"join", resource);',
    ),
)
REMOVED_BY_ITS_OWN_VOTE = changed(
    "removal",
    ("    by: [other]", "    by: [member]"),
    (
        'action == Action::"remove", resource)\n  when { principal.parties.contains("other") };',
        'action == Action::"remove", resource);',
    ),
)
CHANGED_BY_ITS_OWN_STEP = changed(
    "authority-change",
    (
        "    kind: vote\n    from: [proposed]\n    to: changed\n    by: [member]\n"
        "    quorum: two_thirds_of_registry\n    otherwise: reject\n",
        "    kind: timer\n    from: [proposed]\n    to: changed\n",
    ),
    (
        '\n  @id("member-votes")\n  permit (principal, action == Action::"change", resource)\n'
        '  when { principal.parties.contains("member") };\n',
        "",
    ),
    ("transition: lapse}", "transition: change}"),
    ("  lapse: {kind: timer, from: [proposed], to: lapsed}\n", ""),
    ("  reject: {kind: automatic, from: [proposed], to: rejected}\n", ""),
    ("states: [proposed, changed, lapsed, rejected]", "states: [proposed, changed]"),
    ("finals: [changed, lapsed, rejected]", "finals: [changed]"),
    ("in: [changed, lapsed, rejected]", "in: [changed]"),
)
OPENED_TWICE = changed(
    "opening",
    ("    from: [proposed]\n    to: opening", "    from: [proposed, opening]\n    to: opening"),
    (
        "reject: {kind: automatic, from: [proposed],",
        "reject: {kind: automatic, from: [proposed, opening],",
    ),
)


@pytest.mark.parametrize(
    ("text", "broken", "last"),
    [
        (SEATED_BY_ANOTHER, "nobody-takes-another-seat", "member takes join"),
        (REMOVED_BY_ITS_OWN_VOTE, "not-by-its-own-vote", "member votes, and decides remove"),
        (OPENED_TWICE, "opened-once", "member votes, and decides approve"),
        (CHANGED_BY_ITS_OWN_STEP, "not-without-a-vote", "change"),
    ],
    ids=[
        *("a seat taken by another", "removed by its own vote", "opened twice"),
        "changed without a vote",
    ],
)
def test_a_broken_copy_is_refused_with_the_way_it_breaks(text: str, broken: str, last: str) -> None:
    found = analyse(text)
    assert not found.deployable
    faults = [one for one in found.findings if one.rule == "never-broken"]
    assert faults[0].message.startswith(f"{broken}: ")
    assert last in faults[0].trace[-1]
