"""Taking a transition: what it sets, orders, arms and leaves behind. Every step in the open."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from tests.reference.instructions import EXECUTORS, STEPS, carry_out, obstacle
from tests.reference.permits import MAY, Asked, is_party
from tests.reference.templates import Document
from tests.reference.world import NOBODY, Actor, Refusal, World, order_key, timer_key

TIMERS_MAX = 256


@dataclass(slots=True)
class Scene:
    """A contract, as a transition of it sees it."""

    world: World
    id: bytes
    instance: Document
    template: Document
    terms: Document
    record: Document | None
    actor: Actor = NOBODY
    arguments: Document = field(default_factory=dict[str, Any])
    variables: Document = field(default_factory=dict[str, Any])

    @property
    def state(self) -> str:
        return self.instance["state"]

    def transition(self, name: str) -> Document:
        return self.template["transitions"][name]

    def waiting(self, kind: str) -> tuple[str, Document] | None:
        """Return the transition of a kind that leaves the present state."""
        return leaving(self.template, self.state, kind)


def leaving(template: Document, state: str, kind: str) -> tuple[str, Document] | None:
    """Return the transition of a kind that leaves a state."""
    for name, transition in template["transitions"].items():
        if transition["kind"] == kind and state in transition.get("from", []):
            return name, transition
    return None


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


def evaluate(scene: Scene, expression: Any) -> Any:
    """Return what an expression of a template stands for, or refuse."""
    if isinstance(expression, str):
        root, _, name = expression.partition(".")
        found = _root(scene, root)
        if name not in found:
            raise Refusal("NOT_RECORDED")
        return found[name]
    ((operation, inside),) = expression.items()
    if operation == "value":
        return inside
    parts = [evaluate(scene, part) for part in inside]
    if operation == "joined":
        return "/".join(part.hex() if isinstance(part, bytes) else part for part in parts)
    return min(parts) if operation == "least" else sum(parts)


def _root(scene: Scene, root: str) -> Document:
    world, actor, record = scene.world, scene.actor, scene.record
    match root:
        case "terms":
            return scene.terms
        case "arguments":
            return scene.arguments
        case "variables":
            return scene.variables
        case "instance":
            return {"id": scene.id}
        case "block":
            return {"time": world.now, "seed": _seed(world, scene.id)}
        case "actor":
            names = ("key", "member", "pseudonym", "scope", "role")
            return {name: getattr(actor, name) for name in names}
        case "record":
            assert record is not None
            return _described(world, record)
        case _:  # nobody can be opened here, and no ceremony runs
            raise Refusal("NOT_RECORDED")


def _described(world: World, record: Document) -> Document:
    anchor = record["parsed"]
    guardians = world.guardians(anchor.key_epoch)
    return {
        "id": anchor.record_id,
        "owner": record["owner"],
        "author": anchor.author,
        "custodian": anchor.custodian,
        "anchor_digest": hashlib.sha256(record["anchor"]).digest(),
        "slot_digest": record["slot_digest"],
        "key_epoch": anchor.key_epoch,
        "guardians": guardians,
        "members": sorted({*guardians, anchor.custodian}),
        "keepers": sorted({anchor.author, anchor.custodian}),
    }


def _seed(world: World, instance: bytes) -> bytes:
    chain = world.get(b"parameters")["chain_id"].encode()
    octets = len(chain).to_bytes(4, "big") + chain + world.height.to_bytes(8, "big") + instance
    return hashlib.sha256(b"cipherward/ceremony-seed/v1\0" + octets).digest()


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
    if why:
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
        keep = {"failure": "DEADLINE_PASSED"} if "after" in timer["when"] else {}
        take(scene, world.get(key)["transition"], keep)
