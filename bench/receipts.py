"""Receipts verified offline: all of it, from bytes to the result that they prove.

The receipts are of consents in full blocks of 500 transactions, so that the paths in the trees are
as long as the ledger makes them.
"""

from __future__ import annotations

import secrets
import statistics
import time

from bench.results import Row, Spread, Target
from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import ID_BYTES
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.receipts import verify_receipt
from cipherward_chain.testing import TestChain, make_genesis
from cipherward_chain.transactions import build_transaction
from cipherward_client.sdk.consents import ConsentTerms

NAME = "receipts"
BLOCK = 500  # the most that a block of the ledger holds
RECEIPTS, ROUNDS = 100, 5
TARGET = Target(2.0, at_least=False)


def measure() -> list[Row]:
    """Return the row."""
    genesis, keys = make_genesis()
    chain, signer = TestChain(genesis, keys), PseudonymSigner(secrets.token_bytes(32))
    expires = genesis.time_ns // 10**9 + 300
    chain.append(
        [
            build_transaction(
                [_consent(expires)], chain_id=genesis.chain_id, expires_at=expires, signer=signer
            )
            for _ in range(BLOCK)
        ]
    )
    receipts = [chain.receipt(1, index) for index in range(0, BLOCK, BLOCK // RECEIPTS)]
    root = genesis.trust_root()
    times = list[float]()
    for _ in range(ROUNDS):
        for receipt in receipts:
            started = time.perf_counter()
            verified = verify_receipt(receipt, root)
            times.append(1000 * (time.perf_counter() - started))
            if not verified.result.applied:
                raise AssertionError("the receipt proves another result")
    return [Row(NAME, statistics.median(times), "ms", Spread.deciles(times), TARGET)]


def _consent(expires: int) -> pb.Act:
    terms = ConsentTerms(secrets.token_bytes(ID_BYTES), "hospital-b", expires)
    return pb.Act(
        instantiate=pb.Instantiate(
            template="consent",
            version=1,
            instance_id=secrets.token_bytes(ID_BYTES),
            terms=terms.to_bytes(),
        )
    )
