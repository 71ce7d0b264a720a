"""Info, InitChain, FinalizeBlock and Commit over a contract in this process; the registry."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from prometheus_client import REGISTRY

from cipherward.comet.v1 import abci_pb2 as abci
from cipherward.comet.v1 import types_pb2 as comet
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward_chain.comet import header_hash, parse_header
from cipherward_chain.wire import timestamp_of
from cipherward_kit.errors import ServiceError
from cipherward_kit.readiness import Readiness
from cipherward_ledger.application import CONDITION, ContractApplication
from cipherward_ledger.comet.collector import KEPT_MAX, Collector
from cipherward_ledger.comet.errors import NodeFilesUnusable
from cipherward_ledger.comet.execution import Execution, Recorded
from cipherward_ledger.comet.membership import RESTART_SECONDS, Membership
from cipherward_ledger.comet.node_config import NodePeer
from cipherward_ledger.comet.node_files import NodeHome
from cipherward_ledger.comet.signing_state import SigningState
from cipherward_ledger.comet.testing import RecordedNode, serve_recorded
from cipherward_ledger.errors import GenesisDiffers, MachineVersionUnsupported, StoresDisagree
from cipherward_ledger.testing import SmallContract
from cipherward_ledger.testing_chain import DecidedChain, Desk, open_desk
from cipherward_ledger.ticker import Validators

OWN_ADDRESS = bytes([9]) * 20


class Unsupported(ServiceError):
    """The small contract does not carry a version."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "MACHINE_VERSION_UNSUPPORTED"


@dataclass
class Scene:
    """An execution with what it drives."""

    world: Any
    execution: Execution
    collector: Collector
    desk: Desk

    def init_chain(self) -> abci.RequestInitChain:
        genesis = self.world.genesis
        raw = self.world.keys.document
        state = raw[raw.index(b'"app_state": ') + len(b'"app_state": ') : raw.rindex(b"}")]
        return abci.RequestInitChain(
            time=timestamp_of(genesis.time_ns),
            chain_id=genesis.chain_id,
            validators=[
                abci.ValidatorUpdate(pub_key=comet.PublicKey(ed25519=v.public_key), power=v.power)
                for v in genesis.validators.validators
            ],
            app_state_bytes=state,
            initial_height=1,
        )

    def block(self, height: int, *contents: bytes) -> abci.RequestFinalizeBlock:
        time_ns = self.world.clock.now_ns()
        return abci.RequestFinalizeBlock(
            txs=contents, height=height, time=timestamp_of(time_ns), hash=bytes(32)
        )


class ChangingContract(SmallContract):
    """Each block changes the validators, the registry and, once, the machine's version."""

    async def ExecuteBlock(self, request: Any, context: Any) -> Any:
        answer = await super().ExecuteBlock(request, context)
        answer.validator_updates.add(public_key=bytes([7] * 32), power=0)
        answer.machine_version, answer.registry_changed = 2, True
        return answer


class OldContract(SmallContract):
    """Carries none of the versions that the chain moves to."""

    async def ExecuteBlock(self, request: Any, context: Any) -> Any:
        raise Unsupported("version 2")


@asynccontextmanager
async def open_scene(world: Any, tmp_path: Path, signed_height: int = 0) -> AsyncGenerator[Scene]:
    async with (
        world.serve_contract(),
        world.channel(world.contract_port, "contract") as channel,
        serve_recorded(tmp_path, RecordedNode({})) as rpc,
        open_desk(tmp_path, world.genesis) as desk,
    ):
        document, trusted = world.keys.document, world.genesis.validators
        stub = ContractServiceStub(channel)
        application = ContractApplication(stub, document, world.clock, Readiness(CONDITION))
        home = NodeHome(tmp_path / "node")
        home.signed.parent.mkdir(parents=True)
        home.signed.write_text(json.dumps({"height": str(signed_height), "round": 0, "step": 3}))
        began_ns = world.clock.now_ns()
        signing = SigningState(home, OWN_ADDRESS, fresh=not signed_height, began_ns=began_ns)
        evidence = tmp_path / "evidence"
        collector = Collector(rpc, application, desk.recorder, trusted, evidence, signing)
        recorded = Recorded(desk.recorder, desk.store)
        execution = Execution(world.genesis, document, application, recorded, collector, signing)
        yield Scene(world, execution, collector, desk)


SceneWith: TypeAlias = Callable[[Callable[[], SmallContract]], AbstractAsyncContextManager[Scene]]


@pytest.fixture
async def scene(make_world: Any, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(make_world(), tmp_path) as opened:
        yield opened


@pytest.fixture
def scene_with(make_world: Any, tmp_path: Path) -> SceneWith:
    def open_with(contract: Callable[[], SmallContract]) -> AbstractAsyncContextManager[Scene]:
        return open_scene(dataclasses.replace(make_world(), contract=contract()), tmp_path)

    return open_with


async def test_a_new_chain_begins_with_contracts_first_state(scene: Scene) -> None:
    info = await scene.execution.info()
    begun = await scene.execution.init_chain(scene.init_chain())
    assert (info.last_block_height, len(begun.app_hash)) == (0, 32)
    assert info.last_block_app_hash == begun.app_hash


SPOILT: dict[str, Callable[[abci.RequestInitChain], object]] = {
    "chain": lambda r: setattr(r, "chain_id", "another"),
    "time": lambda r: setattr(r.time, "seconds", 1),
    "height": lambda r: setattr(r, "initial_height", 2),
    "state": lambda r: setattr(r, "app_state_bytes", b"{}"),
    "garbage": lambda r: setattr(r, "app_state_bytes", b"{"),
    "validators": lambda r: setattr(r.validators[0], "power", 11),
    "no validators": lambda r: r.ClearField("validators"),
}


@pytest.mark.parametrize("what", SPOILT)
async def test_a_node_of_another_genesis_is_refused(scene: Scene, what: str) -> None:
    request = scene.init_chain()
    SPOILT[what](request)
    with pytest.raises(GenesisDiffers):
        await scene.execution.init_chain(request)


async def test_a_block_is_executed_then_committed_and_info_says_so(scene: Scene) -> None:
    await scene.execution.info()
    contents = scene.world.transactions(2)
    finalized = await scene.execution.finalize(scene.block(1, *contents))
    assert len(finalized.tx_results) == 2
    assert (await scene.execution.info()).last_block_height == 0  # not yet committed
    again = await scene.execution.finalize(scene.block(1, *contents))
    assert again.app_hash == finalized.app_hash
    assert (await scene.execution.commit()).retain_height == 0
    info = await scene.execution.info()
    assert (info.last_block_height, info.last_block_app_hash) == (1, finalized.app_hash)
    assert scene.world.contract.committed == 1


async def test_a_contract_that_forgets_before_the_commit_executes_again(scene: Scene) -> None:
    await scene.execution.info()
    await scene.execution.finalize(scene.block(1, scene.world.transaction()))
    scene.world.contract.forgets = 1
    await scene.execution.commit()
    assert scene.world.contract.committed == 1
    assert scene.world.contract.executions == [1, 1]


async def test_a_commit_of_nothing_is_refused(scene: Scene) -> None:
    with pytest.raises(StoresDisagree):
        await scene.execution.commit()


async def test_a_replayed_block_is_held_to_what_is_recorded(scene: Scene) -> None:
    chain = DecidedChain(scene.world.genesis, scene.world.keys)
    decided = chain.decide()
    await scene.desk.record(decided)
    replayed = scene.block(1)
    with pytest.raises(StoresDisagree, match="another block 1"):
        await scene.execution.finalize(replayed)
    replayed.hash = header_hash(parse_header(decided.block.header))
    await scene.execution.finalize(replayed)
    await scene.execution.commit()


async def test_changes_of_validators_and_version_reach_the_node(
    scene_with: SceneWith,
) -> None:
    async with scene_with(ChangingContract) as scene:
        await scene.execution.info()
        finalized = await scene.execution.finalize(scene.block(1, scene.world.transaction()))
        (update,) = finalized.validator_updates
        assert (update.pub_key.ed25519, update.power) == (bytes([7] * 32), 0)
        assert finalized.consensus_param_updates.version.app == 2
        assert not scene.execution.registry_changed.is_set()
        await scene.execution.commit()
        assert scene.execution.registry_changed.is_set()
        later = await scene.execution.finalize(scene.block(2, scene.world.transaction()))
        assert not later.HasField("consensus_param_updates")  # it is that version already


async def test_a_version_that_contract_lacks_stops_the_ledger(
    scene_with: SceneWith,
) -> None:
    async with scene_with(OldContract) as scene:
        await scene.execution.info()
        with pytest.raises(MachineVersionUnsupported, match="update this member's services"):
            await scene.execution.finalize(scene.block(1, scene.world.transaction()))


async def test_a_double_signature_in_a_block_is_counted(scene: Scene) -> None:
    def counted() -> float:
        labels = {"kind": "DUPLICATE_VOTE"}
        return REGISTRY.get_sample_value("cipherward_ledger_misbehaviour_total", labels) or 0

    before = counted()
    await scene.execution.info()
    block = scene.block(1)
    block.misbehavior.add(type=abci.MISBEHAVIOR_TYPE_DUPLICATE_VOTE, height=1)
    await scene.execution.finalize(block)
    assert counted() == before + 1


async def test_more_unrecorded_blocks_than_contract_keeps_are_refused(scene: Scene) -> None:
    scene.collector.stands_at(KEPT_MAX)
    with pytest.raises(StoresDisagree, match="restore both"):
        scene.collector.stands_at(KEPT_MAX + 1)


async def test_a_node_that_replays_does_not_wait_for_itself(scene: Scene) -> None:
    scene.collector.stands_at(KEPT_MAX)  # far more than may be unrecorded, and no node to ask
    await scene.collector.room()


@dataclass
class Listed:
    """A registry that is a list."""

    members: list[tuple[str, int]]  # id and voting power; each with a node
    height: int = 1

    async def registry(self) -> pb.GetRegistryResponse:
        return pb.GetRegistryResponse(
            height=self.height,
            members=[
                pb.RegisteredMember(
                    member_id=name, index=index, node_id=_node(name), voting_power=power
                )
                for index, (name, power) in enumerate(self.members)
            ],
        )


def _node(name: str) -> bytes:
    return (name.encode() * 20)[:20]


def membership(listed: Listed, *, founder: bool = True) -> tuple[Membership, Validators]:
    validators = Validators()
    made = Membership(
        "b",
        founder=founder,
        registry=listed,
        addresses=lambda: {"a": "node.a:26656"},
        validators=validators,
    )
    return made, validators


async def test_only_the_registrys_nodes_may_connect() -> None:
    made, _ = membership(Listed([("a", 10), ("b", 10)]))
    await made.refresh()
    assert made.query(f"/p2p/filter/id/{_node('a').hex()}").code == 0
    assert made.query(f"/p2p/filter/id/{_node('x').hex()}").code != 0
    assert made.query("/p2p/filter/addr/10.0.0.1:7").code == 0  # addresses prove nothing
    assert made.peers() == (NodePeer(_node("a"), "node.a:26656"),)


async def test_an_admitted_member_is_a_peer_and_votes_when_it_has_power() -> None:
    listed = Listed([("a", 10), ("b", 10)])
    made, validators = membership(listed)
    assert await made.refresh()
    assert (validators.index, validators.count) == (1, 2)
    listed.members.append(("c", 0))
    assert await made.refresh()
    assert (validators.index, validators.count) == (1, 2)
    listed.members[2] = ("c", 10)
    assert not await made.refresh()  # the peers are the same
    assert (validators.index, validators.count) == (1, 3)
    assert made.restart_delay() == RESTART_SECONDS


async def test_a_removal_is_told_from_other_changes_of_the_registry() -> None:
    listed = Listed([("a", 10), ("b", 10)], height=5)
    made, _ = membership(listed)
    await made.refresh()
    listed.members.append(("c", 0))
    await made.refresh()
    assert made.shrunk_at == 0
    listed.members.pop()
    listed.height = 8
    await made.refresh()
    assert (made.shrunk_at, made.removed_at) == (8, 0)
    await made.refresh()
    assert made.shrunk_at == 0


async def test_a_removed_member_is_told_from_one_that_is_not_admitted_yet() -> None:
    listed = Listed([("a", 10)], height=7)
    newcomer, validators = membership(listed, founder=False)
    await newcomer.refresh()
    assert (newcomer.removed_at, validators.index) == (0, None)
    listed.members.append(("b", 0))
    await newcomer.refresh()
    listed.members.pop()
    listed.height = 9
    await newcomer.refresh()
    assert newcomer.removed_at == 9
    founder, _ = membership(listed)
    await founder.refresh()
    assert founder.removed_at == 9


def voted(
    request: abci.RequestFinalizeBlock, flag: comet.BlockIdFlag.ValueType
) -> abci.RequestFinalizeBlock:
    """Add how this node voted for the block before, as the chain shows it."""
    request.decided_last_commit.votes.add(
        validator=abci.VoteValidator(address=OWN_ADDRESS),
        block_id_flag=flag,
    )
    return request


async def test_a_vote_that_the_node_has_no_record_of_stops_it(
    make_world: Any, tmp_path: Path
) -> None:
    async with open_scene(make_world(), tmp_path, signed_height=4) as scene:
        await scene.execution.init_chain(scene.init_chain())
        block = voted(scene.block(6), comet.BLOCK_ID_FLAG_COMMIT)  # it voted at 5
        with pytest.raises(NodeFilesUnusable, match="older copy"):
            await scene.execution.finalize(block)


async def test_a_record_that_cannot_be_read_stops_it(make_world: Any, tmp_path: Path) -> None:
    async with open_scene(make_world(), tmp_path, signed_height=4) as scene:
        await scene.execution.init_chain(scene.init_chain())
        (tmp_path / "node" / "data" / "priv_validator_state.json").write_text("{}")
        block = voted(scene.block(6), comet.BLOCK_ID_FLAG_COMMIT)
        with pytest.raises(NodeFilesUnusable, match="cannot be read"):
            await scene.execution.finalize(block)
