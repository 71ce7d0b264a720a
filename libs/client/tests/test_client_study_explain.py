"""What a study will do is told before anything runs, with the rules that it is under."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cipherward_client.cli.commands import run
from cipherward_client.cli.study_explain import lines_of
from cipherward_client.sdk.permits import OUTPUTS, Permit
from cipherward_client.sdk.study_costs import estimate
from cipherward_client.sdk.study_explaining import explain_study
from cipherward_client.sdk.study_rules import Rule, rules_of
from cipherward_client.sdk.templates import ActiveTemplate, document_of
from cipherward_studies.spec import Draft

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT / "services" / "contract" / "src" / "cipherward_contract" / "templates"
MEMBERS = ("a", "b", "c", "d")
DOCUMENT: dict[str, Any] = {
    "data_set": "cohort-1",
    "variables": [
        {"name": "bmi", "low": 10, "high": 60, "unit": "kg/m2"},
        {"name": "ill", "kind": "flag"},
    ],
    "analyses": [{"kind": "logistic_regression", "outcome": "ill", "predictors": ["bmi"]}],
    "rounds_max": 8,
}
DRAFT = Draft.from_document(DOCUMENT)
PERMIT = Permit(
    permit_id=bytes(16),
    state="granted",
    purposes=("research",),
    data_sets=("cohort-1",),
    outputs=("count", "logistic_regression"),
    user_member="a",
    minimum=10,
    releases_max=9,
    expires=2_000_000_000,
    holders=MEMBERS,
)


def shipped(name: str) -> tuple[Rule, ...]:
    source = (TEMPLATES / f"{name}.yaml").read_text(encoding="utf-8")
    return rules_of(ActiveTemplate(name, 1, document_of(source), 1))


def test_the_quota_counts_the_counts_and_every_round() -> None:
    exact = explain_study(DRAFT, MEMBERS).quota
    assert (exact.permit, exact.data_set, exact.rho_micro) == (9, 9, 0)
    noisy = explain_study(replace(DRAFT, rho_micro=5_000), MEMBERS).quota
    assert (noisy.permit, noisy.data_set, noisy.rho_micro) == (9, 1, 40_000)


def test_a_permit_that_allows_it_is_not_refused() -> None:
    assert explain_study(DRAFT, MEMBERS, permit=PERMIT).refusals == ()
    assert explain_study(DRAFT, MEMBERS).refusals is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": "revoked"}, "the permit is revoked"),
        ({"data_sets": ("cohort-2",)}, "it is not for cohort-1"),
        ({"outputs": ("count",)}, "it does not allow logistic_regression"),
        ({"holders": ("a", "b", "c")}, "d are no holders of it"),
        ({"minimum": 20}, "it asks for at least 20 patients in a cell"),
        ({"releases_max": 8}, "it has 8 releases, and up to 9 are needed"),
    ],
)
def test_what_a_permit_does_not_allow_is_said(change: dict[str, Any], words: str) -> None:
    assert explain_study(DRAFT, MEMBERS, permit=replace(PERMIT, **change)).refusals == (words,)


def test_the_study_s_own_members_are_those_that_count() -> None:
    found = explain_study(DRAFT.for_members(("c", "b", "a")), MEMBERS)
    assert (found.members, found.threshold) == (("a", "b", "c"), 3)
    alone = explain_study(DRAFT)
    assert (alone.members, alone.threshold, alone.estimate) == ((), 0, None)


def test_time_grows_with_rounds_and_members() -> None:
    plan = explain_study(DRAFT, MEMBERS).plan
    four, seven = estimate(plan, 4), estimate(plan, 7)
    assert 0 < four.one_round < seven.one_round
    assert four.most == pytest.approx(four.key + four.counts + 8 * four.one_round, abs=0.2)


def test_every_act_of_the_shipped_contracts_names_the_policies_that_decide_it() -> None:
    rules = {
        (rule.contract, rule.act): rule for rule in (*shipped("data-permit"), *shipped("study"))
    }
    assert rules["study/1", "instantiate"].policies == ("researcher-proposes",)
    assert rules["study/1", "approve"].needed == "terms.approvals"
    assert rules["study/1", "approve"].orders == ("run_key_ceremony commit",)
    assert rules["study/1", "iterate"].policies == ("another-round", "researcher-goes-on")
    assert "spend_budget of terms.data_set + rho" in rules["study/1", "iterate"].orders
    assert rules["data-permit/1", "instantiate"].policies == (
        "for-another-institution",
        "researcher-applies",
    )
    of_people = [rule for rule in rules.values() if rule.policies]
    assert {rule.act for rule in of_people} >= {"grant", "revoke", "withdraw", "conclude"}
    for rule in rules.values():
        assert rule.by
        assert rule.policies or rule.by == ("member",)  # a report is decided by its order


def test_the_outputs_are_those_of_the_contract() -> None:
    for name in ("data-permit", "study"):
        document = yaml.safe_load((TEMPLATES / f"{name}.yaml").read_text(encoding="utf-8"))
        assert tuple(document["terms"]["outputs"]["one_of"]) == OUTPUTS


def test_the_rules_stand_in_the_order_in_which_they_apply() -> None:
    acts = [rule.act for rule in shipped("study")]
    path = [
        "instantiate",
        "approve",
        "counts_committed",
        "counts_passed",
        "values_agreed",
        "iterate",
    ]
    assert [act for act in acts if act in path] == path


def test_the_command_explains_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "study.json"
    path.write_text(json.dumps(DOCUMENT))
    assert run(["study", "explain", str(path), "--offline"]) == 0
    text = capsys.readouterr().out
    assert "at most 9 releases of the permit" in text
    assert "in each of up to 8 rounds" in text
    assert "a patient of two hospitals has rows at both and is counted at both" in text
    assert "bmi: 10 to 60 kg/m2; a missing value leaves the patient out" in text
    assert run(["study", "explain", str(path), "--offline", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["quota"]["permit_releases"] == 9
    assert document["values"]["bytes"] > 1_000_000
    assert document["rules"] == []


def test_an_impossible_study_is_named_entry_by_entry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.json"
    path.write_text(json.dumps({**DOCUMENT, "minimum": 3, "data_set": "diabetes"}))
    assert run(["study", "explain", str(path), "--offline", "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["reason"] == "SPEC_MALFORMED"
    assert "/minimum" in error["detail"]
    assert "/data_set" in error["detail"]


def test_a_permit_is_not_read_without_a_wallet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.json"
    path.write_text(json.dumps(DOCUMENT))
    assert run(["study", "explain", str(path), "--permit", "00" * 16]) == 2
    assert "--wallet" in capsys.readouterr().err


def test_a_study_of_stored_columns_sends_nothing_and_is_under_its_own_contract() -> None:
    document = {
        "data_set": "cohort-1",
        "variables": DOCUMENT["variables"][:1],
        "analyses": [
            {
                "kind": "product_sum",
                "x": {"variable": "bmi", "at": "hospital-a"},
                "y": {"variable": "bmi", "at": "hospital-b"},
            }
        ],
        "data_key": {"id": "00" * 16, "key_digest": "00" * 32, "releases_max": 10},
        "profile": "product-1",
    }
    found = explain_study(Draft.from_document(document), MEMBERS, shipped("column-study"))
    assert (found.plan.counts.bytes, found.plan.values.bytes) == (0, 0)
    assert (found.quota.permit, found.quota.data_set) == (2, 2)
    assert {rule.contract for rule in found.rules} == {"column-study/1"}
    sent = [line for line in lines_of(found) if "nothing is sent" in line]
    assert len(sent) == 2
    assert found.estimate is not None
    assert found.estimate.key == 0  # the members have made it with the columns
    assert not any("for the key" in line for line in lines_of(found))
    assert found.cautions == ()
