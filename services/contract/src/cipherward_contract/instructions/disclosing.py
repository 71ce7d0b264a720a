"""`disclose` tells a record's owner who asked for it and what for: a row of the local index.

It orders nothing, and marks the transitions whose refused attempts are kept for the owner too.
"""

from __future__ import annotations

from cipherward_contract.blocks import Block
from cipherward_contract.index_rows import AccessAsked, Asker
from cipherward_contract.instructions.kinds import NOTHING, Consequence, Given, own


def _disclose(block: Block, given: Given) -> Consequence:
    fields, actor = given.fields(), given.actor
    block.rows.append(
        AccessAsked(
            record=fields.octets("record"),
            instance=given.instance.id,
            transaction_id=block.transaction_id,
            asker=Asker(actor.member, actor.role),
            purpose=fields.text("purpose"),
            order=given.released,
        )
    )
    return NOTHING


DISCLOSE = own("disclose", "record purpose", _disclose)
