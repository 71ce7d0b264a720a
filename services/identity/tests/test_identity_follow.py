"""Issuance stops when the chain is silent; a restart goes on where the service stood."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc import aio
from prometheus_client import REGISTRY

from cipherward.chain.v1.block_pb2 import ProvenBlock
from cipherward.identity.v1 import identity_service_pb2 as pb
from cipherward_chain.testing import make_genesis, seed_of
from cipherward_identity import follow
from cipherward_identity.issuer import IssuerKeyDiffers
from cipherward_identity.wiring import Outside, open_identity
from cipherward_kit.datafolder import CHAIN_NAME, DataFolderOfAnotherChain
from cipherward_kit.errors import CannotStart, reason_of
from cipherward_kit.testing import eventually
from cipherward_member.alliance_files import read_endpoints, read_genesis
from cipherward_member.block_source import BlockSource
from cipherward_member.errors import (
    CheckpointUnusable,
    EndpointsUnusable,
    GenesisUnusable,
    KeyUnusable,
)
from cipherward_member.registry import REGISTRY_FILE, MemberRegistry

if TYPE_CHECKING:  # the fixtures' types; pytest itself brings the fixtures
    from services.identity.tests.conftest import Hospital, World

STALE = (grpc.StatusCode.FAILED_PRECONDITION, "CHAIN_STALE")


async def why(call: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await call  # pyright: ignore[reportGeneralTypeIssues] - an awaitable
    return caught.value.code(), reason_of(caught.value)


async def assert_issues_nothing(hospital: Hospital, code: str) -> None:
    assert await why(hospital.begin(code)) == STALE
    assert await why(hospital.begin("no code")) == STALE  # a stale service is no oracle
    request = pb.RequestCredentialRequest(admission_code=code)
    assert await why(hospital.holder.RequestCredential(request)) == STALE
    assert await why(hospital.renew(bytes(48))) == STALE


async def test_nothing_is_issued_before_a_block_was_seen(world: World) -> None:
    del world.chain.blocks[:]
    async with world.hospital(fresh=False) as hospital:
        await assert_issues_nothing(hospital, await hospital.admit())


async def test_nothing_is_issued_on_a_chain_that_stands_still(world: World) -> None:
    async with world.hospital() as hospital:
        code = await hospital.admit()
        asked = await hospital.ask(code)
        world.clock.seconds += world.genesis.parameters.fresh_seconds + 1
        await assert_issues_nothing(hospital, code)
        assert await why(hospital.holder.RequestCredential(asked.request)) == STALE
        await world.beat()
        await hospital.holder.RequestCredential(asked.request)


@pytest.mark.slow
async def test_a_false_block_moves_nothing_and_the_true_one_still_does(world: World) -> None:
    (true,) = world.chain.blocks
    false = ProvenBlock()
    false.CopyFrom(true)
    false.next_commit = true.next_commit[:-1] + bytes([true.next_commit[-1] ^ 1])
    world.chain.blocks[:] = [false]
    before = rejected_blocks()
    async with world.hospital(fresh=False) as hospital:
        code = await hospital.admit()
        await eventually(lambda: rejected_blocks() > before)  # again at each try
        await assert_issues_nothing(hospital, code)
        world.chain.blocks[:] = [true]
        await world.beat()
        await hospital.begin(code)


def rejected_blocks() -> float:
    return REGISTRY.get_sample_value("cipherward_chain_rejected_blocks_total") or 0


async def test_a_restarted_service_issues_at_once_though_no_new_block_is_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "CHECKPOINT_SECONDS", 0.0)
    async with world.hospital():
        for _ in range(5):
            await world.beat()
    seen: list[int] = []
    whole = world.chain.blocks_from

    def blocks_from(height: int) -> Any:
        seen.append(height)
        return whole(height)

    monkeypatch.setattr(world.chain, "blocks_from", blocks_from)
    async with world.hospital() as hospital:
        await hospital.enrol()
    assert seen[0] == len(world.chain.blocks)  # the newest proven block, and none before it


async def cannot_start(world: World, **settings: Any) -> CannotStart:
    """Return why a hospital's identity cannot start with these settings."""
    config = world.config("hospital-a", **settings)
    async with AsyncExitStack() as stack:
        source = BlockSource(world.chain)
        registry = MemberRegistry(world.genesis, config.data_dir / REGISTRY_FILE)
        outside = Outside(registry, source, world.ledger.submit)
        with pytest.raises(CannotStart) as caught:
            await stack.enter_async_context(open_identity(config, world.genesis, outside))
    return caught.value


async def test_progress_of_another_genesis_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "CHECKPOINT_SECONDS", 0.0)
    async with world.hospital():
        await world.beat()
    world.genesis, _ = make_genesis(
        2, issuers=world.genesis.issuers, time_ns=world.genesis.time_ns + 1
    )
    assert isinstance(await cannot_start(world), DataFolderOfAnotherChain)
    # A restored folder says only its chain's name: its place in the chain tells it.
    folder = world.config("hospital-a").data_dir
    (folder / CHAIN_NAME).write_text(world.genesis.chain_id)
    assert isinstance(await cannot_start(world), CheckpointUnusable)


async def test_a_key_that_the_registry_does_not_know_is_refused(
    world: World, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger"
    stranger.write_bytes(seed_of("stranger"))
    stranger.chmod(0o600)
    assert isinstance(await cannot_start(world, issuer_key_file=stranger), IssuerKeyDiffers)


@pytest.mark.parametrize("content", [None, b"", bytes(31), bytes(2000)])
async def test_an_unusable_key_file_is_refused(
    world: World, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "unusable"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    assert isinstance(await cannot_start(world, issuer_key_file=path), KeyUnusable)
    assert isinstance(await cannot_start(world, member_key_file=path), KeyUnusable)


async def test_another_members_signing_key_is_refused(world: World) -> None:
    other = world.member_key_file("hospital-b")
    assert isinstance(await cannot_start(world, member_key_file=other), KeyUnusable)


def test_unusable_genesis_and_endpoints_files_are_refused(tmp_path: Path) -> None:
    for content in (None, b"", b"{}"):
        path = tmp_path / "file"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(GenesisUnusable):
            read_genesis(path, "hospital-a")
        with pytest.raises(EndpointsUnusable):
            read_endpoints(path, "test-chain")


def test_endpoints_of_another_chain_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "alliance.json"
    path.write_text(
        '{"chain_id": "another", "ledger_member": "hospital-a",'
        ' "endpoints": {"hospital-a": {"ledger": {"listen": "127.0.0.1:1"}}}}'
    )
    assert read_endpoints(path, "another").of("hospital-a", "ledger").listen == "127.0.0.1:1"
    with pytest.raises(EndpointsUnusable):
        read_endpoints(path, "test-chain")
