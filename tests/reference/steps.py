"""Votes and reports: counting them, and what they lead to."""

from __future__ import annotations

from collections.abc import Sequence

from tests.reference import words
from tests.reference.instructions import STEPS
from tests.reference.machine import fall_back, judge, open_scene, succeed, take
from tests.reference.scenes import Scene
from tests.reference.templates import Document
from tests.reference.world import Actor, Refusal, World, order_key

TWO_THIRDS = "two_thirds_of_registry"


def vote(world: World, actor: Actor, said: words.Vote) -> None:
    """Count a vote, and take the transition or what it falls back to when it has decided."""
    scene = open_scene(world, said.instance, actor)
    transition = scene.template["transitions"].get(said.name)
    if transition is None or transition["kind"] != "vote":
        raise Refusal("TRANSITION_UNKNOWN")
    if scene.state not in transition["from"]:
        raise Refusal("STATE_FORBIDS")
    judge(scene, said.name)
    votes = {**scene.instance["variables"].get("votes", {}), actor.member: said.approve}
    voters = _voters(scene, transition)
    yes = sum(votes.get(member) is True for member in voters)
    no = sum(votes.get(member) is False for member in voters)
    needed = _votes_needed(scene, transition, len(voters))
    if yes >= needed:
        succeed(scene, said.name, {"votes": votes})
    elif len(voters) - no < needed:
        take(scene, transition["otherwise"], {"votes": votes})
    else:
        variables = {**scene.instance["variables"], "votes": votes}
        after = {**scene.instance, "variables": variables, "changed": world.height}
        world.put(b"instance/" + scene.id, after)


def _voters(scene: Scene, transition: Document) -> set[str]:
    """Return who may vote: the registry's members with a say, or those that the terms name."""
    found: set[str] = set()
    for name in transition["by"]:
        party = scene.template["parties"][name]
        match party["is"]:
            case "any_member":
                found.update(scene.world.active())
            case "other_member":
                found.update(set(scene.world.active()) - {scene.terms[party["member"]]})
            case "member_of":
                found.update(scene.terms[party["members"]])
            case other:
                raise NotImplementedError(other)
    return found


def _votes_needed(scene: Scene, transition: Document, voters: int) -> int:
    """Return how many votes decide now."""
    if transition["quorum"] != TWO_THIRDS:
        return _number(scene, transition["quorum"], voters)
    members = len(scene.world.active())
    more_than_two_thirds = members * 2 // 3 + 1
    if voters == members:
        return more_than_two_thirds
    return max(2, min(more_than_two_thirds, voters))


def _number(scene: Scene, quorum: str, named: int) -> int:
    """Return the number that a quorum names, or all."""
    root, _, name = quorum.partition(".")
    roots = {"terms": scene.terms, "variables": scene.instance["variables"]}
    found = roots.get(root, {}).get(name)
    return found if isinstance(found, int) else named


def report(world: World, actor: Actor, said: words.Report) -> None:
    """Keep a report, and move the contract that waits for it."""
    place = [said.height, said.index]
    key = order_key(said.height, said.index)
    entry = world.get(key)
    if entry is None:
        raise Refusal("ORDER_UNKNOWN")
    if actor.kind != "member" or actor.member not in entry["members"]:
        raise Refusal("NOT_NAMED")
    if any(earlier["member"] == actor.member for earlier in entry["reports"]):
        raise Refusal("ALREADY_REPORTED")
    new = {"member": actor.member, "done": said.done, "digest": said.digest}
    entry = {**entry, "reports": [*entry["reports"], new]}
    if entry["instruction"] in STEPS:
        _advance(world, place, entry)
    world.put(key, entry)
    if world.forgets_orders and _nobody_reports(world, place, entry):
        world.drop(key)


def _nobody_reports(world: World, place: list[int], entry: Document) -> bool:
    """Say whether no further report of an order can count."""
    reported = {one["member"] for one in entry["reports"]}
    if set(entry["members"]) & set(world.members()) <= reported:
        return True
    waits = world.instance(entry["instance"])["step"] == place
    return entry["instruction"] in STEPS and not waits


def _advance(world: World, place: list[int], entry: Document) -> None:
    scene = open_scene(world, entry["instance"])
    found = scene.waiting("report")
    if scene.instance["step"] != place or found is None:
        raise Refusal("ORDER_NOT_CURRENT")
    name, step = found
    last = entry["reports"][-1]
    wants_digest = step.get("agree") or "digests" in step.get("keep", {}).values()
    if last["done"] and wants_digest and not last["digest"]:
        raise Refusal("DIGEST_REQUIRED")
    if step["quorum"] == "custodian_and_guardians":
        _count_erasure(scene, (name, step), entry)
    else:
        _count(scene, (name, step), entry)


def _count(scene: Scene, found: tuple[str, Document], entry: Document) -> None:
    """Take the step when enough members have reported done, or fall back when they cannot."""
    (name, step), reports, named = found, entry["reports"], len(entry["members"])
    failed = [one for one in reports if not one["done"]]
    if failed and step.get("failures_end", True):
        fall_back(scene, step, "MEMBER_FAILED")
        return
    camps: dict[bytes, list[Document]] = {}
    for one in reports:
        if one["done"]:
            camps.setdefault(one["digest"] if step.get("agree") else b"", []).append(one)
    largest = max((len(camp) for camp in camps.values()), default=0)
    camp = next((camp for camp in camps.values() if len(camp) == largest), list[Document]())
    needed = _number(scene, step["quorum"], named)
    if largest >= needed:
        succeed(scene, name, _kept(step, camp[:needed]))
    elif largest + named - len(reports) < needed:
        split = step.get("agree") and len(camps) > 1
        why = "DISAGREED" if split else step.get("failure") or "MEMBER_FAILED"
        fall_back(scene, step, why)


def _count_erasure(scene: Scene, found: tuple[str, Document], entry: Document) -> None:
    """The custodian, and so many guardians that those left cannot give a key."""
    name, step = found
    assert scene.record is not None
    custodian = scene.record["parsed"].custodian
    guardians = set(scene.instance["variables"]["guardians"])
    done = [one for one in entry["reports"] if one["done"]]
    who_done = {one["member"] for one in done}
    who_failed = {one["member"] for one in entry["reports"]} - who_done
    may_fail = (len(guardians) - 1) // 3 if guardians else 0
    if custodian in who_done and len(guardians & who_done) >= len(guardians) - may_fail:
        succeed(scene, name, _kept(step, done))
    elif custodian in who_failed or len(guardians & who_failed) > may_fail:
        fall_back(scene, step, step.get("failure") or "MEMBER_FAILED")


def _kept(step: Document, agreed: Sequence[Document]) -> Document:
    """Return the variables that the deciding reports leave behind."""
    forms = {
        "digests": {one["member"]: one["digest"] for one in agreed},
        "agreed_digest": agreed[0]["digest"] if agreed else b"",
        "agreed_set": sorted(one["member"] for one in agreed),
    }
    return {name: forms[form] for name, form in step.get("keep", {}).items()}
