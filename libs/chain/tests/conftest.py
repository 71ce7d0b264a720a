"""Fixtures of the chain library's tests: a genuine alliance and its chain."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cipherward.chain.v1 import transaction_pb2 as tx
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.genesis import Genesis
from cipherward_chain.testing import TestChain, TestKeys, make_genesis, seed_of
from cipherward_chain.testing_quorum import QuorumChain, seeds_by_key
from cipherward_chain.transactions import build_transaction

Transactions = Callable[[int], list[bytes]]


@pytest.fixture(scope="session")
def alliance() -> tuple[Genesis, TestKeys]:
    return make_genesis()


@pytest.fixture(scope="session")
def genesis(alliance: tuple[Genesis, TestKeys]) -> Genesis:
    return alliance[0]


@pytest.fixture(scope="session")
def keys(alliance: tuple[Genesis, TestKeys]) -> TestKeys:
    return alliance[1]


@pytest.fixture
def chain(genesis: Genesis, keys: TestKeys) -> TestChain:
    return TestChain(genesis, keys)


# Four members' validators, and as many again that a test may let in.
NEWCOMERS = {f"newcomer-{n}": seed_of(f"newcomer-{n}/consensus") for n in range(8)}


@pytest.fixture(scope="session")
def members() -> tuple[Genesis, TestKeys]:
    """A genesis whose four members are validators."""
    return make_genesis(engine="cometbft")


@pytest.fixture
def quorum(members: tuple[Genesis, TestKeys]) -> QuorumChain:
    """Their chain, without a block."""
    genesis, keys = members
    return QuorumChain(genesis, seeds_by_key({**keys.validator_seeds, **NEWCOMERS}))


@pytest.fixture
def newcomers() -> list[bytes]:
    """Public keys of validators that are in no genesis, whose seeds the chain has."""
    return list(seeds_by_key(NEWCOMERS))


@pytest.fixture
def transactions(genesis: Genesis, keys: TestKeys) -> Transactions:
    """Makes so many transactions signed by hospital-a."""
    signer = MemberSigner("hospital-a", keys.member_seeds["hospital-a"])

    def make(count: int) -> list[bytes]:
        return [
            build_transaction(
                [tx.Act(tick=tx.Tick())],
                chain_id=genesis.chain_id,
                expires_at=genesis.time_ns // 10**9 + 300,
                signer=signer,
                nonce=index.to_bytes(16, "big"),
            )
            for index in range(count)
        ]

    return make
