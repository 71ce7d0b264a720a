"""What ExecuteBlock answers: the bytes that are kept, and given again for the same block; and what
GetCommitted answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.orders import ORDERS_KEY
from cipherward_chain.results import TransactionResult
from cipherward_chain.wire import NANOS, exact_bytes, timestamp_of
from cipherward_contract.blocks import Block
from cipherward_contract.ceremonies.closing import next_deadline
from cipherward_contract.chain_rules import ChainRules
from cipherward_contract.executor import Outcome, next_timer
from cipherward_contract.loading import Loaded
from cipherward_contract.registry import power_changes
from cipherward_contract.store import Head
from cipherward_contract.tree import TreeChange

RESULTS_CACHED_MAX = 1_024  # most transactions of a block are applied by the same policies


@dataclass(frozen=True, slots=True)
class Committed:
    """The committed block: its head, the rules after it, when (Unix seconds) a timer is due, and
    after which height a ceremony's window closes (0: none is open).
    """

    head: Head
    rules: ChainRules
    next_timer: int | None
    next_deadline: int

    @classmethod
    def of(cls, block: Block, loaded: Loaded) -> Committed:
        """Return what is committed; `block` is one on the committed state that nothing wrote to."""
        waiting = next_timer(block), next_deadline(block.state)
        return cls(loaded.head, loaded.rules, *waiting)


@lru_cache(RESULTS_CACHED_MAX)
def _result(result: TransactionResult) -> bytes:
    return result.to_bytes()


def answer_of(block: Block, outcome: Outcome, before: Loaded, change: TreeChange) -> bytes:
    """Return the serialised ExecuteBlockResponse of a block that was executed on `before`."""
    old, new = before.rules, block.rules
    answer = pb.ExecuteBlockResponse(
        results=[_result(result) for result in outcome.results],
        orders=outcome.orders,
        app_hash=change.root,
        machine_version=new.version_at(block.height + 1),
        next_deadline=next_deadline(block.state),
        registry_changed=new.registry != old.registry,
        validator_updates=[
            pb.ValidatorUpdate(public_key=key, power=power)
            for key, power in power_changes(old.registry, new.registry)
        ],
    )
    if outcome.results:
        proof = before.tree.prove(ORDERS_KEY, outcome.writes[ORDERS_KEY], change)
        answer.orders_proof.CopyFrom(proof)
    due = next_timer(block)
    if due is not None:
        answer.next_timer.CopyFrom(timestamp_of(due * NANOS))
    return exact_bytes(answer)
