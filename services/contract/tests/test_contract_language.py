"""The language of templates: its types, its parties, its expressions, and what each refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from cipherward_chain.canonical import Value, encode
from cipherward_contract.catalogue import compile_template
from cipherward_contract.instructions.releasing import RELEASE_KEY
from cipherward_contract.templates.document import TemplateMalformed
from cipherward_contract.templates.expressions import (
    ExpressionMalformed,
    NothingThere,
    parse_expression,
)
from cipherward_contract.templates.types import TypeUnknown, parse_type
from cipherward_contract.templates.values import ValueRefused, World, check_values

PERMIT = b"p" * 16
STANDING = {PERMIT: ("data-permit", "granted"), b"q" * 16: ("data-permit", "ended")}
WORLD = World(frozenset({"hospital-a", "hospital-b"}), 1_000, STANDING.get)

TEXTS = {"type": "texts", "one_of": ["b", "a", "c"], "at_least": 1}
PERMITS = {
    "type": "instance",
    "template": "data-permit",
    "states": ["granted"],
    "may_be_empty": False,
}


TYPES: list[tuple[dict[str, Any], list[Value], list[Value]]] = [
    ({"type": "flag"}, [True, False], [0, 1, "true", b""]),
    (TEXTS, [["a"], ["a", "b", "c"]], [[], ["b", "a"], ["a", "a"], ["d"], "a", ["a", 1], {}]),
    ({**TEXTS, "at_least": 0}, [[], ["c"]], [["d"], "a"]),
    ({"type": "data_set"}, ["cohort-0", "cohort-17"], ["cohort-", "cohort-01", "breast", 1]),
    (
        {"type": "data_sets", "at_least": 1},
        [["cohort-1"], ["cohort-1", "cohort-10"]],
        [[], ["cohort-2", "cohort-1"], ["psychiatry"], "cohort-1"],
    ),
    ({"type": "digest"}, [bytes(32)], [bytes(31), "0" * 64, 0]),
    (PERMITS, [PERMIT], [b"q" * 16, b"?" * 16, b"", "p" * 16]),
    ({**PERMITS, "may_be_empty": True}, [PERMIT, b""], [b"q" * 16, bytes(15)]),
    ({**PERMITS, "states": ["ended"]}, [b"q" * 16], [PERMIT]),
    ({**PERMITS, "template": "study"}, [], [PERMIT]),
    ({"type": "template_name"}, ["consent", "a_b-c1"], ["", "Consent", "a/1", b"consent"]),
    (
        {"type": "scope"},
        ["duty:hospital-a:1", "duty:hospital-a:12"],
        ["duty:hospital-a:0", "duty::1", f"record:{'00' * 16}", "duty:hospital-a:1 ", 1],
    ),
    ({"type": "pseudonym"}, [bytes(48)], [bytes(47), "x" * 48]),
    (
        {"type": "members", "at_least": 1, "at_most": 1},
        [["hospital-a"], ["hospital-b"]],
        [[], ["hospital-a", "hospital-b"], ["hospital-x"], "hospital-a"],
    ),
]


@pytest.mark.parametrize(("kind", "good", "bad"), TYPES, ids=[kind["type"] for kind, _, _ in TYPES])
def test_a_type_takes_its_values_and_no_others(
    kind: dict[str, Any], good: list[Value], bad: list[Value]
) -> None:
    types = {"term": parse_type(kind)}
    for value in good:
        check_values(types, {"term": value}, WORLD)
    for value in bad:
        with pytest.raises(ValueRefused, match="term: "):
            check_values(types, {"term": value}, WORLD)


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "texts", "one_of": [], "at_least": 0},
        {"type": "texts", "one_of": ["a", "a"], "at_least": 2},
        {"type": "members", "at_least": 2, "at_most": 1},
        {**PERMITS, "states": []},
        {**PERMITS, "template": "Data Permit"},
    ],
)
def test_a_type_that_no_value_could_meet_is_refused(kind: dict[str, Any]) -> None:
    with pytest.raises(TypeUnknown):
        parse_type(kind)


def test_policies_see_lists_as_sets_and_flags_as_booleans() -> None:
    cedar = {
        "flag": parse_type({"type": "flag"}).cedar,
        "texts": parse_type(TEXTS).cedar,
        "data_sets": parse_type({"type": "data_sets", "at_least": 1}).cedar,
        "instance": parse_type(PERMITS).cedar,
    }
    assert cedar == {
        "flag": "Bool",
        "texts": "Set<String>",
        "data_sets": "Set<String>",
        "instance": "String",
    }


def test_joined_is_one_text_of_texts_and_ids() -> None:
    expression = parse_expression({"joined": ["terms.set", "terms.permit", {"value": "x"}]})
    environment = {"terms": {"set": "cohort-1", "permit": b"\x01\xff", "count": 3}}
    assert expression.evaluate(environment) == "cohort-1/01ff/x"
    assert [path.name for path in expression.paths()] == ["set", "permit"]
    with pytest.raises(NothingThere):
        parse_expression({"joined": ["terms.count"]}).evaluate(environment)


def test_zeros_counts_how_many_integers_are_zero() -> None:
    environment = {"terms": {"rho": 0, "other": 7, "name": "x"}}
    for parts, count in ((["terms.rho"], 1), (["terms.other"], 0), (["terms.rho"] * 3, 3)):
        assert parse_expression({"zeros": list(parts)}).evaluate(environment) == count
    with pytest.raises(NothingThere):
        parse_expression({"zeros": ["terms.name"]}).evaluate(environment)


@pytest.mark.parametrize("operation", ["least", "total", "zeros", "joined"])
def test_an_expression_has_a_few_parts(operation: str) -> None:
    for parts in ([], ["terms.a"] * 9):
        with pytest.raises(ExpressionMalformed):
            parse_expression({operation: list(parts)})


# About a record, with a step that custodian and guardians report, and a subject.
DOCUMENT = """
name: rich
version: 1
object: record
unclaimed: true
parties:
  owner: {is: record_owner}
  ward: {is: key_holder, key: key}
  staff: {is: any_staff}
  keeper: {is: custodian_member}
  writer: {is: author_member}
  keeper_staff: {is: custodian_staff}
  writer_staff: {is: author_staff}
terms:
  record: {type: bytes, lengths: [16]}
  key: {type: bytes, lengths: [0, 32]}
  scope: {type: scope}
  pseudonym: {type: pseudonym}
states: [waiting, done]
initial: waiting
finals: [done]
timers: []
transitions:
  instantiate:
    kind: transition
    to: waiting
    by: [owner, writer]
    sets: {guardians: record.guardians, sealed: subject.ciphertext, keepers: record.keepers}
  finished:
    {kind: report, from: [waiting], to: done, quorum: custodian_and_guardians, otherwise: fail}
  fail: {kind: automatic, from: [waiting], to: done}
never:
  - {id: nothing-is-released, order: release_key, unless: "false"}
policies: |
  @id("anything") permit (principal, action, resource);
"""


def rich() -> dict[str, Any]:
    return yaml.safe_load(DOCUMENT)


def test_the_whole_language_compiles() -> None:
    template = compile_template(encode(rich())).template
    assert template.unclaimed
    assert [item.id for item in template.never] == ["nothing-is-released"]


Spoil = Callable[[dict[str, Any]], object]
FAULTS: list[tuple[str, Spoil]] = [
    ("unclaimed: there is no record", lambda d: d.update(object="")),
    ("party ward: there is no record", lambda d: d.update(object="")),
    ("party keeper: there is no record", lambda d: d.update(object="")),
    ("party writer_staff: there is no record", lambda d: d.update(object="")),
    ("party ward: no term seal", lambda d: d["parties"]["ward"].update(key="seal")),
    (
        "no quorum custodian_and_guardians",  # nobody recorded who they are
        lambda d: d["transitions"]["instantiate"]["sets"].pop("guardians"),
    ),
    (
        "no quorum variables.most",
        lambda d: d["transitions"]["finished"].update(quorum="variables.most"),
    ),
    ("neither terms nor variables name a subject", lambda d: d["terms"].pop("scope")),
    (
        "neither terms nor variables name a subject",
        lambda d: d["terms"].update(scope={"type": "digest"}),
    ),
    (
        "the terms of a ceremony are",
        lambda d: d["transitions"]["instantiate"]["sets"].update(x="ceremony.sharing"),
    ),
    (
        "record has no patient",
        lambda d: d["transitions"]["instantiate"]["sets"].update(x="record.patient"),
    ),
    (
        "subject has no name",
        lambda d: d["transitions"]["instantiate"]["sets"].update(x="subject.name"),
    ),
    (
        "never nothing-is-released: no instruction open",
        lambda d: d["never"][0].update(order="open"),
    ),
    (
        "never nothing-is-released: no transition look",
        lambda d: d["never"][0].update(transition="look"),
    ),
    (
        "never gone: no state nowhere",
        lambda d: d["never"].append({"id": "gone", "order": "disclose", "in": ["nowhere"]}),
    ),
    ("each with an id of its own", lambda d: d["never"].append(d["never"][0])),
    (
        "what another contract's end ends may not end more",
        lambda d: d["transitions"].update(
            permit_ended={
                "kind": "automatic",
                "from": ["waiting"],
                "to": "done",
                "instructions": [{"order": "cut_studies", "with": {"permit": "instance.id"}}],
            }
        ),
    ),
    (
        "key_ended: what another contract's end ends may not end more",
        lambda d: d["transitions"].update(
            key_ended={
                "kind": "automatic",
                "from": ["waiting"],
                "to": "done",
                "instructions": [{"order": "cut_key_uses", "with": {"source": "instance.id"}}],
            }
        ),
    ),
    (
        "key_ended: what another contract's end ends may not end more",
        lambda d: d["transitions"].update(
            key_ended={
                "kind": "automatic",
                "from": ["waiting"],
                "to": "done",
                "instructions": [{"order": "free_key", "with": {"source": "instance.id"}}],
            }
        ),
    ),
    (
        "superseded: what another contract's end ends may not end more",
        lambda d: d["transitions"].update(
            superseded={
                "kind": "automatic",
                "from": ["waiting"],
                "to": "done",
                "instructions": [{"order": "end_key", "with": {"source": "instance.id"}}],
            }
        ),
    ),
    (
        "finished: nowhere is no automatic transition from the same states",
        lambda d: d["transitions"]["finished"].update(exhausted="nowhere"),
    ),
    (
        "finished: nothing that it does can be exhausted",
        lambda d: d["transitions"]["finished"].update(
            exhausted=d["transitions"]["finished"]["otherwise"]
        ),
    ),
    (
        "instantiate: only a report, a timer, a vote can be exhausted",
        lambda d: d["transitions"]["instantiate"].update(exhausted="finished"),
    ),
    (
        "parameters has no heartbeat_seconds",
        lambda d: d["transitions"]["instantiate"]["sets"].update(x="parameters.heartbeat_seconds"),
    ),
    (
        "more than one report leaves it",
        lambda d: d["transitions"].update(again=copy.deepcopy(d["transitions"]["finished"])),
    ),
]


@pytest.mark.parametrize(("fault", "spoil"), FAULTS, ids=[fault for fault, _ in FAULTS])
def test_a_fault_of_the_language_is_named(fault: str, spoil: Spoil) -> None:
    document = rich()
    spoil(document)
    with pytest.raises(TemplateMalformed) as caught:
        compile_template(encode(document))
    assert fault in str(caught.value)


def test_reading_may_end_in_a_state_that_is_not_final_but_never_reads_again() -> None:
    """As an emergency's: the visit is over, the review is due."""
    document = rich()
    document["states"] = ["open", "over", "done"]
    document["initial"] = "open"
    release = {name: {"value": 0} for name in RELEASE_KEY.arguments}
    reading = {
        "kind": "transition",
        "to": "open",
        "by": ["owner"],
        "sets": {"ends": "block.time"},
        "instructions": [{"order": "release_key", "with": release}],
    }
    document["transitions"] = {
        "instantiate": reading,
        "end": {
            "kind": "transition",
            "from": ["open"],
            "to": "over",
            "by": ["owner"],
            "gives_up_rights": True,
        },
        "expire": {"kind": "timer", "from": ["open"], "to": "over"},
        "close": {"kind": "transition", "from": ["over"], "to": "done", "by": ["owner"]},
    }
    document["timers"] = [
        {"states": ["open"], "when": {"due": "variables.ends"}, "transition": "expire"}
    ]
    compile_template(encode(document))
    back = {"kind": "transition", "from": ["over"], "to": "open", "by": ["owner"]}
    document["transitions"]["again"] = back  # now the end is none
    with pytest.raises(TemplateMalformed, match="its timer does not end it"):
        compile_template(encode(document))
