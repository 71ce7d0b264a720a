"""Taking a transition: what it sets, orders, arms and leaves behind. Every step in the open."""

from __future__ import annotations

from typing import Any

from tests.reference.instructions import EXECUTORS, STEPS, carry_out, completed, obstacle
from tests.reference.permits import MAY, Asked, is_party
from tests.reference.scenes import Scene, evaluate
from tests.reference.templates import Document
from tests.reference.world import NOBODY, Actor, Refusal, World, order_key, timer_key

TIMERS_MAX = 256


def open_scene(world: World, instance_id: bytes, actor: Actor = NOBODY) -> Scene:
    """Return the scene of a contract of the state, or refuse."""
    return scene_of(world, instance_id, world.instance(instance_id), actor)


def scene_of(world: World, instance_id: bytes, instance: Document, actor: Actor) -> Scene:
    """Return the scene of a contract, whether it is in the state yet or not."""
    template = world.template(instance["template"], instance["version"])
    terms = world.get_terms(instance)
    record = world.record(terms[template["object"]]) if template["object"] else None
    return Scene(world, instance_id, instance, template, terms, record, actor)


def new_instance(world: World, made_from: tuple[str, int, bytes], creator: bytes) -> Document:
    """Return a contract that is in no state yet. `made_from`: template, version, terms."""
    return {
        "template": made_from[0],
        "version": made_from[1],
        "terms": made_from[2],
        "creator": creator,
        "created": world.height,
        "state": "",
        "timer": 0,
        "step": [],
        "variables": {},
        "uses": 0,
        "changed": 0,
    }


def judge(scene: Scene, name: str) -> None:
    """Refuse unless the actor may take the transition now."""
    asked = Asked(
        scene.actor,
        scene.instance,
        scene.terms,
        scene.record,
        scene.arguments,
        scene.world.now,
    )
    if not MAY[scene.template["name"], name](asked):
        raise Refusal("POLICY_DENIED")
    parties = scene.template["parties"]
    if not any(is_party(parties[party], asked) for party in scene.transition(name)["by"]):
        raise Refusal("NOT_A_PARTY")


def take(scene: Scene, name: str, keep: Document | None = None) -> None:
    """Take a transition that was judged, with what reports or votes leave behind."""
    world, before, transition = scene.world, scene.instance, scene.transition(name)
    scene.variables = {**before["variables"], **(keep or {})}
    for variable, expression in transition.get("sets", {}).items():
        scene.variables[variable] = evaluate(scene, expression)
    if transition.get("spends"):
        digest = spent_digest(scene, transition)
        world.pairs[b"digest/" + digest] = scene.id
    step = _order_all(scene, transition)
    after: Document = {**before, "variables": scene.variables, "changed": world.height}
    after["uses"] += bool(transition.get("counts_use"))
    if transition["to"] != before["state"]:
        after["state"] = transition["to"]
        after["step"] = _awaited(scene, transition, step)
        after["timer"] = _arm(scene, transition["to"])
    scene.instance = after
    world.put(b"instance/" + scene.id, after)


def spent_digest(scene: Scene, transition: Document) -> bytes:
    """Return the digest that a transition spends, or refuse."""
    digest = scene.variables.get(transition["spends"])
    if not isinstance(digest, bytes) or not digest:
        raise Refusal("NOT_RECORDED")
    return digest


def _order_all(scene: Scene, transition: Document) -> list[int]:
    """Give every instruction; return the place of the order to be waited for, or nothing."""
    step: list[int] = []
    for item in transition.get("instructions", []):
        name = item["order"]
        arguments = {key: evaluate(scene, value) for key, value in item["with"].items()}
        done = carry_out(scene.world, scene.id, scene.actor, (name, arguments))
        for begun in done.begins:
            fresh = new_instance(scene.world, begun.made_from, b"")
            take(scene_of(scene.world, begun.instance, fresh, NOBODY), "instantiate")
        for other, automatic in done.moves:
            _move(scene.world, other, automatic)
        if not done.ordered:
            continue
        arguments = completed(scene.world, name, arguments)
        named = arguments.get(EXECUTORS.get(name, ""), [])
        members = [named] if isinstance(named, str) else sorted(named)
        by = scene.id, scene.template["name"]
        place = scene.world.order(by, name, arguments, members)
        step = list(place) if name in STEPS else step
    return step


def _move(world: World, instance_id: bytes, name: str) -> None:
    """Take an automatic transition of another contract, if it stands where it can be taken."""
    scene = open_scene(world, instance_id)
    transition = scene.template["transitions"].get(name)
    if transition is None or transition["kind"] != "automatic":
        return
    if scene.state in transition["from"]:
        take(scene, name)


def _awaited(scene: Scene, transition: Document, step: list[int]) -> list[int]:
    """Return the place of the order that the state that is entered waits for."""
    before = scene.instance["step"]
    if not step and before:
        waiting = scene.waiting("report")
        if waiting is not None and transition["to"] in waiting[1]["from"]:
            return before
    if before and scene.world.forgets_orders:
        scene.world.drop(order_key(*before))
    return step


def _arm(scene: Scene, state: str) -> int:
    """Stop the timer that runs and start that of a state; return when it is due, or 0."""
    if scene.instance["timer"]:
        scene.world.drop(timer_key(scene.instance["timer"], scene.id))
    timer = timer_of(scene.template, state)
    if timer is None:
        return 0
    due = timer_due(scene, timer)
    scene.world.put(timer_key(due, scene.id), {"transition": timer["transition"]})
    return due


def timer_of(template: Document, state: str) -> Document | None:
    """Return the timer of a state."""
    return next((timer for timer in template["timers"] if state in timer["states"]), None)


def timer_due(scene: Scene, timer: Document) -> int:
    """Return when a timer that starts now is due."""
    when = timer["when"]
    if "due" in when:
        return max(0, evaluate(scene, when["due"]))
    return max(0, scene.world.now + evaluate(scene, when["after"]))


def succeed(scene: Scene, name: str, keep: Document) -> None:
    """Take a step's transition, or what it falls back to when something is spent."""
    transition = scene.transition(name)
    scene.variables = {**scene.instance["variables"], **keep}
    why = ""
    if transition.get("spends"):
        spent = b"digest/" + spent_digest(scene, transition)
        why = "DIGEST_RELEASED" if spent in scene.world.pairs else ""
    for item in transition.get("instructions", []):
        if not why and item["order"] == "spend_budget":
            arguments = {key: evaluate(scene, value) for key, value in item["with"].items()}
            why = obstacle(scene.world, arguments)
    if why and transition.get("exhausted"):
        take(scene, transition["exhausted"], keep)
    elif why:
        fall_back(scene, transition, why)
    else:
        take(scene, name, keep)


def fall_back(scene: Scene, transition: Document, failure: str) -> None:
    """Take what a step falls back to, and record why."""
    take(scene, transition["otherwise"], {"failure": failure} if failure else {})


def fire_timers(world: World) -> None:
    """Take the transitions of the timers that are due, by due time and then by contract.

    A timer that an earlier one of the block has stopped is not due any more.
    """
    ends = b"timer/" + (world.now + 1).to_bytes(8, "big")
    for key in [key for key in world.under(b"timer/") if key < ends][:TIMERS_MAX]:
        if key not in world.pairs:
            continue
        scene = open_scene(world, key[len(b"timer/") + 8 :])
        timer = timer_of(scene.template, scene.state)
        assert timer is not None
        name, keep = world.get(key)["transition"], dict[str, Any]()
        if "after" in timer["when"]:
            keep = {"failure": "DEADLINE_PASSED", **_silent(scene)}
        if scene.transition(name).get("exhausted"):
            keep.pop("failure", None)
            succeed(scene, name, keep)
        else:
            take(scene, name, keep)


def _silent(scene: Scene) -> Document:
    """Return who still owes a report of the order that the contract waits for."""
    step = scene.instance["step"]
    entry = scene.world.get(order_key(*step)) if step else None
    if entry is None:
        return {}
    heard = [one["member"] for one in entry["reports"]]
    return {"silent": [member for member in sorted(entry["members"]) if member not in heard]}
