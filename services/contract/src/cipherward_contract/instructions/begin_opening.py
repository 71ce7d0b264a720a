"""`begin_opening`: a contract that nobody has answered for begins the vote on opening who acted.

It is total: where the chain has no template to open by, or the recipient is no member any more,
nothing begins.
"""

from __future__ import annotations

from cipherward_chain.canonical import encode
from cipherward_chain.domains import begun_contract
from cipherward_contract.blocks import Block
from cipherward_contract.instructions.kinds import (
    NOTHING,
    Begin,
    Consequence,
    Given,
    own,
)
from cipherward_contract.templates.values import ValueRefused, Values, check_values

OPENING = "opening"
WEEK_SECONDS = 604_800  # to vote, and then to answer: members look at their notices within days


def _begin(block: Block, given: Given) -> Consequence:
    fields = given.fields()
    recipient = block.rules.registry.get(fields.text("recipient"))
    compiled = block.catalogue.newest(block.state, OPENING, block.now)
    if recipient is None or compiled is None:
        return NOTHING
    terms: Values = {
        "scope": fields.text("scope"),
        "pseudonym": fields.octets("pseudonym"),
        "ground": fields.text("ground"),
        "recipient": recipient.member.id,
        "recipient_key": recipient.member.custodian_public_key,
        "vote_seconds": WEEK_SECONDS,
        "answer_seconds": WEEK_SECONDS,
    }
    try:
        check_values(compiled.template.terms, terms, block.world)
    except ValueRefused:
        return NOTHING  # a later version asks for more than a begun opening can say
    instance = begun_contract(given.instance.id, block.height, len(block.orders))
    version = compiled.template.version
    return Consequence(begins=(Begin(OPENING, version, instance, encode(terms)),))


BEGIN_OPENING = own("begin_opening", "scope pseudonym ground recipient", _begin)
