from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_contract.analysis.findings import FIXES
from cipherward_contract.drafts import play_draft
from cipherward_contract.instructions.closed_list import INSTRUCTIONS
from cipherward_contract.simulation.playing import Step
from cipherward_contract.simulation.replaying import RecordedBlock, replay
from cipherward_contract.simulation.scenario import (
    ACTS_MAX,
    ScenarioMalformed,
    parse_scenario,
    seconds_of,
)
from cipherward_contract.templates.document import (
    KEPT_FORMS,
    KINDS,
    PARTY_KINDS,
    TemplateMalformed,
)
from cipherward_contract.templates.expressions import FIXED_NAMES
from cipherward_contract.templates.shipped import SHIPPED
from cipherward_contract.testing import MEMBERS, Story, instantiate, transition

SCENARIOS = sorted((Path(__file__).parents[1] / "scenarios").glob("*.yaml"))
TOLD = ("consent", "data-permit", "emergency-access", "erasure", "study")
RECORD, CONSENT = bytes(range(16)), bytes(range(16, 32))


def source_of(name: str) -> str:
    path = resources.files("cipherward_contract.templates").joinpath(f"{name}.yaml")
    return path.read_text("utf-8")


def template_of(scenario: Path) -> str:
    """A scenario's file is called as its template, and then as its story."""
    return max((name for name in SHIPPED if scenario.stem.startswith(f"{name}-")), key=len)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
def test_a_shipped_scenario_comes_out_as_it_says(scenario: Path) -> None:
    steps = play_draft(source_of(template_of(scenario)), scenario.read_text("utf-8"))
    assert [step for step in steps if step.surprise] == []
    assert any(not step.allowed for step in steps) or template_of(scenario) == "study"


@pytest.mark.parametrize("name", TOLD)
def test_every_template_for_people_has_two_stories(name: str) -> None:
    assert sum(template_of(scenario) == name for scenario in SCENARIOS) >= 2


CAST = """\
members: [hospital-a, hospital-b, hospital-c]
holders:
  ada: {schema: patient, member: hospital-a, record: letter}
  bo: {schema: staff, member: hospital-b, role: clinician}
records:
  letter: {owner: ada, author: hospital-a, custodian: hospital-a, templates: [consent/1]}
acts:
  - at: 0
    by: ada
    do: instantiate
    terms:
      record: record:letter
      grantee_member: hospital-b
      grantee_key: ""
      representative_key: ""
      purposes: [TREAT]
      expires: +90d
      visits_max: 2
      visit_seconds: 1h
"""
OPEN = "  - {at: +1h, by: bo, do: open, arguments: {reader_key: 'some:key', purpose: TREAT}"


def played(acts: str, *, template: str = "consent") -> list[Step]:
    return play_draft(source_of(template), CAST + acts)


def test_each_decision_names_the_policies_that_made_it_or_the_rule() -> None:
    begun, opened, wrong, unknown = played(
        f"{OPEN}}}\n"
        "  - {at: +1h, by: bo, do: open, arguments: {reader_key: 'some:key', purpose: HPAYMT}}\n"
        "  - {at: +1h, by: bo, do: fly}\n"
    )
    assert (begun.allowed, begun.policies, begun.state) == (True, ("owner-grants",), "active")
    assert (opened.policies, opened.orders) == (("grantee-opens",), ("release_key", "disclose"))
    assert (wrong.rule, wrong.policies) == ("POLICY_DENIED", ("purpose-differs",))
    assert (unknown.rule, unknown.policies, unknown.orders) == ("TRANSITION_UNKNOWN", (), ())


def test_timers_fire_at_their_own_time_between_the_acts() -> None:
    begun, timer, late = played("  - {at: 91d, by: ada, do: revoke}\n")
    assert (timer.act, timer.at - begun.at, timer.state) == ("timer expire", 90 * 86_400, "expired")
    assert timer.orders == ("revoke_key", "cut_transfers")
    assert late.rule == "STATE_FORBIDS"


def test_what_is_not_as_expected_is_said() -> None:
    surprises = [
        step.surprise
        for step in played(
            f"{OPEN}, expect: POLICY_DENIED}}\n"
            f"{OPEN}, state: revoked, orders: []}}\n"
            f"{OPEN}, expect: allowed}}\n"
            f"{OPEN}, expect: POLICY_DENIED, state: active, orders: []}}\n"
        )
    ]
    assert surprises == ["", "POLICY_DENIED", "state revoked, orders none", "allowed", ""]


def test_a_credential_is_renewed_where_an_epoch_begins() -> None:
    step = played(
        "  - {at: 40d, by: bo, do: open, arguments: {reader_key: 'some:key', purpose: TREAT}}\n"
    )[-1]
    assert step.allowed


def test_the_same_scenario_comes_out_the_same() -> None:
    assert played(f"{OPEN}}}\n") == played(f"{OPEN}}}\n")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("members:", "memberz:", "no field members"),
        ("[hospital-a, hospital-b, hospital-c]", "[]", "members: 1 to"),
        ("schema: staff", "schema: robot", "holders.bo: a schema is patient or staff"),
        (
            "member: hospital-b, role",
            "member: hospital-z, role",
            "holders.bo: no member hospital-z",
        ),
        ("owner: ada", "owner: bo", "records.letter: its owner is a patient of that record"),
        ("at: 0", "at: later", "line 8: at: 'later' is no time"),
        ("by: ada", "by: nobody", "line 8: nobody is called nobody"),
        ("    by: ada\n", "", "line 8: by: somebody acts"),
        ("record: record:letter", "record: record:chart", "line 8: nothing is record:chart"),
        ("record: record:letter", "record: letter", "line 8: 'letter' is neither hexadecimal"),
        ("do: instantiate", "do: instantiate\n    template: none/1", "line 8: no template none/1"),
        ("do: instantiate", "do: open", "line 8: no contract is called contract"),
        ("do: instantiate", "do: report\n    order: fly", "line 8: no contract is called"),
        ("acts:", "acts: []\nothers:", "unknown field others"),
        ("at: 0", "at: 0\n    wish: 1", "line 8: unknown field wish"),
        ("at: 0", "at: 0\n    at: 1", "the key is there twice"),
        ("at: 0", "at: 999999d", "within a century"),
    ],
)
def test_a_scenario_out_of_form_is_refused_with_its_place(old: str, new: str, says: str) -> None:
    assert old in CAST
    with pytest.raises(ScenarioMalformed) as refused:
        play_draft(source_of("consent"), CAST.replace(old, new, 1))
    assert says in str(refused.value)


def test_acts_go_forward_in_time_and_are_bounded() -> None:
    with pytest.raises(ScenarioMalformed, match="in the order of their times"):
        played("  - {at: 2h, do: tick}\n  - {at: 1h, do: tick}\n")
    with pytest.raises(ScenarioMalformed, match=f"acts: 1 to {ACTS_MAX}"):
        parse_scenario(CAST + "  - {at: +1s, do: tick}\n" * ACTS_MAX)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1h30m", 5_400), ("2d1h", 176_400), ("1x", None), ("", None)],
)
def test_durations_are_read_in_their_units(text: str, seconds: int | None) -> None:
    assert seconds_of(text) == seconds


def test_a_template_that_may_not_be_deployed_is_not_played() -> None:
    broken = source_of("consent").replace("initial: active", "initial: lost")
    with pytest.raises(TemplateMalformed, match="no state lost"):
        play_draft(broken, CAST)
    with pytest.raises(TemplateMalformed, match="line 1: "):
        play_draft("[", CAST)


def recorded(story: Story) -> list[RecordedBlock]:
    """The blocks of a story that are not empty, as a ledger keeps them."""
    found: list[RecordedBlock] = []
    for height, (time_ns, transactions, answer) in enumerate(story.blocks, start=1):
        results = pb.ExecuteBlockResponse.FromString(answer).results
        if transactions:
            found.append(RecordedBlock(height, time_ns, transactions, results))
    return found


async def told(story: Story) -> Sequence[RecordedBlock]:
    """A consent that is used, used wrongly, and expires, between empty blocks."""
    owner = await story.record(RECORD)
    bo = await story.staff(MEMBERS[1], "clinician", "bo")
    terms = {
        "record": RECORD,
        "grantee_member": MEMBERS[1],
        "grantee_key": b"",
        "representative_key": b"",
        "purposes": ["TREAT"],
        "expires": story.now + 3_600,
        "visits_max": 5,
        "visit_seconds": 60,
    }
    await story.applied(owner, instantiate("consent", CONSENT, terms))
    await story.block()
    opening = transition(CONSENT, "open", reader_key=bytes(1216), purpose="TREAT")
    await story.applied(bo, opening)
    wrong = transition(CONSENT, "open", reader_key=bytes(1216), purpose="HRESCH")
    assert (await story.act(bo, wrong)).reason == "POLICY_DENIED"
    await story.block()
    story.now += 3_600
    await story.staff(MEMBERS[2], "clinician", "somebody else")
    return recorded(story)


async def test_a_contract_is_done_again_from_the_chain(story: Story) -> None:
    blocks = await told(story)
    found = replay(story.keys.document, blocks, CONSENT)
    assert found.differing == ()
    said = [step.act.split(" ", 2) for step in found.steps]
    assert [words[2] for words in said] == [
        "begins consent/1",
        "takes open",
        "takes open",
        "active",
    ]
    assert [words[0] for words in said] == ["key", "key", "key", "timer"]
    assert [step.rule for step in found.steps] == ["", "", "POLICY_DENIED", ""]
    assert found.steps[2].policies == ("purpose-differs",)
    assert [step.state for step in found.steps] == ["active", "active", "active", "expired"]
    assert found.steps[1].orders == ("release_key", "disclose")
    assert all(step.same for step in found.steps)


async def test_a_chain_that_says_something_else_is_found_out(story: Story) -> None:
    blocks = list(await told(story))
    refused = next(i for i, block in enumerate(blocks) if block.height == blocks[-2].height)
    allowed = blocks[refused - 1].results
    blocks[refused] = replace(blocks[refused], results=allowed)
    found = replay(story.keys.document, blocks, CONSENT)
    assert found.differing == (blocks[refused].height,)
    assert [step.same for step in found.steps] == [True, True, False, True]


REFERENCE = (Path(__file__).parents[3] / "docs" / "contracts" / "README.md").read_text("utf-8")


def test_the_scenario_of_the_reference_comes_out_as_it_says() -> None:
    scenario = REFERENCE.split("## Scenarios\n```yaml\n")[1].split("```")[0]
    steps = play_draft(source_of("consent"), scenario)
    assert [step.surprise for step in steps] == [""] * 4


def test_the_reference_has_every_word_of_the_language() -> None:
    for kind in INSTRUCTIONS.values():
        rows = [line for line in REFERENCE.split("\n") if f"`{kind.name}`" in line]
        assert any(all(name in row for name in kind.arguments) for row in rows), kind.name
    words = {*PARTY_KINDS, *KINDS, *KEPT_FORMS, *FIXES, *FIXED_NAMES}
    assert {word for word in words if not re.search(rf"`{word}[` ]", REFERENCE)} == set()
    for root, names in FIXED_NAMES.items():
        if root != "ceremony":
            rows = [line for line in REFERENCE.split("\n") if line.startswith(f"| `{root}`")]
            assert any(names <= set(re.findall(r"[a-z_]+", row)) for row in rows), root
