"""A fifth member joins a running chain of four nodes, votes in consensus, and is removed again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward_chain.admission import FOLDER, Admission
from cipherward_chain.comet import ValidatorSet
from cipherward_chain.light import LightClient
from cipherward_chain.receipts import VerifiedReceipt, verify_receipt
from cipherward_contract.testing import instantiate, shipped_documents, transition, vote
from cipherward_contract.testing_registry import Newcomer
from cipherward_kit.testing import MEMBERS, eventually
from tests.servers.comet_alliance import CometAlliance, Member, connected
from tests.servers.need import need

pytestmark = pytest.mark.servers

FIFTH = "hospital-e"
MEMBERSHIP, REMOVAL = b"m" * 16, b"r" * 16
REMOVED = 35  # exit status


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometAlliance]:
    need("cometbft")
    alliance = CometAlliance.make(
        tmp_path_factory.mktemp("growing"),
        4,
        newcomers=(FIFTH,),
        heartbeat_seconds=2,
        templates=shipped_documents(),
    )
    alliance.start_all()
    yield alliance
    alliance.stop_all()


async def act(member: Member, *acts: tx_pb.Act) -> tuple[bytes, VerifiedReceipt]:
    """Have acts applied through a member's ledger; return the receipt, and what it proves."""
    content = member.alliance.transaction(member.name, acts)
    receipt = await member.receipt(await member.submit(content))
    verified = verify_receipt(receipt, member.alliance.genesis.trust_root())
    assert verified.result.reason == "", verified.result
    return receipt, verified


async def decide(
    members: dict[str, Member], voters: Sequence[str], instance: bytes, name: str
) -> tuple[bytes, VerifiedReceipt]:
    done = [await act(members[voter], vote(instance, name, True)) for voter in voters]
    return done[-1]


def registration(alliance: CometAlliance) -> tx_pb.Act:
    certificate = alliance.alliance.authorities[FIFTH].certificate_pem.decode()
    terms = Newcomer(FIFTH).terms(ca_certificate=certificate)
    return instantiate("membership", MEMBERSHIP, terms)


def signers(receipt: bytes) -> int:
    validators = chain_pb.Receipt.FromString(receipt).validators
    return len(ValidatorSet.from_bytes(validators).validators)


async def test_a_fifth_joins_signs_blocks_and_leaves(growing: CometAlliance) -> None:
    async with connected(growing) as members:
        first = members[MEMBERS[0]]
        await first.reached(2)

        # admitted: its node may connect; it is no validator yet
        await act(first, registration(growing))
        receipt, admitted = await decide(members, MEMBERS[:3], MEMBERSHIP, "admit")
        assert signers(receipt) == 4
        (block,) = await first.blocks(admitted.height, 1)
        proofs = growing.folder / FOLDER
        proofs.mkdir()
        (proofs / f"{FIFTH}.json").write_bytes(Admission.of(receipt, block).to_bytes())

        # it fetches the chain, and takes its seat
        fifth = members[FIFTH]
        growing.start(FIFTH, "contract")
        growing.start(FIFTH, "ledger")
        await fifth.reached(admitted.height)
        _, seated = await act(fifth, transition(MEMBERSHIP, "join"))
        for _ in range(2):
            await act(fifth, tx_pb.Act(tick=tx_pb.Tick()))
        receipt, _ = await act(fifth, tx_pb.Act(tick=tx_pb.Tick()))
        assert signers(receipt) == 5

        # it is removed: its ledger ends, its key is gone, the others go on
        removal = {"member": FIFTH, "vote_seconds": 3_600}
        await act(first, instantiate("removal", REMOVAL, removal))
        await decide(members, MEMBERS[:4], REMOVAL, "remove")
        await eventually(lambda: growing.ended(FIFTH, "ledger") is not None, seconds=60)
        said = (growing.folder / f"{FIFTH}.ledger.log").read_text()
        assert growing.ended(FIFTH, "ledger") == REMOVED, said[-2_000:]
        assert not (growing.folder / f"{FIFTH}.validator").exists()
        keys = growing.data_dir(FIFTH, "ledger").glob("**/priv_validator_key.json")
        assert not list(keys)
        for _ in range(2):
            await act(first, tx_pb.Act(tick=tx_pb.Tick()))
        receipt, last = await act(first, tx_pb.Act(tick=tx_pb.Tick()))
        assert signers(receipt) == 4
        assert len(chain_pb.Receipt.FromString(receipt).validator_changes) == 2

        # whoever follows from the genesis follows both changes
        client = LightClient(growing.genesis.trust_root())
        for proven in await first.blocks(1, last.height):
            client.accept(proven)
        assert seated.height < last.height


async def test_the_removed_member_is_not_let_in_again(growing: CometAlliance) -> None:
    growing.stop(FIFTH, "ledger")
    await asyncio.to_thread(growing.start, FIFTH, "ledger")
    await eventually(lambda: growing.ended(FIFTH, "ledger") is not None, seconds=60)
    said = (growing.folder / f"{FIFTH}.ledger.log").read_text()
    assert "validator" in said.splitlines()[-1]
