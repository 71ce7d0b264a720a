"""Contracts that end with another: what runs under a permit, or computes with a data key.

A permit or a key notes who depends on it, and moves them all when it ends.
"""

from __future__ import annotations

from cipherward_contract.blocks import Block
from cipherward_contract.instructions.kinds import NOTHING, Consequence, Move
from cipherward_contract.marks import NOTED, depends_end, depends_key, depends_start

# What one contract's end may have to cut in one block.
DEPENDENTS_MAX = 32
# The automatic transitions by which a contract ends: with its permit, with the key of its columns,
# with the sharing of a key that it has made.
PERMIT_ENDED, KEY_ENDED, SUPERSEDED = "permit_ended", "key_ended", "superseded"


def depend(block: Block, on: bytes, instance: bytes) -> bool:
    """Note that an instance ends with another, unless too many do; say whether it was noted.

    Those that have ended by themselves are forgotten.
    """
    if len(dependents(block, on)) >= DEPENDENTS_MAX:
        return False
    block.state.put(depends_key(on, instance), NOTED)
    return True


def dependents(block: Block, on: bytes) -> list[bytes]:
    """Return the instances that depend on another and have not ended; forget the others."""
    start = depends_start(on)
    found: list[bytes] = []
    for key, _ in block.state.scan(start, depends_end(on), DEPENDENTS_MAX):
        instance = key[len(start) :]
        if _is_over(block, instance):
            block.state.delete(key)
        else:
            found.append(instance)
    return found


def _is_over(block: Block, instance_id: bytes) -> bool:
    instance = block.instance(instance_id)
    compiled = block.catalogue.find(block.state, instance.origin.template, instance.origin.version)
    return compiled is None or instance.position.state in compiled.template.states.finals


def cut(block: Block, on: bytes, transition: str) -> Consequence:
    """Move every instance that depends on another by an automatic transition, and forget them."""
    start = depends_start(on)
    found = block.state.scan(start, depends_end(on), DEPENDENTS_MAX)
    for key, _ in found:
        block.state.delete(key)
    if not found:
        return NOTHING
    return Consequence(moves=tuple(Move(key[len(start) :], transition) for key, _ in found))
