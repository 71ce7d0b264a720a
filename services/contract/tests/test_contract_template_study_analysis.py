"""The analysis of what computes together: each template may be deployed, a broken copy may not."""

from __future__ import annotations

from importlib import resources

import pytest

from cipherward_contract.analysis.analyse import analyse


def source(template: str) -> str:
    folder = resources.files("cipherward_contract.templates")
    return folder.joinpath(f"{template}.yaml").read_text("utf-8")


def changed(template: str, *changes: tuple[str, str]) -> str:
    text = source(template)
    for before, after in changes:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


@pytest.mark.parametrize(
    "template",
    ["data-permit", "study", "data-key", "key-resharing", "column-study", "risk-score"],
)
def test_the_template_shows_what_a_deployment_asks_for(template: str) -> None:
    found = analyse(source(template))
    assert found.deployable
    assert not found.findings
    assert [line for line in found.report if line.startswith("never") and "holds" in line]


REVOKED_BEFORE_IT_WAS_GRANTED = changed(
    "data-permit",
    (
        "  revoke:\n    kind: transition\n    from: [granted]",
        "  revoke:\n    kind: transition\n    from: [applied, granted]",
    ),
)
REVOKED_BY_A_USER = changed(
    "data-permit",
    ("    by: [holder]\n    gives_up_rights", "    by: [holder, user]\n    gives_up_rights"),
    (
        'action == Action::"revoke", resource)\n  when { principal.parties.contains("holder") };',
        'action == Action::"revoke", resource);',
    ),
)
APPROVED_BY_ANY_MEMBER = changed(
    "study",
    ("members: members}\nterms", "members: members}\n  anyone: {is: any_member}\nterms"),
    ("    to: keying_commit\n    by: [member]", "    to: keying_commit\n    by: [member, anyone]"),
    (
        'action == Action::"approve", resource)\n  when { principal.parties.contains("member") };',
        'action == Action::"approve", resource);',
    ),
)


ITERATED_BY_MEMBERS = changed(
    "study",
    ("    to: valuing\n    by: [researcher]", "    to: valuing\n    by: [researcher, member]"),
    (
        'Action::"conclude"], resource)\n  when { principal.parties.contains("researcher") };',
        'Action::"conclude"], resource);',
    ),
)
RELEASED_WITHOUT_COUNTS = changed(
    "study",
    ("    from: [values_refreshing]\n", "    from: [values_refreshing, checking]\n"),
    ("  values_refreshed:\n    kind: report", "  values_refreshed:\n    kind: automatic"),
    (
        "    quorum: terms.threshold\n    failures_end: false\n    otherwise: fail\n"
        "    keep: {values_set: agreed_set, refreshes: digests}\n    instructions:\n",
        "    instructions:\n      - *release_values\n",
    ),
)
OPENED_BEFORE_THE_FLAGS = changed(
    "data-key",
    ("    from: [checking_flags]\n", "    from: [fixing, checking_flags]\n"),
    ("  columns_committed:\n    kind: report", "  columns_committed:\n    kind: automatic"),
    (
        "    to: checking_flags\n    quorum: all\n    otherwise: fail\n"
        "    keep: {column_commitments: digests}\n",
        "    to: checking_flags\n",
    ),
    (
        "    sets: {flags_seed: block.seed}\n    instructions:\n      - order: fix_columns",
        "    sets: {flags_seed: block.seed, column_commitments: {value: {}}}\n"
        "    instructions:\n      - order: fix_columns",
    ),
)
ASKED_TOO_OFTEN = changed(
    "risk-score",
    ("when { resource.uses >= resource.terms.uses_max };", "when { resource.uses > 5000 };"),
)
COMPUTED_UNASKED = changed(
    "column-study",
    ("members: members}\nterms", "members: members}\n  anyone: {is: any_member}\nterms"),
    ("    to: counts_ready\n    by: [member]", "    to: counts_ready\n    by: [member, anyone]"),
    (
        'action == Action::"approve", resource)\n  when { principal.parties.contains("member") };',
        'action == Action::"approve", resource);',
    ),
)
RESHARED_BY_NEWCOMERS = changed(
    "key-resharing",
    ("    to: readying\n    by: [holder]", "    to: readying\n    by: [holder, member]"),
    (
        'action == Action::"approve", resource)\n  when { principal.parties.contains("holder") };',
        'action == Action::"approve", resource);',
    ),
)
HANDED_OVER_UNTRIED = changed(
    "key-resharing",
    (
        "    from: [opening]\n    to: handed_over",
        "    from: [giving, opening]\n    to: handed_over",
    ),
    ("  given:\n    kind: report", "  given:\n    kind: automatic"),
    (
        "    to: opening\n    quorum: all\n    otherwise: fail\n    keep: {shares: digests}\n",
        "    to: opening\n    sets: {shares: {value: {}}}\n",
    ),
)
ENDED_BY_WHO_HAS_LEFT = changed(
    "key-resharing",
    ("    to: retired\n    by: [member]", "    to: retired\n    by: [holder, member]"),
    (
        'action == Action::"retire", resource)\n  when { principal.parties.contains("member") };',
        'action == Action::"retire", resource);',
    ),
)
ENDED_BEFORE_IT_IS_HELD = changed(
    "key-resharing",
    (
        "    from: [handed_over]\n    to: retired",
        "    from: [giving, handed_over]\n    to: retired",
    ),
    (
        "  keep_sharing: {kind: automatic, from: [handed_over], to: handed_over,",
        "  keep_sharing: {kind: automatic, from: [giving, handed_over], to: handed_over,",
    ),
)


@pytest.mark.parametrize(
    ("text", "broken", "last"),
    [
        (
            REVOKED_BEFORE_IT_WAS_GRANTED,
            "cuts-what-it-never-allowed",
            "holder takes revoke; then it is revoked",
        ),
        (
            REVOKED_BY_A_USER,
            "revoked-by-others-than-holders",
            "user takes revoke; then it is revoked",
        ),
        (
            APPROVED_BY_ANY_MEMBER,
            "no-key-without-approval",
            "anyone votes, and decides approve; then it is keying_commit",
        ),
        (ITERATED_BY_MEMBERS, "iterates-only-by-the-researcher", "then it is valuing"),
        (RELEASED_WITHOUT_COUNTS, "no-result-before-the-counts-pass", "then it is values_adding"),
        (OPENED_BEFORE_THE_FLAGS, "only-flags-are-opened", "then it is opening_flags"),
        (ASKED_TOO_OFTEN, "not-more-often", "then it is masking"),
        (
            COMPUTED_UNASKED,
            "nothing-is-computed-without-approval",
            "anyone votes, and decides approve; then it is counts_ready",
        ),
        (
            RESHARED_BY_NEWCOMERS,
            "no-deal-without-its-holders",
            "member votes, and decides approve; then it is readying",
        ),
        (HANDED_OVER_UNTRIED, "nothing-is-handed-over-untried", "then it is handed_over"),
        (
            ENDED_BY_WHO_HAS_LEFT,
            "ended-by-those-who-hold-it",
            "holder votes, and decides retire; then it is retired",
        ),
        (
            ENDED_BEFORE_IT_IS_HELD,
            "only-a-key-handed-over-is-ended",
            "member votes, and decides retire; then it is retired",
        ),
    ],
    ids=[
        "before it was granted",
        "by a user",
        "by any member",
        "iterated by members",
        "released without counts",
        "opened before the flags",
        "asked too often",
        "computed unasked",
        "reshared by newcomers",
        "handed over untried",
        "ended by who has left",
        "ended before it is held",
    ],
)
def test_a_broken_copy_is_refused_with_the_way_it_breaks(text: str, broken: str, last: str) -> None:
    found = analyse(text)
    assert not found.deployable
    assert {one.rule for one in found.findings if one.is_fault} == {"never-broken"}
    (fault,) = [one for one in found.findings if one.message.startswith(f"{broken}: ")]
    assert fault.message.startswith(f"{broken}: ")
    assert fault.trace[-1].endswith(last)
