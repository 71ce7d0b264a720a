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
from cipherward_contract.instructions.kinds import NOTHING, Consequence, Given, Move, own
from cipherward_contract.marks import budget_key, budget_spent, depends_key
from cipherward_contract.refusals import Reason, Refused

TEMPLATE, READY = "data-key", "ready"
# The automatic transition of a key that has nothing left to give.
SPENT = "spent"
# The budget of a key: how many ciphertexts under it have been decrypted.
RELEASES = "releases"


def _bind(block: Block, given: Given) -> Consequence:
    fields = given.fields()
    source = fields.octets("source")
    if block.standing(source) != (TEMPLATE, READY):
        raise _refused("key-ready: there is no data key of that id that is ready")
    key = block.instance(source)
    terms = Fields(key.origin.terms)
    if fields.text("data_set") != terms.text("data_set"):
        raise _refused("key-data-set: the key is for another data set")
    if fields.texts("members") != terms.texts("members"):
        raise _refused("key-members: others hold the key")
    if fields.integer("minimum") < terms.integer("minimum"):
        raise _refused("key-minimum: the key asks for more patients in a cell")
    if fields.integer("releases_max") != terms.integer("releases_max"):
        raise _refused("key-quota: the key allows another number of releases")
    if fields.octets("key_digest") != key.variables.get("key_digest"):
        raise _refused("key-digest: that is another public key")
    if not depend(block, source, given.instance.id):
        raise _refused(f"key-studies: {DEPENDENTS_MAX} contracts compute with that key")
    return NOTHING


def _free(block: Block, given: Given) -> Consequence:
    source = given.fields().octets("source")
    block.state.delete(depends_key(source, given.instance.id))
    if block.standing(source) != (TEMPLATE, READY):
        return NOTHING
    limit = Fields(block.instance(source).origin.terms).integer("releases_max")
    raw = block.state.get(budget_key(f"{source.hex()}/{RELEASES}"))
    if raw is None or budget_spent(raw) < limit or dependents(block, source):
        return NOTHING
    return Consequence(ordered=False, moves=(Move(source, SPENT),))


def _cut(block: Block, given: Given) -> Consequence:
    return cut(block, given.fields().octets("source"), KEY_ENDED)


def _refused(rule: str) -> Refused:
    return Refused(Reason.KEY_REFUSED, rule)


BIND_KEY = own("bind_key", "source data_set members minimum releases_max key_digest", _bind)
FREE_KEY = own("free_key", "source", _free)
CUT_KEY_USES = own("cut_key_uses", "source", _cut)
