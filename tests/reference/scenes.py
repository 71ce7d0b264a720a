"""A contract as a transition of it sees it, and what the expressions of its template stand for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from tests.reference.templates import Document
from tests.reference.world import NOBODY, Actor, Refusal, World


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
    match operation:
        case "least":
            return min(parts)
        case "zeros":
            return len([part for part in parts if part == 0])
        case _:
            return sum(parts)


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
        case "parameters":
            return world.get(b"parameters")
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
