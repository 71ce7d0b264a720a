"""The instructions that contract carries out itself, each from a template made for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cipherward_chain.acts import register_pseudonym
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.canonical import Value, decode_map, encode
from cipherward_chain.genesis import TemplateDocument
from cipherward_chain.key_holders import key_holders_key
from cipherward_chain.testing import seed_of
from cipherward_contract.catalogue import compile_template
from cipherward_contract.instructions.closed_list import INSTRUCTIONS
from cipherward_contract.instructions.notices import KINDS
from cipherward_contract.marks import budget_entry, budget_key, suspended_key, suspended_until
from cipherward_contract.templates.document import TemplateMalformed
from cipherward_contract.testing import (
    MEMBERS,
    TICK,
    Presented,
    Story,
    contract_genesis,
    instantiate,
    open_story,
    report,
    transition,
    vote,
)
from cipherward_contract.testing_data_keys import KEY, handed_over, ready_key
from cipherward_contract.testing_records import (
    CONSENT,
    RECORD,
    ConsentScene,
    consent_terms,
    standing,
)
from cipherward_contract.testing_studies import digest

TOOL = b"t" * 16
DUTY = "duty:hospital-b:1"
PSEUDONYM = Presented(DUTY, "hospital-b", "staff", 1, "clinician", "clinician-b").pseudonym


RESHARING_STEP: Mapping[str, Value] = {
    **dict.fromkeys(("members", "holders", "new", "dealers"), ()),
    "commitments": {},
    "reveals": {},
    "study": TOOL,
    "step": "ready",
    "threshold": 3,
    "seed": b"",
}


def tool(
    order: str,
    arguments: Mapping[str, Any],
    terms: Mapping[str, Any] | None = None,
    **transitions: Any,
) -> TemplateDocument:
    """Return a template whose transition `use` gives one instruction, whenever a member wants."""
    use = {
        "kind": "transition",
        "from": ["ready"],
        "to": "ready",
        "by": ["member"],
        "instructions": [{"order": order, "with": arguments}],
    }
    document = {
        "name": "tool",
        "version": 1,
        "object": "",
        "parties": {"member": {"is": "any_member"}},
        "terms": dict(terms or {}),
        "states": ["ready", "done"],
        "initial": "ready",
        "finals": ["done"],
        "timers": [],
        "transitions": {
            "instantiate": {"kind": "transition", "to": "ready", "by": ["member"]},
            "use": use,
            "end": {"kind": "transition", "from": ["ready"], "to": "done", "by": ["member"]},
            **transitions,
        },
        "policies": '@id("anybody") permit (principal, action, resource);',
    }
    return TemplateDocument("tool", 1, encode(document))


def literals(**arguments: Value) -> dict[str, Any]:
    return {name: {"value": value} for name, value in arguments.items()}


class Toolbox:
    """A chain with one such template, begun by hospital-a."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.member = story.member("hospital-a")

    async def use(self) -> str:
        return (await self.story.act(self.member, transition(TOOL, "use"))).reason


async def begun(story: Story, **terms: Value) -> Toolbox:
    toolbox = Toolbox(story)
    await story.applied(toolbox.member, instantiate("tool", TOOL, terms))
    return toolbox


async def test_a_budget_is_spent_over_all_contracts(tmp_path: Path) -> None:
    name = {"joined": [{"value": "cohort-1"}, "terms.permit"]}
    arguments = {"budget": name, **literals(amount=2, limit=5)}
    template = tool("spend_budget", arguments, {"permit": {"type": "bytes", "lengths": [2]}})
    genesis, keys = contract_genesis(templates=[template])
    async with open_story(tmp_path, genesis, keys) as story:
        toolbox = await begun(story, permit=b"\xab\xcd")
        assert [await toolbox.use() for _ in range(3)] == ["", "", "BUDGET_SPENT"]
        assert await story.state(budget_key("cohort-1/abcd")) == budget_entry(4)
        again = instantiate("tool", b"u" * 16, {"permit": b"\xab\xcd"})
        await story.applied(toolbox.member, again)
        refused = await story.act(toolbox.member, transition(b"u" * 16, "use"))
        assert refused.reason == "BUDGET_SPENT"


async def test_to_spend_nothing_is_always_possible_and_leaves_no_trace(tmp_path: Path) -> None:
    arguments = literals(budget="cohort-1", amount=0, limit=0)
    genesis, keys = contract_genesis(templates=[tool("spend_budget", arguments)])
    async with open_story(tmp_path, genesis, keys) as story:
        toolbox = await begun(story)
        assert await toolbox.use() == ""
        assert await story.state(budget_key("cohort-1")) is None


async def test_a_timer_whose_attempts_are_spent_goes_where_it_says(tmp_path: Path) -> None:
    arguments = literals(budget="attempts", amount=1, limit=2)
    again: dict[str, Value] = {
        "kind": "timer",
        "from": ["ready"],
        "to": "waiting",
        "exhausted": "give_up",
        "instructions": [{"order": "spend_budget", "with": arguments}],
    }
    rest: dict[str, Value] = {"kind": "transition", "from": ["waiting"], "to": "ready"}
    give_up: dict[str, Value] = {"kind": "automatic", "from": ["ready"], "to": "done"}
    template = tool(
        "spend_budget", arguments, again=again, rest={**rest, "by": ["member"]}, give_up=give_up
    )
    document = decode_map(template.document)
    document["states"] = ["done", "ready", "waiting"]
    deadline: Value = {"after": {"value": 60}}
    document["timers"] = [{"states": ["ready"], "when": deadline, "transition": "again"}]
    template = TemplateDocument("tool", 1, encode(document))
    genesis, keys = contract_genesis(templates=[template])
    async with open_story(tmp_path, genesis, keys) as story:
        toolbox = await begun(story)
        for _ in range(2):
            story.now += 60
            await story.applied(toolbox.member, TICK)
            ready = await standing(story, TOOL)
            assert (ready.position.state, "failure" in ready.variables) == ("waiting", False)
            await story.applied(toolbox.member, transition(TOOL, "rest"))
        story.now += 60
        await story.applied(toolbox.member, TICK)
        ended = await standing(story, TOOL)
        assert (ended.position.state, "failure" in ended.variables) == ("done", False)


async def test_a_vote_that_would_spend_what_is_spent_falls_back(tmp_path: Path) -> None:
    arguments = literals(budget="cohort-1", amount=1, limit=0)
    spending = [{"order": "spend_budget", "with": arguments}]
    agree = {
        "kind": "vote",
        "from": ["ready"],
        "to": "done",
        "by": ["member"],
        "quorum": "two_thirds_of_registry",
        "otherwise": "fail",
        "instructions": spending,
    }
    fail = {"kind": "automatic", "from": ["ready"], "to": "done"}
    template = tool("spend_budget", arguments, agree=agree, fail=fail)
    genesis, keys = contract_genesis(templates=[template])
    async with open_story(tmp_path, genesis, keys) as story:
        await begun(story)
        for member in MEMBERS[:3]:
            await story.applied(story.member(member), vote(TOOL, "agree", True))
        ended = await standing(story, TOOL)
        assert (ended.position.state, ended.variables["failure"]) == ("done", "BUDGET_SPENT")
        assert await story.state(budget_key("cohort-1")) is None


async def test_a_banned_pseudonym_only_gives_up_rights_for_good(tmp_path: Path) -> None:
    arguments = literals(scope=DUTY, pseudonym=PSEUDONYM)
    genesis, keys = contract_genesis(templates=[tool("ban_pseudonym", arguments)])
    async with open_story(tmp_path, genesis, keys) as story:
        scene = await ConsentScene.begin(story)
        toolbox = await begun(story)
        assert (await scene.open(scene.clinician)).applied
        assert await toolbox.use() == ""
        assert (await scene.open(scene.clinician)).reason == "PSEUDONYM_SUSPENDED"
        story.now += 20 * 86_400
        await story.applied(
            scene.owner, instantiate("consent", b"d" * 16, consent_terms(story.now))
        )
        refused = await scene.open(scene.clinician, consent=b"d" * 16)
        assert refused.reason == "PSEUDONYM_SUSPENDED"


@pytest.mark.parametrize(("first", "second"), [(100, 50), (50, 100)])
async def test_nothing_shortens_a_suspension(tmp_path: Path, first: int, second: int) -> None:
    terms = {"seconds": {"type": "int", "minimum": 1, "maximum": 1000}}
    arguments = {**literals(scope=DUTY, pseudonym=PSEUDONYM), "seconds": "terms.seconds"}
    genesis, keys = contract_genesis(templates=[tool("suspend", arguments, terms)])
    async with open_story(tmp_path, genesis, keys) as story:
        toolbox = await begun(story, seconds=first)
        await story.applied(toolbox.member, instantiate("tool", b"u" * 16, {"seconds": second}))
        started = story.now
        assert await toolbox.use() == ""
        await story.applied(toolbox.member, transition(b"u" * 16, "use"))
        raw = await story.state(suspended_key(DUTY, PSEUDONYM))
        assert raw is not None
        assert suspended_until(raw) == max(started + first, started + 1 + second)


async def test_a_suspension_is_over_at_its_time(tmp_path: Path) -> None:
    arguments = literals(scope=DUTY, pseudonym=PSEUDONYM, seconds=100)
    genesis, keys = contract_genesis(templates=[tool("suspend", arguments)])
    async with open_story(tmp_path, genesis, keys) as story:
        scene = await ConsentScene.begin(story)
        toolbox = await begun(story)
        suspended = story.now
        assert await toolbox.use() == ""
        story.now = suspended + 99
        assert (await scene.open(scene.clinician)).reason == "PSEUDONYM_SUSPENDED"
        story.now = suspended + 100
        assert (await scene.open(scene.clinician)).applied


async def test_a_raised_epoch_ends_what_an_issuer_vouched_for(tmp_path: Path) -> None:
    genesis, keys = contract_genesis(templates=[tool("raise_epoch", literals(member="hospital-b"))])
    async with open_story(tmp_path, genesis, keys) as story:
        scene = await ConsentScene.begin(story)
        elsewhere = await story.staff("hospital-c", "clinician", "elsewhere")
        toolbox = await begun(story)
        assert await toolbox.use() == ""
        assert (await scene.open(scene.clinician)).reason == "EPOCH_OVER"
        presented = Presented(DUTY, "hospital-b", "staff", 1, "clinician", "another")
        act = register_pseudonym(story.genesis.chain_id, DUTY, seed_of("another"))
        assert (await story.act(presented, act)).reason == "EPOCH_OVER"
        named = consent_terms(story.now, grantee_member="", grantee_key=elsewhere.public_key)
        await story.applied(scene.owner, instantiate("consent", b"d" * 16, named))
        assert (await scene.open(elsewhere, consent=b"d" * 16)).applied  # of another issuer
        story.now += story.genesis.parameters.epoch_seconds
        later = await story.staff("hospital-b", "clinician", "later")
        assert isinstance(later, PseudonymSigner)  # the next epoch is as any other


async def test_nothing_is_raised_or_begun_for_who_is_no_member(tmp_path: Path) -> None:
    arguments = literals(member="hospital-x")
    genesis, keys = contract_genesis(templates=[tool("raise_epoch", arguments)])
    async with open_story(tmp_path, genesis, keys) as story:
        toolbox = await begun(story)
        decided = await story.applied(toolbox.member, transition(TOOL, "use"))
        assert not decided.orders


async def test_an_opening_for_nobody_begins_nothing(tmp_path: Path) -> None:
    arguments = literals(
        scope=DUTY, pseudonym=PSEUDONYM, ground="emergency-unreviewed", recipient="hospital-x"
    )
    genesis, keys = contract_genesis(templates=[tool("begin_opening", arguments)])
    async with open_story(tmp_path, genesis, keys) as story:
        toolbox = await begun(story)
        decided = await story.applied(toolbox.member, transition(TOOL, "use"))
        assert not decided.orders


@pytest.mark.parametrize(
    ("order", "arguments"),
    [
        ("notify", literals(kind="gossip", record=b"", recipients=[])),
        ("notify", literals(kind="emergency", record="text", recipients=[])),
        ("suspend", literals(scope=7, pseudonym=b"", seconds="long")),
        ("spend_budget", literals(budget=b"bytes", amount=1, limit=1)),
        ("register_template", literals(digest="text")),
        ("set_authorities", literals(member="hospital-a", authorities=7)),
        ("set_machine_version", literals(version="two", height=-1)),
        ("cut_studies", literals(permit=0)),
        ("erase_record", literals(record="text", custodian="hospital-a", members=[])),
        ("end_key", literals(source="text")),
        ("hand_over_key", literals(study=TOOL, source=1, holders=[], new=[], threshold=1)),
        ("reshare_key", literals(**RESHARING_STEP, source=7)),
    ],
)
async def test_what_a_template_gives_in_a_wrong_type_is_refused_and_stops_no_chain(
    tmp_path: Path, order: str, arguments: dict[str, Any]
) -> None:
    genesis, keys = contract_genesis(templates=[tool(order, arguments)])
    async with open_story(tmp_path, genesis, keys) as story:
        toolbox = await begun(story)
        assert await toolbox.use() == "NOT_RECORDED"


async def test_a_key_is_handed_over_by_a_contract_that_is_bound_to_it_alone(tmp_path: Path) -> None:
    others = list(MEMBERS[:3])
    given = literals(study=TOOL, source=KEY, holders=list(MEMBERS), new=others, threshold=3)
    genesis, keys = contract_genesis(templates=[tool("hand_over_key", given)])
    async with open_story(tmp_path, genesis, keys) as story:
        toolbox, key = await begun(story), await ready_key(story)
        result = await story.act(toolbox.member, transition(TOOL, "use"))
        assert (result.reason, result.message.split(":")[0]) == ("KEY_REFUSED", "sharing-bound")
        assert await story.state(key_holders_key(KEY)) is None
        assert await key.at() == "ready"


async def test_a_key_is_ended_by_the_contract_that_has_handed_it_over_alone(tmp_path: Path) -> None:
    genesis, keys = contract_genesis(templates=[tool("end_key", literals(source=KEY))])
    async with open_story(tmp_path, genesis, keys) as story:
        toolbox = await begun(story)
        missing = await story.act(toolbox.member, transition(TOOL, "use"))
        assert (missing.reason, missing.message.split(":")[0]) == ("KEY_REFUSED", "key-ready")
        key = await ready_key(story)
        for _ in range(2):  # before it was handed over, and after
            result = await story.act(toolbox.member, transition(TOOL, "use"))
            refused = result.reason, result.message.split(":")[0]
            assert refused == ("KEY_REFUSED", "sharing-in-force")
            assert await key.at() == "ready"
            await handed_over(key, MEMBERS, bytes([story.height]) * 16)


async def test_a_step_of_a_resharing_needs_a_key_that_is_ready(tmp_path: Path) -> None:
    given = literals(**RESHARING_STEP, source=KEY)
    genesis, keys = contract_genesis(templates=[tool("reshare_key", given)])
    async with open_story(tmp_path, genesis, keys) as story:
        toolbox = await begun(story)
        assert await toolbox.use() == "KEY_REFUSED"
        await ready_key(story)
        decided = await story.applied(toolbox.member, transition(TOOL, "use"))
        assert decided.orders[0].arguments["spec_digest"] == digest("columns")


async def test_registering_what_nobody_proposed_does_nothing(tmp_path: Path) -> None:
    genesis, keys = contract_genesis(
        templates=[tool("register_template", literals(digest=bytes(32)))]
    )
    async with open_story(tmp_path, genesis, keys) as story:
        toolbox = await begun(story)
        decided = await story.applied(toolbox.member, transition(TOOL, "use"))
        assert not decided.orders


def test_every_instruction_takes_exactly_its_arguments() -> None:
    for name, kind in INSTRUCTIONS.items():
        arguments = literals(**dict.fromkeys(sorted(kind.arguments)[:-1], 0))
        with pytest.raises(TemplateMalformed, match=name):
            compile_template(tool(name, arguments).document)
        arguments = literals(**dict.fromkeys(sorted(kind.arguments), 0), patient=0)
        with pytest.raises(TemplateMalformed, match="patient"):
            compile_template(tool(name, arguments).document)


def test_what_may_be_told_names_nobody() -> None:
    assert all(kind == kind.lower() and len(kind) <= 32 for kind in KINDS)


async def test_an_order_for_others_is_reported_by_nobody_else(story: Story) -> None:
    scene = await ConsentScene.begin(story)
    decided = await scene.opened(scene.clinician)
    place = decided.height, 0
    assert (await story.act(story.member("hospital-b"), report(place))).reason == "NOT_NAMED"
    await story.applied(story.member("hospital-a"), report(place))
    assert (await standing(story, CONSENT)).uses == 1
    assert decided.orders[0].arguments["record"] == RECORD
