"""`bind_permit`: a study begins only within a data permit, and ends with it.

What the chain knows of a study is checked here against the permit: who asks, which members and data
set, which outputs, the minimum, the quota. What only the study's text says, each member checks
against the study's own terms before it encrypts anything.
"""

from __future__ import annotations

from cipherward_chain.fields import Fields
from cipherward_contract.blocks import Block
from cipherward_contract.instructions.depending import DEPENDENTS_MAX, depend
from cipherward_contract.instructions.kinds import NOTHING, Consequence, Given, own
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
    if not depend(block, permit, given.instance.id):
        raise _refused(f"permit-studies: {DEPENDENTS_MAX} studies run under that permit")
    return NOTHING


def _check_user(given: Given, terms: Fields) -> None:
    key = terms.octets("user_key")
    if given.actor.member != terms.text("user_member") or (key and given.actor.key != key):
        raise _refused("permit-user: the permit is for somebody else")


def _refused(rule: str) -> Refused:
    return Refused(Reason.PERMIT_REFUSED, rule)


BIND_PERMIT = own("bind_permit", "permit data_set outputs members minimum releases_max", _bind)
