"""`register_template`: a template that the members have voted becomes part of the chain.

It can be instantiated after a delay, so that whoever objects has time to end what it has signed. A
version's document is never replaced.
"""

from __future__ import annotations

from cipherward_contract.blocks import Block
from cipherward_contract.entries import template_key
from cipherward_contract.instructions.kinds import NOTHING, ORDERED, Consequence, Given, own
from cipherward_contract.marks import active_entry, active_key, proposal_key
from cipherward_contract.template_versions import VERSIONS_MAX, versions_of
from cipherward_contract.templates.parsing import parse_template


def _register(block: Block, given: Given) -> Consequence:
    proposal = proposal_key(given.fields().octets("digest"))
    document = block.state.get(proposal)
    if document is None:
        return NOTHING  # another vote has registered it: what was wanted is so
    template = parse_template(document)  # it was compiled when it was proposed
    key = template_key(template.name, template.version)
    block.state.delete(proposal)
    if block.state.get(key) is not None:
        return NOTHING  # another document was voted to be this version first
    if len(versions_of(block.state, template.name)) >= VERSIONS_MAX:
        return NOTHING  # others were voted first
    block.state.put(key, document)
    since = block.now + block.rules.template_delay_seconds
    block.state.put(active_key(template.name, template.version), active_entry(since))
    return ORDERED


REGISTER_TEMPLATE = own("register_template", "digest", _register)
