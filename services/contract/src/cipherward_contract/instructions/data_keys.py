"""What computes with a data key begins only while the key is ready, and ends with it.

`bind_key` holds what a contract says of its key against what the members have agreed on for it;
`free_key` says that a contract has done with it, and ends a key that has nothing left to give and
that nobody uses any more; `cut_key_uses` ends all that compute with a key when it is retired.
"""

from __future__ import annotations

from cipherward_chain.fields import Fields
from cipherward_contract.blocks import Block
from cipherward_contract.instructions.depending import (
    DEPENDENTS_MAX,
    KEY_ENDED,
    cut,
    depend,
    dependents,
)
from cipherward_contract.instructions.key_holders import (
    READY,
    TEMPLATE,
    end_sharing,
    holders_of,
    key_refused,
    ready_key,
    require_so,
)
from cipherward_contract.instructions.kinds import NOTHING, Consequence, Given, Move, own
from cipherward_contract.marks import budget_key, budget_spent, depends_key

# The automatic transition of a key that has nothing left to give.
SPENT = "spent"
# The budget of a key: how many ciphertexts under it have been decrypted.
RELEASES = "releases"


def _bind(block: Block, given: Given) -> Consequence:
    fields = given.fields()
    key = ready_key(block, fields.octets("source"))
    require_so(key, fields)
    if fields.texts("members") != holders_of(block, key).members:
        raise key_refused("key-members: others hold the key")
    use(block, key.id, given.instance.id)
    return NOTHING


def use(block: Block, source: bytes, instance: bytes) -> None:
    """Note that a contract ends with a key, or refuse: so many do already."""
    if not depend(block, source, instance):
        raise key_refused(f"key-studies: {DEPENDENTS_MAX} contracts compute with that key")


def _free(block: Block, given: Given) -> Consequence:
    source = given.fields().octets("source")
    block.state.delete(depends_key(source, given.instance.id))
    if block.standing(source) != (TEMPLATE, READY):
        return NOTHING
    limit = Fields(block.instance(source).origin.terms).integer("releases_max")
    raw = block.state.get(budget_key(f"{source.hex()}/{RELEASES}"))
    if raw is None or budget_spent(raw) < limit or dependents(block, source):
        return NOTHING
    return Consequence(ordered=False, moves=(Move(source, SPENT), *end_sharing(block, source)))


def _cut(block: Block, given: Given) -> Consequence:
    source = given.fields().octets("source")
    moves = (*cut(block, source, KEY_ENDED).moves, *end_sharing(block, source))
    return Consequence(moves=moves) if moves else NOTHING


BIND_KEY = own("bind_key", "source data_set members minimum releases_max key_digest", _bind)
FREE_KEY = own("free_key", "source", _free)
CUT_KEY_USES = own("cut_key_uses", "source", _cut)
