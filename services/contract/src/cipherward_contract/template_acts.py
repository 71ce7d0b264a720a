"""The acts about templates: proposing one, and letting one more release a record."""

from __future__ import annotations

from dataclasses import replace

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import TEMPLATES_MAX
from cipherward_chain.canonical import encode
from cipherward_contract.actors import Actor
from cipherward_contract.analysis.analyse import require_deployable
from cipherward_contract.blocks import Block
from cipherward_contract.catalogue import compile_template
from cipherward_contract.contract_acts import active_template, instantiate
from cipherward_contract.entries import RECORD, template_key
from cipherward_contract.marks import erased_key, proposal_key
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.template_versions import VERSIONS_MAX, versions_of
from cipherward_contract.templates.document import TemplateMalformed
from cipherward_contract.templates.values import Values

ADOPTION = "template-adoption"  # the template by which templates are voted
# A proposal is compiled and analysed, up to half a second; a block has more to do.
PROPOSALS_MAX = 4


def propose(block: Block, actor: Actor, wanted: pb.ProposeTemplate) -> tuple[str, ...]:
    """Keep a template's document and begin the vote on it, or refuse."""
    if actor.kind != "member":
        raise Refused(Reason.NOT_A_PARTY, "templates are proposed by members")
    if block.proposals >= PROPOSALS_MAX:
        raise Refused(Reason.TEMPLATE_REFUSED, "the block has had as many proposals as it looks at")
    block.proposals += 1  # also of those that are refused: looking is what costs
    adoption = block.catalogue.newest(block.state, ADOPTION, block.now)
    if adoption is None:
        raise Refused(Reason.TEMPLATE_UNKNOWN, "the chain has no template to adopt others by")
    try:
        template = compile_template(wanted.document).template
        require_deployable(template)
    except TemplateMalformed as error:
        raise Refused(Reason.TEMPLATE_REFUSED, str(error)) from error
    if block.state.get(template_key(template.name, template.version)) is not None:
        raise Refused(Reason.TEMPLATE_REFUSED, "the chain has that version: it is never replaced")
    if len(versions_of(block.state, template.name)) >= VERSIONS_MAX:
        raise Refused(Reason.TEMPLATE_REFUSED, f"a template has at most {VERSIONS_MAX} versions")
    block.state.put(proposal_key(template.digest), wanted.document)
    terms: Values = {
        "digest": template.digest,
        "name": template.name,
        "version": template.version,
        "vote_seconds": wanted.vote_seconds,
    }
    start = pb.Instantiate(
        template=ADOPTION,
        version=adoption.template.version,
        instance_id=wanted.instance_id,
        terms=encode(terms),
    )
    return instantiate(block, actor, start)


def allow(block: Block, actor: Actor, wanted: pb.AllowTemplate) -> None:
    """Let one more template release a record, as its owner wants, or refuse."""
    record = block.record(wanted.record_id)
    if not actor.key or actor.key != record.owner:
        raise Refused(Reason.NOT_A_PARTY, "a record's owner says what may release it")
    if block.state.get(erased_key(wanted.record_id)) is not None:
        raise Refused(Reason.RECORD_ERASED, "the record is erased")
    name, _, version = wanted.template.rpartition("/")
    active_template(block, name, int(version))
    if record.allows(wanted.template):
        return
    if len(record.allowed) >= TEMPLATES_MAX:
        raise Refused(Reason.TEMPLATE_NOT_ALLOWED, f"an owner adds at most {TEMPLATES_MAX}")
    allowed = tuple(sorted((*record.allowed, wanted.template)))
    block.state.put(RECORD + wanted.record_id, replace(record, allowed=allowed).to_bytes())
