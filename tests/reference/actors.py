"""Who acts, as far as the state lets them."""

from __future__ import annotations

import re

from tests.reference import words
from tests.reference.instructions import suspended_key
from tests.reference.world import Actor, Refusal, World


def actor_of(world: World, by: words.By) -> Actor:
    """Return who acts, or refuse."""
    if isinstance(by, words.ByMember):
        return _member(world, by)
    return _registered(world, by) if isinstance(by, words.ByKey) else _shown(world, by)


def _member(world: World, by: words.ByMember) -> Actor:
    entry = world.members().get(by.member)
    if entry is None or entry["public_key"] != by.public_key:
        raise Refusal("MEMBER_UNKNOWN")
    if entry["suspended"]:
        raise Refusal("MEMBER_SUSPENDED")
    return Actor("member", by.public_key, by.member)


def _registered(world: World, by: words.ByKey) -> Actor:
    found = world.get(b"key/" + by.public_key)
    if found is None:
        raise Refusal("KEY_NOT_REGISTERED")
    lapsed = ""
    if found["epoch"] != world.epoch:
        lapsed = "EPOCH_OVER"
    elif found["issuer"] not in world.members():
        lapsed = "ISSUER_UNKNOWN"
    elif found["schema"] == "staff" and found["issuer"] not in world.active():
        lapsed = "MEMBER_SUSPENDED"
    elif found["schema"] == "staff" and _is_suspended(world, found["scope"], found["pseudonym"]):
        lapsed = "PSEUDONYM_SUSPENDED"
    return Actor(
        "pseudonym",
        by.public_key,
        found["issuer"],
        found["schema"],
        found["role"],
        found["scope"],
        found["pseudonym"],
        lapsed=lapsed,
    )


def _is_suspended(world: World, scope: str, pseudonym: bytes) -> bool:
    found = world.get(suspended_key(scope, pseudonym))
    return found is not None and world.now < found["until"]


def _shown(world: World, by: words.ByShown) -> Actor:
    issuer = world.get(b"issuer/" + by.issuer_key)
    if issuer is None:
        raise Refusal("ISSUER_UNKNOWN")
    if by.issuer != issuer["member"] or by.schema not in issuer["schemas"]:
        raise Refusal("PRESENTATION_REFUSED")
    if by.epoch != world.epoch:
        raise Refusal("EPOCH_OVER")
    if by.schema == "staff":
        known_in = by.scope == f"duty:{by.issuer}:{by.epoch}"
    else:
        known_in = re.fullmatch("(record|study):[0-9a-f]{32}", by.scope) is not None
    if not known_in:
        raise Refusal("SCOPE_REFUSED")
    if by.schema == "staff":
        if by.issuer not in world.active():
            raise Refusal("MEMBER_SUSPENDED")
        if _is_suspended(world, by.scope, by.pseudonym):
            raise Refusal("PSEUDONYM_SUSPENDED")
        if not by.role:
            raise Refusal("PRESENTATION_REFUSED")
    return Actor(
        "pseudonym", b"", by.issuer, by.schema, by.role, by.scope, by.pseudonym, shown=True
    )
