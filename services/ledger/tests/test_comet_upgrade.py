"""Four members across a voted machine version, one of them with an old release; and timers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward_chain.comet import parse_header
from cipherward_chain.genesis import TemplateDocument
from cipherward_chain.light import LightClient
from cipherward_chain.receipts import verify_receipt
from cipherward_contract.templates.shipped import document_of
from cipherward_contract.testing import instantiate, shipped_documents, vote
from cipherward_kit.testing import MEMBERS, eventually
from tests.servers.comet_alliance import CALL_SECONDS, CometAlliance, Member, connected
from tests.servers.need import need

pytestmark = pytest.mark.servers

LATE = MEMBERS[3]  # installs the release too late
UPGRADE, ALARM = b"u" * 16, b"a" * 16
AHEAD = 40  # blocks from the proposal: four transactions with their proofs, and the notice
VERSION_UNSUPPORTED = 33  # exit status
ALARM_TEMPLATE = """
name: alarm
version: 1
object: ""
parties: {member: {is: any_member}}
terms: {seconds: {type: int, minimum: 1, maximum: 3600}}
states: [quiet, rung]
initial: quiet
finals: [rung]
timers: [{states: [quiet], when: {after: terms.seconds}, transition: ring}]
transitions:
  instantiate: {kind: transition, to: quiet, by: [member]}
  ring: {kind: timer, from: [quiet], to: rung}
policies: |
  @id("anybody") permit (principal, action, resource);
"""


@pytest.fixture(scope="module")
def upgrading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometAlliance]:
    need("cometbft")
    alarm = TemplateDocument("alarm", 1, document_of(ALARM_TEMPLATE))
    alliance = CometAlliance.make(
        tmp_path_factory.mktemp("upgrading"),
        4,
        heartbeat_seconds=2,
        templates=[*shipped_documents(), alarm],
    )
    alliance.old_releases[LATE] = {"machine_version_max": 1}
    alliance.start_all()
    yield alliance
    alliance.stop_all()


async def act(member: Member, one: tx_pb.Act) -> int:
    """Have an act applied through a member's ledger; return its block's height."""
    content = member.alliance.transaction(member.name, [one])
    receipt = await member.receipt(await member.submit(content))
    verified = verify_receipt(receipt, member.alliance.genesis.trust_root())
    assert verified.result.reason == "", verified.result
    return verified.height


def version_of(block: chain_pb.ProvenBlock) -> int:
    return parse_header(block.header).version.app


async def next_timer(member: Member) -> bool:
    request = contract_pb.GetCommittedRequest()
    answer = await member.contract.GetCommitted(request, timeout=CALL_SECONDS)
    return answer.HasField("next_timer")


async def test_a_timer_that_falls_due_is_ticked_and_fires_at_every_member(
    upgrading: CometAlliance,
) -> None:
    async with connected(upgrading) as members:
        first = members[MEMBERS[0]]
        await first.reached(2)
        begun = await act(first, instantiate("alarm", ALARM, {"seconds": 2}))
        await eventually(lambda: _no_timer(members), seconds=30)
        fired = await first.height()
        await first.reached(fired + 1)
        blocks = await first.blocks(begun + 1, fired - begun)
        ticks = sum(len(block.transactions) for block in blocks)
        # One by whoever's turn it is; block time lags by up to a heartbeat, so perhaps some more.
        assert 1 <= ticks <= 4


async def _no_timer(members: dict[str, Member]) -> bool:
    return not any([await next_timer(member) for member in members.values()])


async def test_a_voted_version_begins_at_its_height_and_an_old_release_waits_for_an_update(
    upgrading: CometAlliance,
) -> None:
    async with connected(upgrading) as members:
        first, late = members[MEMBERS[0]], members[LATE]
        await first.reached(2)
        begins = await first.height() + AHEAD
        terms = {"version": 2, "height": begins, "vote_seconds": 3_600}
        await act(first, instantiate("machine-upgrade", UPGRADE, terms))
        for voter in MEMBERS[:3]:
            await act(members[voter], vote(UPGRADE, "upgrade", True))
        while await act(first, tx_pb.Act(tick=tx_pb.Tick())) <= begins:
            pass

        # the old release stops and says so; the others have gone on
        await eventually(lambda: upgrading.ended(LATE, "ledger") is not None, seconds=30)
        said = (upgrading.folder / f"{LATE}.ledger.log").read_text()
        assert upgrading.ended(LATE, "ledger") == VERSION_UNSUPPORTED, said[-2_000:]
        assert "update this member's services" in said.splitlines()[-1]

        # updated, it goes on where it was
        upgrading.old_releases.pop(LATE)
        await asyncio.to_thread(upgrading.start, LATE, "contract")
        await asyncio.to_thread(upgrading.start, LATE, "ledger")
        height = await act(late, tx_pb.Act(tick=tx_pb.Tick()))
        for member in members.values():
            await member.reached(height + 1)
        assert len({await member.app_hash_at(height) for member in members.values()}) == 1

        client = LightClient(upgrading.genesis.trust_root())
        blocks = await late.blocks(1, height)
        for block in blocks:
            client.accept(block)
        versions = [version_of(block) for block in blocks]
        assert versions == [1] * (begins - 1) + [2] * (height - begins + 1)
