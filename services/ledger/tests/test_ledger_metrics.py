"""What operators see of the newest block: its time, and who of the validators did not vote."""

from __future__ import annotations

from prometheus_client import REGISTRY

from cipherward.comet.v1 import types_pb2 as comet
from cipherward_ledger.mempool import Bounds, Entry, Mempool
from cipherward_ledger.metrics import show_tip

FOR_BLOCK = comet.BLOCK_ID_FLAG_COMMIT


def figure(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"cipherward_{name}")


def test_validators_without_a_vote_for_the_block_are_missing() -> None:
    commit = comet.Commit()
    for flag in (FOR_BLOCK, comet.BLOCK_ID_FLAG_ABSENT, comet.BLOCK_ID_FLAG_NIL, FOR_BLOCK):
        commit.signatures.add(block_id_flag=flag)
    show_tip(7, 1_800_000_000_500_000_000, commit.SerializeToString())
    assert figure("chain_height") == 7
    assert figure("ledger_block_timestamp_seconds") == 1_800_000_000.5
    assert figure("ledger_validators") == 4
    assert figure("ledger_validators_missing") == 2


def test_the_mempool_shows_what_waits_and_no_room_that_was_given_back() -> None:
    mempool = Mempool(Bounds(10, 1000))
    entry = Entry(b"1", b"h", b"x" * 40, 10)
    with mempool.room_for(1, 40):
        mempool.add(entry)
    assert figure("ledger_mempool_transactions") == 1
    assert figure("ledger_mempool_bytes") == 40
    mempool.remove([b"1"])
    assert figure("ledger_mempool_transactions") == 0
    assert figure("ledger_mempool_bytes") == 0
