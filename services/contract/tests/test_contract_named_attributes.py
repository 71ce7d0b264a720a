"""What of a contract a template's policies are told."""

from __future__ import annotations

import json

import cedarpy
import pytest

from cipherward_contract.named_attributes import named_attributes
from cipherward_contract.templates.shipped import SHIPPED, load_shipped


def named(condition: str) -> frozenset[str] | None:
    policy = f'@id("one") permit (principal, action, resource) when {{ {condition} }};'
    return named_attributes(json.loads(cedarpy.policies_to_json_str(policy)))


def test_what_a_policy_reads_is_named() -> None:
    condition = (
        'principal.parties.contains("owner") && context.now < resource.terms.expires'
        ' && resource["uses"] < 3 && (if context.arguments.purpose like "T*"'
        ' then principal.role else principal.kind) == "x"'
    )
    wanted = {"parties", "now", "terms", "expires", "uses", "arguments", "purpose", "role", "kind"}
    assert named(condition) == wanted


def test_what_a_policy_only_asks_for_is_named() -> None:
    assert named("resource.terms has first.second") == {"terms", "first", "second"}


def test_a_literal_names_nothing() -> None:
    assert named('principal == Actor::"terms" || ["kind"].contains("role")') == frozenset()


@pytest.mark.parametrize(
    "condition",
    [
        "resource.terms == context.arguments",
        "context == context",
        "(if principal.kind == resource.state then resource.terms else context.arguments).expires"
        " > 3",
        '{Value: resource.uses}.Value == 3 && principal.role == "x"',
        "[resource.terms].containsAll([])",
    ],
)
def test_a_policy_about_a_whole_record_is_told_everything(condition: str) -> None:
    assert named(condition) is None


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_policies_read_single_attributes(name: str) -> None:
    template, _ = load_shipped()[name]
    found = named_attributes(json.loads(cedarpy.policies_to_json_str(template.policies)))
    assert found is not None
    assert "parties" in found
