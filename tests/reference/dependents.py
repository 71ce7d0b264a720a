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
    if not all(fits) or running(world, arguments["permit"]) >= DEPENDENTS_MAX:
        raise Refusal("PERMIT_REFUSED")
    world.pairs[b"depends/" + arguments["permit"] + b"/" + instance] = BARE
    return NOTHING


def running(world: World, on: bytes) -> int:
    """Return how many contracts depend on another and have not ended; forget the others."""
    prefix, running = b"depends/" + on + b"/", 0
    for key in world.under(prefix):
        found = world.instance(key[len(prefix) :])
        if found["state"] in world.template(found["template"], found["version"])["finals"]:
            world.drop(key)
        else:
            running += 1
    return running


def ready_key(world: World, source: bytes) -> Document:
    """Return the entry of a data key that is ready, or refuse."""
    found = world.get(b"instance/" + source)
    if found is None or (found["template"], found["state"]) != ("data-key", "ready"):
        raise Refusal("KEY_REFUSED")
    return found


def is_as_said(world: World, key: Document, said: Document) -> bool:
    """Say whether what a contract says of a key is so, its holders left out."""
    terms = world.get_terms(key)
    same = all(said[name] == terms[name] for name in ("data_set", "releases_max"))
    same = same and said["key_digest"] == key["variables"]["key_digest"]
    return same and said["minimum"] >= terms["minimum"]


def holders_of(world: World, source: bytes) -> tuple[list[str], int, bytes]:
    """Return who holds a key, how many decrypt, and which contract handed it over, if one has."""
    entry = world.get(b"key_holders/" + source)
    if entry is not None:
        return entry["members"], entry["threshold"], entry["sharing"]
    terms = world.get_terms(world.instance(source))
    return terms["members"], terms["threshold"], b""


def _bind_key(world: World, instance: bytes, _: Actor, arguments: Document) -> Done:
    """Bind a contract to a data key, if it says of the key what the key is."""
    source = arguments["source"]
    key = ready_key(world, source)
    if not is_as_said(world, key, arguments):
        raise Refusal("KEY_REFUSED")
    if arguments["members"] != holders_of(world, source)[0]:
        raise Refusal("KEY_REFUSED")
    if running(world, source) >= DEPENDENTS_MAX:
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
    if left > 0 or running(world, source):
        return NOTHING
    return Done(ordered=False, moves=((source, "spent"), *_hear_of_the_end(world, source)))


def _cut_studies(world: World, _: bytes, __: Actor, arguments: Document) -> Done:
    found = cut(world, arguments["permit"])
    return Done(moves=tuple((one, "permit_ended") for one in found)) if found else NOTHING


def _cut_key_uses(world: World, _: bytes, __: Actor, arguments: Document) -> Done:
    source = arguments["source"]
    users = [(one, "key_ended") for one in cut(world, source)]
    moves = (*users, *_hear_of_the_end(world, source))
    return Done(moves=moves) if moves else NOTHING


def _hear_of_the_end(world: World, source: bytes) -> list[tuple[bytes, str]]:
    """A key that ends takes along the contract that has handed it over, if one has."""
    entry = world.get(b"key_holders/" + source)
    world.drop(b"key_holders/" + source)
    return [] if entry is None else [(entry["sharing"], "key_ended")]


def cut(world: World, on: bytes) -> list[bytes]:
    """Return what depends on a contract, which is forgotten."""
    prefix = b"depends/" + on + b"/"
    found = world.under(prefix)[:DEPENDENTS_MAX]
    for key in found:
        world.drop(key)
    return [key[len(prefix) :] for key in found]


STUDY_EFFECTS: Mapping[str, Effect] = {
    "bind_key": _bind_key,
    "bind_permit": _bind,
    "cut_key_uses": _cut_key_uses,
    "cut_studies": _cut_studies,
    "free_key": _free_key,
}
