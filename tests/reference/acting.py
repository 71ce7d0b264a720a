"""What every act does, told one after another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.canonical import encode
from tests.reference import words
from tests.reference.machine import (
    Scene,
    judge,
    new_instance,
    open_scene,
    scene_of,
    take,
    timer_due,
    timer_of,
)
from tests.reference.steps import report, vote
from tests.reference.templates import Document
from tests.reference.values import in_order
from tests.reference.world import Actor, Refusal, World, timer_key

PROPOSALS_MAX = 4  # of a block
ALLOWED_MAX = 16


def perform(world: World, actor: Actor, act: words.Act) -> Actor:
    """Do what an act says, or refuse; return who acts from then on."""
    if isinstance(act, words.Tick):
        return actor
    if actor.lapsed and not isinstance(act, (words.Move, words.Instantiate)):
        raise Refusal(actor.lapsed)
    if isinstance(act, words.Register):
        return _register(world, actor, act)
    _ACTS[type(act)](world, actor, act)
    return actor


def _register(world: World, actor: Actor, act: words.Register) -> Actor:
    if not actor.shown:
        raise Refusal("PRESENTATION_REQUIRED")
    held = world.get(b"key/" + act.public_key)
    if held is not None:
        same = (held["scope"], held["pseudonym"]) == (actor.scope, actor.pseudonym)
        if not same or held["epoch"] == world.epoch:
            raise Refusal("KEY_REGISTERED")
    name = b"nym/" + actor.scope.encode() + b"/" + actor.pseudonym
    other = world.pairs.get(name, act.public_key)
    if other != act.public_key and world.get(b"key/" + other)["epoch"] == world.epoch:
        raise Refusal("PSEUDONYM_REGISTERED")
    entry = {
        "pseudonym": actor.pseudonym,
        "scope": actor.scope,
        "issuer": actor.member,
        "schema": actor.schema,
        "role": actor.role,
        "epoch": world.epoch,
        "height": world.height,
        "opening": b"",
        "opening_epoch": 0,
    }
    world.put(b"key/" + act.public_key, entry)
    world.pairs[name] = act.public_key
    return replace(actor, key=act.public_key, shown=False)


def _anchor(world: World, actor: Actor, act: words.Anchor) -> None:
    anchor = pb.RecordAnchor.FromString(act.anchor)
    if actor.kind != "member" or actor.member != anchor.author:
        raise Refusal("NOT_THE_AUTHOR")
    if anchor.custodian not in world.members():
        raise Refusal("MEMBER_NOT_IN_REGISTRY")
    key = b"record/" + anchor.record_id
    held = world.get(key)
    if held is not None:
        same = (held["anchor"], held["slot_digest"]) == (act.anchor, act.slot_digest)
        if held["owner"] or not act.owner or not same:
            raise Refusal("RECORD_EXISTS")
        if world.erased(anchor.record_id):
            raise Refusal("RECORD_ERASED")
    else:
        _check_suite(world, anchor)
    if act.owner:
        owner = world.get(b"key/" + act.owner)
        scope = f"record:{anchor.record_id.hex()}"
        if owner is None or (owner["scope"], owner["epoch"]) != (scope, world.epoch):
            raise Refusal("OWNER_NOT_REGISTERED")
    entry = {"anchor": act.anchor, "owner": act.owner, "slot_digest": act.slot_digest}
    world.put(key, {**entry, "height": world.height, "allowed": []})


def _check_suite(world: World, anchor: pb.RecordAnchor) -> None:
    if anchor.suite < world.get(b"parameters")["minimum_suite"]:
        raise Refusal("SUITE_TOO_OLD")
    key = b"groupkey/record/" + anchor.key_epoch.to_bytes(8, "big")
    if anchor.suite >= 2 and key not in world.pairs:
        raise Refusal("KEY_EPOCH_UNKNOWN")


def _instantiate(world: World, actor: Actor, act: words.Instantiate) -> None:
    template = world.active_template(act.template, act.version)
    start = template["transitions"]["instantiate"]
    if actor.lapsed and not start.get("gives_up_rights"):
        raise Refusal(actor.lapsed)
    if b"instance/" + act.instance in world.pairs:
        raise Refusal("INSTANCE_EXISTS")
    if not in_order(world, template["terms"], act.terms):
        raise Refusal("TERMS_MALFORMED")
    made_from = act.template, act.version, encode(act.terms)
    fresh = new_instance(world, made_from, actor.key)
    scene = scene_of(world, act.instance, fresh, actor)
    _check_record(scene)
    judge(scene, "instantiate")
    take(scene, "instantiate")


def _check_record(scene: Scene) -> None:
    """The record must be of somebody, name the template that would release it, and be there."""
    record, template = scene.record, scene.template
    if record is None:
        return
    if not record["owner"] and not template.get("unclaimed"):
        raise Refusal("RECORD_UNCLAIMED")
    releases = any(
        item["order"] == "release_key"
        for transition in template["transitions"].values()
        for item in transition.get("instructions", [])
    )
    name = f"{template['name']}/{template['version']}"
    named = (*record["parsed"].release_templates, *record["allowed"])
    if releases and name not in named:
        raise Refusal("TEMPLATE_NOT_ALLOWED")
    if scene.world.erased(record["parsed"].record_id):
        raise Refusal("RECORD_ERASED")


def _move(world: World, actor: Actor, act: words.Move) -> None:
    scene = open_scene(world, act.instance, actor)
    transition = scene.template["transitions"].get(act.name)
    if transition is None or transition["kind"] != "transition" or act.name == "instantiate":
        raise Refusal("TRANSITION_UNKNOWN")
    if actor.lapsed and not transition.get("gives_up_rights"):
        raise Refusal(actor.lapsed)
    if scene.state not in transition["from"]:
        raise Refusal("STATE_FORBIDS")
    if not in_order(world, transition.get("arguments", {}), act.arguments):
        raise Refusal("ARGUMENTS_MALFORMED")
    scene.arguments = dict(act.arguments)
    judge(scene, act.name)
    take(scene, act.name)


def _propose(world: World, actor: Actor, act: words.Propose) -> None:
    if actor.kind != "member":
        raise Refusal("NOT_A_PARTY")
    if world.proposals >= PROPOSALS_MAX:
        raise Refusal("TEMPLATE_REFUSED")
    world.proposals += 1
    version = world.newest("template-adoption")
    place = f"template/{act.template}/{act.version}".encode()
    if not act.sound or place in world.pairs:
        raise Refusal("TEMPLATE_REFUSED")
    digest = hashlib.sha256(act.document).digest()
    world.pairs[b"proposal/" + digest] = act.document
    terms: Document = {
        "digest": digest,
        "name": act.template,
        "version": act.version,
        "vote_seconds": act.vote_seconds,
    }
    wanted = words.Instantiate("template-adoption", version, act.instance, terms)
    _instantiate(world, actor, wanted)


def _allow(world: World, actor: Actor, act: words.Allow) -> None:
    record = world.record(act.record)
    if not actor.key or actor.key != record["owner"]:
        raise Refusal("NOT_A_PARTY")
    if world.erased(act.record):
        raise Refusal("RECORD_ERASED")
    name, _, version = act.template.rpartition("/")
    world.active_template(name, int(version))
    allowed = record["allowed"]
    if act.template in (*record["parsed"].release_templates, *allowed):
        return
    if len(allowed) >= ALLOWED_MAX:
        raise Refusal("TEMPLATE_NOT_ALLOWED")
    del record["parsed"]
    world.put(b"record/" + act.record, {**record, "allowed": sorted([*allowed, act.template])})


def _upgrade(world: World, actor: Actor, act: words.Upgrade) -> None:
    scene = open_scene(world, act.instance, actor)
    before = scene.instance
    owner = scene.record["owner"] if scene.record else b""
    if not actor.key or actor.key not in (before["creator"], owner):
        raise Refusal("NOT_A_PARTY")
    if act.version == before["version"]:
        raise Refusal("UPGRADE_REFUSED")
    old, scene.template = scene.template, world.active_template(before["template"], act.version)
    _check_record(scene)
    if scene.state not in scene.template["states"]:
        raise Refusal("INSTANCE_NOT_IN_STATE")
    if scene.state in old["finals"] or before["step"]:
        raise Refusal("UPGRADE_REFUSED")
    if not in_order(world, scene.template["terms"], scene.terms):
        raise Refusal("UPGRADE_REFUSED")
    after = {**before, "version": act.version, "changed": world.height}
    after["variables"] = {k: v for k, v in before["variables"].items() if k != "votes"}
    scene.variables = after["variables"]
    after["timer"] = _earlier(scene, before["timer"])
    world.put(b"instance/" + act.instance, after)


def _earlier(scene: Scene, due: int) -> int:
    """Start the timer that the new version has for the state; nothing makes it later."""
    if due:
        scene.world.drop(timer_key(due, scene.id))
    timer = timer_of(scene.template, scene.state)
    if timer is None:
        return 0
    due = min(due or timer_due(scene, timer), timer_due(scene, timer))
    scene.world.put(timer_key(due, scene.id), {"transition": timer["transition"]})
    return due


_ACTS: Mapping[type, Callable[[World, Actor, Any], None]] = {
    words.Allow: _allow,
    words.Anchor: _anchor,
    words.Instantiate: _instantiate,
    words.Move: _move,
    words.Propose: _propose,
    words.Report: report,
    words.Upgrade: _upgrade,
    words.Vote: vote,
}
