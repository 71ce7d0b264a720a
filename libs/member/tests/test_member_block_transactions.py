"""What became of a member's own transactions in a verified block."""

from __future__ import annotations

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.authorization import MemberSigner, PseudonymSigner, Signer
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.results import TransactionResult
from cipherward_chain.testing import TestChain, make_genesis
from cipherward_chain.transactions import build_transaction, parse_transaction
from cipherward_member.block_transactions import OwnTransactions, transactions_of

GENESIS, KEYS = make_genesis()
TICK = chain_pb.Act(tick=chain_pb.Tick())


def member(name: str) -> MemberSigner:
    return MemberSigner(name, KEYS.member_seeds[name])


def block_of(signers: list[Signer], results: list[TransactionResult]) -> VerifiedBlock:
    """A block of one tick of each signer, verified as a follower does."""
    chain = TestChain(GENESIS, KEYS)
    expires = GENESIS.time_ns // 10**9 + 60
    chain.append(
        [
            build_transaction([TICK], chain_id=GENESIS.chain_id, expires_at=expires, signer=signer)
            for signer in signers
        ],
        results=results,
    )
    chain.heartbeat()
    return chain.light_client().accept(chain.blocks[0])


def test_transactions_say_who_signed_them_and_whether_they_counted() -> None:
    signers: list[Signer] = [member("hospital-a"), PseudonymSigner(b"p" * 32)]
    refused = TransactionResult(reason="ALREADY_REPORTED")
    first, second = transactions_of(block_of(signers, [TransactionResult(), refused]))
    assert (first.member, first.applied) == ("hospital-a", True)
    assert (second.member, second.applied) == ("", False)
    assert [act.WhichOneof("act") for act in first.acts()] == ["tick"]


@pytest.mark.parametrize(
    ("reason", "again"),
    [
        ("", False),
        ("ALREADY_REPORTED", False),
        ("TRANSACTION_EXPIRED", True),
        ("EXPIRY_TOO_FAR", True),
    ],
)
def test_only_what_was_refused_for_its_time_is_made_again(reason: str, again: bool) -> None:
    signers: list[Signer] = [member("hospital-a"), member("hospital-b")]
    block = block_of(signers, [TransactionResult(reason=reason)] * 2)
    own = OwnTransactions("hospital-a")
    for transaction in transactions_of(block):
        own.see(transaction)
    mine = parse_transaction(block.transactions[0]).id
    assert (own.settled, own.rebuilt) == (([], [mine]) if again else ([mine], []))
