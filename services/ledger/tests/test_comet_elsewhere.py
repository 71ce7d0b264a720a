"""A node that nobody talks to: who votes in its place is seen from other members' ledgers."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.comet import Validator, ValidatorSet, address
from cipherward_chain.light_block import LightBlock
from cipherward_chain.light_source import LightBlockUnavailable
from cipherward_chain.root_file import RootFile
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import make_genesis, seed_of
from cipherward_chain.testing_quorum import QuorumChain, seeds_by_key
from cipherward_ledger.comet import elsewhere as module
from cipherward_ledger.comet.elsewhere import LEDGERS_MAX, Elsewhere
from cipherward_ledger.comet.errors import ConsensusKeyShared, NodeFilesUnusable
from cipherward_ledger.comet.node_files import SIGNED_PRECOMMIT, NodeHome
from cipherward_ledger.comet.signing_state import SigningState
from cipherward_ledger.comet.verified_headers import VerifiedHeaders

GENESIS, KEYS = make_genesis(members=4, engine="cometbft")
OWN = address(SigningKey(next(iter(KEYS.validator_seeds.values()))).public_key)
LONG_AGO, NEVER = 0, 2**62  # when this process began, Unix nanoseconds


@dataclass
class OtherLedger:
    """Says how high it is, and answers its chain's newest header, or nothing at all."""

    chain: QuorumChain
    says: int
    silent: bool = False
    member: str = "hospital-b"
    asked: int = 0

    @property
    def headers(self) -> OtherLedger:
        return self

    async def light_block(self, height: int) -> LightBlock:
        self.asked += 1
        if self.silent:
            raise LightBlockUnavailable("it has none")
        return await self.chain.light_block(height or self.chain.height)

    async def changes(self) -> Sequence[chain_pb.ValidatorChange]:
        return ()


class Others:
    def __init__(self, *ledgers: OtherLedger) -> None:
        self.all = ledgers

    async def statuses(self) -> list[tuple[OtherLedger, pb.GetStatusResponse]]:
        return [(one, pb.GetStatusResponse(height=one.says)) for one in self.all]


@pytest.fixture(scope="module")
def chain() -> QuorumChain:
    made = QuorumChain(GENESIS, seeds_by_key(KEYS.validator_seeds))
    made.grow(5)
    return made


def watching(
    folder: Path,
    signed: int,
    began_ns: int,
    *ledgers: OtherLedger,
    height: Callable[[], int] | None = None,
) -> Elsewhere:
    """Return what watches for a node that has signed up to a height; what it has recorded is as
    much, or what `height` says.
    """
    home = NodeHome(folder)
    home.signed.parent.mkdir(exist_ok=True)
    record = {"height": str(signed), "round": 0, "step": SIGNED_PRECOMMIT}
    signature = base64.b64encode(bytes(64)).decode()
    home.signed.write_text(json.dumps({**record, "signature": signature}))
    newest_ns = LightBlock.parse(ledgers[0].chain.light_blocks[-1], GENESIS.chain_id).time_ns
    others: Any = Others(*ledgers)
    trusted = RootFile.of_genesis(GENESIS)
    headers = partial(VerifiedHeaders, others.all, trusted, lambda: newest_ns)
    signing = SigningState(home, OWN, fresh=False, began_ns=began_ns)
    return Elsewhere(others, headers, signing, height or (lambda: signed))


@pytest.mark.parametrize(
    ("began_ns", "kind"), [(LONG_AGO, ConsensusKeyShared), (NEVER, NodeFilesUnusable)]
)
async def test_a_vote_of_this_key_in_a_block_that_is_not_here_ends_the_ledger(
    tmp_path: Path, chain: QuorumChain, began_ns: int, kind: type[Exception]
) -> None:
    silent, one = OtherLedger(chain, 5, silent=True), OtherLedger(chain, 5)
    with pytest.raises(kind):
        await watching(tmp_path, 3, began_ns, silent, one).look()


async def test_a_ledger_that_is_not_ahead_is_not_asked(tmp_path: Path, chain: QuorumChain) -> None:
    one = OtherLedger(chain, 3)
    await watching(tmp_path, 3, LONG_AGO, one).look()
    assert one.asked == 0


async def test_a_vote_that_the_record_has_ends_nothing(tmp_path: Path, chain: QuorumChain) -> None:
    await watching(tmp_path, 6, LONG_AGO, OtherLedger(chain, 9)).look()


async def test_what_strangers_signed_ends_nothing(tmp_path: Path) -> None:
    """Else an old vote of this key, in a chain that somebody made up, would stop the member."""
    own = next(iter(KEYS.validator_seeds))
    seeds = {own: KEYS.validator_seeds[own]} | {f"s{n}": seed_of(f"s{n}") for n in range(3)}
    keys = seeds_by_key(seeds)
    theirs = ValidatorSet.of([Validator(key, 10) for key in keys])
    strangers = QuorumChain(replace(GENESIS, validators=theirs), keys)
    strangers.grow(5)
    assert OWN in {one.address for one in theirs.validators}
    lying = OtherLedger(strangers, 5)
    await watching(tmp_path, 3, LONG_AGO, lying).look()
    assert lying.asked


async def test_few_ledgers_are_asked_at_once(tmp_path: Path, chain: QuorumChain) -> None:
    ledgers = [OtherLedger(chain, 5, silent=True) for _ in range(3 * LEDGERS_MAX)]
    await watching(tmp_path, 3, LONG_AGO, *ledgers).look()
    assert sum(one.asked for one in ledgers) == LEDGERS_MAX


async def test_it_looks_only_while_no_block_is_recorded(
    tmp_path: Path, chain: QuorumChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    one = OtherLedger(chain, 10**9)
    height = 3

    def moving() -> int:
        nonlocal height
        height += height < 200
        return height

    async with asyncio.timeout(20):
        with pytest.raises(ConsensusKeyShared):
            await watching(tmp_path, 3, LONG_AGO, one, height=moving).run()
    assert height == 200
    assert one.asked == 1
