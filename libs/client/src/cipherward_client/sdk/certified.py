"""Headers that a connection has reason to believe: signed by the validators of their height.

Validators are followed from the trust root by the changes that they announced themselves, as in a
receipt.
"""

from __future__ import annotations

from collections.abc import Sequence

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward_chain.checkpoint import TrustRoot
from cipherward_chain.comet import (
    CommitMalformed,
    HeaderMalformed,
    ValidatorSet,
    ValidatorsMalformed,
    parse_commit,
    parse_header,
)
from cipherward_chain.light import verify_commit
from cipherward_chain.light_block import LightBlock
from cipherward_chain.receipts import CHANGES_MAX
from cipherward_chain.rejections import BlockRejected
from cipherward_client.sdk.errors import CheckFailed


class StateUnproven(CheckFailed):
    """The proofs do not lead to a header that the validators have certified."""

    reason = "STATE_UNPROVEN"


class Certifier:
    """Says which headers the validators have certified, from a trust root on. It does no I/O."""

    def __init__(self, root: TrustRoot) -> None:
        self._root = root
        self._terms = [(0, root.validators)]  # (the first height of a set, the set), ascending

    def knows(self, block: LightBlock) -> bool:
        """Say whether the block's validators are those that are known for its height."""
        return self._at(block.height) == block.validators

    def learn(self, changes: Sequence[chain_pb.ValidatorChange]) -> None:
        """Follow every change of the validators since the genesis.

        Raises:
            StateUnproven: the changes are not signed by those whom they change, or out of form.
        """
        if len(changes) > CHANGES_MAX:
            raise StateUnproven(f"more than {CHANGES_MAX} changes of the validators")
        terms = [(0, self._root.validators)]
        try:
            for change in changes:
                header = parse_header(change.header)
                since, trusted = terms[-1]
                if header.chain_id != self._root.chain_id or header.height < since:
                    raise StateUnproven("a change is of another chain or out of order")
                verify_commit(header, parse_commit(change.commit), trusted)
                announced = ValidatorSet.from_bytes(change.validators)
                if announced.hash() != header.next_validators_hash:
                    raise StateUnproven("a change announces another set")
                terms.append((header.height + 1, announced))
        except (HeaderMalformed, CommitMalformed, ValidatorsMalformed, BlockRejected) as error:
            raise StateUnproven(str(error)) from error
        self._terms = terms

    def check(self, block: LightBlock) -> None:
        """Raise `StateUnproven` unless the validators of its height have signed the header.

        Cost: one signature a validator.
        """
        if not self.knows(block):
            raise StateUnproven("the header's validators are not those of its height")
        try:
            block.verify()
        except BlockRejected as error:
            raise StateUnproven(str(error)) from error

    def _at(self, height: int) -> ValidatorSet:
        return next(found for since, found in reversed(self._terms) if since <= height)
