"""A data key goes over to other holders, and nobody encrypts anything anew.

`bind_sharing` begins only with the holders of today; `reshare_key` is each step that members carry
out; `hand_over_key` puts the new sharing in force in its block, and ends all that was bound to the
old one; `end_key` ends the key, which its holders of today decide by the contract that made them.
"""

from __future__ import annotations

from collections.abc import Mapping

from cipherward_chain.canonical import Value
from cipherward_chain.fields import Fields
from cipherward_chain.key_holders import KeyHolders, key_holders_key
from cipherward_contract.blocks import Block
from cipherward_contract.instructions.data_keys import use
from cipherward_contract.instructions.depending import KEY_ENDED, SUPERSEDED, cut
from cipherward_contract.instructions.key_holders import (
    holders_of,
    key_refused,
    ready_key,
    require_so,
)
from cipherward_contract.instructions.kinds import NOTHING, Consequence, Given, Move, ordered, own
from cipherward_contract.marks import depends_key

# The automatic transition by which a data key ends when its holders of today end it.
END = "end"


def _bind(block: Block, given: Given) -> Consequence:
    fields = given.fields()
    key = ready_key(block, fields.octets("source"))
    require_so(key, fields)
    now = holders_of(block, key)
    # Who has left the alliance deals nothing; the others are enough as long as the threshold is.
    there = tuple(member for member in now.members if member in block.rules.registry)
    if fields.texts("holders") != there:
        raise key_refused("sharing-holders: others hold the key")
    if fields.integer("old_threshold") != now.threshold:
        raise key_refused("sharing-threshold: another number of holders decrypts")
    use(block, key.id, given.instance.id)
    return NOTHING


def _of_the_key(block: Block, arguments: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return what a new holder holds against what it is given: all of it the key's own."""
    key = ready_key(block, Fields(arguments).octets("source"))
    variables = Fields(key.variables)
    return {
        "key_digest": variables.octets("key_digest"),
        "evaluation_digest": variables.octets("evaluation_digest"),
        "spec_digest": Fields(key.origin.terms).octets("spec_digest"),
        "column_commitments": variables.mapping("column_commitments"),
    }


def _hand_over(block: Block, given: Given) -> Consequence:
    fields = given.fields()
    source = fields.octets("source")
    key = ready_key(block, source)
    bound = depends_key(source, given.instance.id)
    if block.state.get(bound) is None:
        raise key_refused("sharing-bound: the contract is not bound to that key")
    # First, so that it is not among those that end: it is the end of the others.
    block.state.delete(bound)
    before = holders_of(block, key)
    after = KeyHolders(fields.texts("new"), fields.integer("threshold"), given.instance.id)
    block.state.put(key_holders_key(source), after.to_bytes())
    superseded = (Move(before.sharing, SUPERSEDED),) if before.sharing else ()
    return Consequence(moves=(*cut(block, source, KEY_ENDED).moves, *superseded))


def _whom_it_concerns(block: Block, arguments: Mapping[str, Value]) -> Mapping[str, Value]:
    fields = Fields(arguments)
    key = ready_key(block, fields.octets("source"))
    return {
        "key_digest": Fields(key.variables).octets("key_digest"),
        "members": sorted({*fields.texts("holders"), *fields.texts("new")}),
    }


def _end(block: Block, given: Given) -> Consequence:
    source = given.fields().octets("source")
    key = ready_key(block, source)
    if holders_of(block, key).sharing != given.instance.id:
        raise key_refused("sharing-in-force: others hold the key")
    # First: what the key's end takes along would take this contract too, in the middle of its own.
    block.state.delete(key_holders_key(source))
    return Consequence(moves=(Move(source, END),))


BIND_SHARING = own(
    "bind_sharing",
    "source data_set minimum releases_max key_digest holders old_threshold",
    _bind,
)
RESHARE_KEY = ordered(
    "reshare_key",
    "members",
    "study source step members holders new dealers threshold seed commitments reveals",
    is_step=True,
    completes=_of_the_key,
)
HAND_OVER_KEY = own(
    "hand_over_key",
    "study source holders new threshold",
    _hand_over,
    completes=_whom_it_concerns,
)
END_KEY = own("end_key", "source", _end)
