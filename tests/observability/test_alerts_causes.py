"""Every alert can be tried out, and trying out changes nothing but how long one waits."""

from __future__ import annotations

import re

import pytest

from tests.observability.promql import rules
from tools.alerts.__main__ import CAUSES
from tools.alerts.shortened import FOR_SECONDS_MAX, RULES, shortened

TEXT = RULES.read_text(encoding="utf-8")


def test_every_alert_has_one_cause() -> None:
    caused = [alert for cause in CAUSES for alert in cause.alerts]
    assert sorted(caused) == sorted(rule["alert"] for rule in rules() if "alert" in rule)


def test_shortened_rules_compute_the_same_from_the_same() -> None:
    before, after = rules(), [r for g in shortened(TEXT)["groups"] for r in g["rules"]]
    for long, short in zip(before, after, strict=True):
        patience = {"expr": "", "for": ""}
        assert {**short, **patience} == {**long, **patience}
        # Names, operators and structure are the same: only numbers differ.
        numbers = re.compile(r"\b\d+[smhd]?\b")
        assert numbers.sub("", short["expr"]) == numbers.sub("", long["expr"])


def test_shortened_rules_wait_seconds() -> None:
    for group in shortened(TEXT)["groups"]:
        for rule in group["rules"]:
            assert 0 <= int(rule.get("for", "0s").removesuffix("s")) <= FOR_SECONDS_MAX
            assert not re.search(r"\[\d+[mhd]\]|offset \d+[mhd]", rule["expr"])


def test_a_span_that_no_rule_has_any_more_is_noticed() -> None:
    with pytest.raises(LookupError):
        shortened(TEXT.replace("> 10800", "> 10801"))
