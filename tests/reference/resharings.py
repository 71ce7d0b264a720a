"""A data key that goes over to other holders: who may begin that, and what the hand-over does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from tests.reference.dependents import (
    DEPENDENTS_MAX,
    NOTHING,
    Done,
    Effect,
    cut,
    holders_of,
    is_as_said,
    ready_key,
    running,
)
from tests.reference.templates import Document
from tests.reference.world import BARE, Actor, Refusal, World

Completion: TypeAlias = Callable[[World, Document], Document]


def _bind(world: World, instance: bytes, _: Actor, arguments: Document) -> Done:
    """Begin only with all holders of today that are members still, and their threshold."""
    source = arguments["source"]
    key, (members, threshold, _sharing) = ready_key(world, source), holders_of(world, source)
    there = [one for one in members if one in world.members()]
    same = arguments["holders"] == there and arguments["old_threshold"] == threshold
    if not same or not is_as_said(world, key, arguments):
        raise Refusal("KEY_REFUSED")
    if running(world, source) >= DEPENDENTS_MAX:
        raise Refusal("KEY_REFUSED")
    world.pairs[b"depends/" + source + b"/" + instance] = BARE
    return NOTHING


def _hand_over(world: World, instance: bytes, _: Actor, arguments: Document) -> Done:
    """Put the new holders in force; end what others have bound, and the sharing before."""
    source = arguments["source"]
    ready_key(world, source)
    own = b"depends/" + source + b"/" + instance
    if own not in world.pairs:
        raise Refusal("KEY_REFUSED")
    world.drop(own)
    _members, _threshold, before = holders_of(world, source)
    entry = {
        "members": arguments["new"],
        "threshold": arguments["threshold"],
        "sharing": instance,
    }
    world.put(b"key_holders/" + source, entry)
    others = [(one, "key_ended") for one in cut(world, source)]
    replaced = [(before, "superseded")] if before else []
    return Done(moves=(*others, *replaced))


def _end(world: World, instance: bytes, _: Actor, arguments: Document) -> Done:
    """End a key, by the contract that has handed it over to those who hold it."""
    source = arguments["source"]
    ready_key(world, source)
    if holders_of(world, source)[2] != instance:
        raise Refusal("KEY_REFUSED")
    world.drop(b"key_holders/" + source)
    return Done(moves=((source, "end"),))


def _of_the_key(world: World, arguments: Document) -> Document:
    key = ready_key(world, arguments["source"])
    names = ("key_digest", "evaluation_digest", "column_commitments")
    return {
        "spec_digest": world.get_terms(key)["spec_digest"],
        **{name: key["variables"][name] for name in names},
    }


def _of_the_hand_over(world: World, arguments: Document) -> Document:
    key = ready_key(world, arguments["source"])
    both = set(arguments["holders"]) | set(arguments["new"])
    return {"key_digest": key["variables"]["key_digest"], "members": sorted(both)}


RESHARING_EFFECTS: Mapping[str, Effect] = {
    "bind_sharing": _bind,
    "end_key": _end,
    "hand_over_key": _hand_over,
}
# What an order says besides what its template gives.
COMPLETIONS: Mapping[str, Completion] = {
    "hand_over_key": _of_the_hand_over,
    "reshare_key": _of_the_key,
}
