"""`bind_permit`: a study begins only within a data permit, and ends with it.

What the chain knows of a study is checked here against the permit: who asks, which members and data
set, which outputs, the minimum, the quota. What only the study's text says, each member checks
against the study's own terms before it encrypts anything.
"""

from __future__ import annotations

from cipherward_chain.fields import Fields
from cipherward_contract.blocks import Block
from cipherward_contract.instructions.kinds import NOTHING, Consequence, Given, own
from cipherward_contract.instructions.studies import DEPENDENTS_MAX
from cipherward_contract.marks import NOTED, depends_end, depends_key, depends_start
from cipherward_contract.refusals import Reason, Refused

TEMPLATE, GRANTED = "data-permit", "granted"


def _bind(block: Block, given: Given) -> Consequence:
    fields = given.fields()
    permit = fields.octets("permit")
    if block.standing(permit) != (TEMPLATE, GRANTED):
        raise _refused("permit-granted: there is no granted permit of that id")
    terms = Fields(block.instance(permit).origin.terms)
    _check_user(given, terms)
    if fields.text("data_set") not in terms.texts("data_sets"):
        raise _refused("permit-data-sets: the permit is not for that data set")
    if not set(fields.texts("outputs")) <= set(terms.texts("outputs")):
        raise _refused("permit-outputs: the permit does not allow all those outputs")
    if not set(fields.texts("members")) <= set(terms.texts("holders")):
        raise _refused("permit-holders: a member has not been asked for that permit")
    if fields.integer("minimum") < terms.integer("minimum"):
        raise _refused("permit-minimum: the permit asks for more patients in a cell")
    if fields.integer("releases_max") != terms.integer("releases_max"):
        raise _refused("permit-quota: the permit allows another number of releases")
    if terms.integer("expires") <= block.now:
        raise _refused("permit-expired: the permit's time is over")
    _depend(block, permit, given.instance.id)
    return NOTHING


def _check_user(given: Given, terms: Fields) -> None:
    key = terms.octets("user_key")
    if given.actor.member != terms.text("user_member") or (key and given.actor.key != key):
        raise _refused("permit-user: the permit is for somebody else")


def _depend(block: Block, permit: bytes, instance: bytes) -> None:
    """Note that an instance ends with the permit; forget those that have ended by themselves."""
    start = depends_start(permit)
    standing = 0
    for key, _ in block.state.scan(start, depends_end(permit), DEPENDENTS_MAX):
        if _is_over(block, key[len(start) :]):
            block.state.delete(key)
        else:
            standing += 1
    if standing >= DEPENDENTS_MAX:
        raise _refused(f"permit-studies: {DEPENDENTS_MAX} studies run under that permit")
    block.state.put(depends_key(permit, instance), NOTED)


def _is_over(block: Block, instance_id: bytes) -> bool:
    instance = block.instance(instance_id)
    compiled = block.catalogue.find(block.state, instance.origin.template, instance.origin.version)
    return compiled is None or instance.position.state in compiled.template.states.finals


def _refused(rule: str) -> Refused:
    return Refused(Reason.PERMIT_REFUSED, rule)


BIND_PERMIT = own("bind_permit", "permit data_set outputs members minimum releases_max", _bind)
