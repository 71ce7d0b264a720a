"""What depends on a permit or on a data key: who begins under one, and who ends with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tests.reference.templates import Document
from tests.reference.world import BARE, Actor, Refusal, World

DEPENDENTS_MAX = 32


@dataclass(frozen=True, slots=True)
class Begun:
    """A contract that another begins; `made_from`: template, version, terms."""

    instance: bytes
    made_from: tuple[str, int, bytes]


@dataclass(frozen=True, slots=True)
class Done:
    """What is left to do when an instruction was carried out; `moves` are automatic."""

    ordered: bool = True
    begins: tuple[Begun, ...] = ()
    moves: tuple[tuple[bytes, str], ...] = ()


NOTHING = Done(ordered=False)
Effect: TypeAlias = Callable[[World, bytes, Actor, Document], Done]


def _bind(world: World, instance: bytes, actor: Actor, arguments: Document) -> Done:
    """Bind a study to a permit, if the permit covers it in every respect."""
    found = world.get(b"instance/" + arguments["permit"])
    if found is None or (found["template"], found["state"]) != ("data-permit", "granted"):
        raise Refusal("PERMIT_REFUSED")
    terms = world.get_terms(found)
    fits = (
        actor.member == terms["user_member"],
        terms["user_key"] in (b"", actor.key),
        arguments["data_set"] in terms["data_sets"],
        set(arguments["outputs"]) <= set(terms["outputs"]),
        set(arguments["members"]) <= set(terms["holders"]),
        arguments["minimum"] >= terms["minimum"],
        arguments["releases_max"] == terms["releases_max"],
        terms["expires"] > world.now,
    )
    if not all(fits) or _running(world, arguments["permit"]) >= DEPENDENTS_MAX:
        raise Refusal("PERMIT_REFUSED")
    world.pairs[b"depends/" + arguments["permit"] + b"/" + instance] = BARE
    return NOTHING


def _running(world: World, on: bytes) -> int:
    """Return how many contracts depend on another and have not ended; forget the others."""
    prefix, running = b"depends/" + on + b"/", 0
    for key in world.under(prefix):
        found = world.instance(key[len(prefix) :])
        if found["state"] in world.template(found["template"], found["version"])["finals"]:
            world.drop(key)
        else:
            running += 1
    return running


def _bind_key(world: World, instance: bytes, _: Actor, arguments: Document) -> Done:
    """Bind a contract to a data key, if it says of the key what the key is."""
    source = arguments["source"]
    found = world.get(b"instance/" + source)
    if found is None or (found["template"], found["state"]) != ("data-key", "ready"):
        raise Refusal("KEY_REFUSED")
    terms = world.get_terms(found)
    same = all(arguments[name] == terms[name] for name in ("data_set", "members", "releases_max"))
    same = same and arguments["key_digest"] == found["variables"]["key_digest"]
    if not same or arguments["minimum"] < terms["minimum"]:
        raise Refusal("KEY_REFUSED")
    if _running(world, source) >= DEPENDENTS_MAX:
        raise Refusal("KEY_REFUSED")
    world.pairs[b"depends/" + source + b"/" + instance] = BARE
    return NOTHING


def _free_key(world: World, instance: bytes, _: Actor, arguments: Document) -> Done:
    """Forget who used a key; with nothing left to give and nobody else, the key ends."""
    source = arguments["source"]
    world.drop(b"depends/" + source + b"/" + instance)
    found = world.get(b"instance/" + source)
    if found is None or (found["template"], found["state"]) != ("data-key", "ready"):
        return NOTHING
    budget = world.get(f"budget/{source.hex()}/releases".encode())
    left = world.get_terms(found)["releases_max"] - (budget["spent"] if budget else 0)
    if left > 0 or _running(world, source):
        return NOTHING
    return Done(ordered=False, moves=((source, "spent"),))


def _cut_studies(world: World, _: bytes, __: Actor, arguments: Document) -> Done:
    return _cut(world, arguments["permit"], "permit_ended")


def _cut_key_uses(world: World, _: bytes, __: Actor, arguments: Document) -> Done:
    return _cut(world, arguments["source"], "key_ended")


def _cut(world: World, on: bytes, transition: str) -> Done:
    prefix = b"depends/" + on + b"/"
    found = world.under(prefix)[:DEPENDENTS_MAX]
    for key in found:
        world.drop(key)
    if not found:
        return NOTHING
    return Done(moves=tuple((key[len(prefix) :], transition) for key in found))


STUDY_EFFECTS: Mapping[str, Effect] = {
    "bind_key": _bind_key,
    "bind_permit": _bind,
    "cut_key_uses": _cut_key_uses,
    "cut_studies": _cut_studies,
    "free_key": _free_key,
}
