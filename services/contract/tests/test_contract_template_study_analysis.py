"""The analysis of data-permit and study: both may be deployed, and a broken copy may not."""

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


@pytest.mark.parametrize("template", ["data-permit", "study"])
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
    ],
    ids=["before it was granted", "by a user", "by any member"],
)
def test_a_broken_copy_is_refused_with_the_way_it_breaks(text: str, broken: str, last: str) -> None:
    found = analyse(text)
    assert not found.deployable
    (fault,) = [one for one in found.findings if one.rule == "never-broken"]
    assert fault.message.startswith(f"{broken}: ")
    assert fault.trace[-1].endswith(last)
