"""Whom the server trusts follows the registry of the committed state."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from cipherward_chain.members import AuthoritiesSet
from cipherward_chain.testing import ca_certificate
from cipherward_contract.snapshots import Snapshots
from cipherward_contract.standing import MACHINE_VERSION, Standing
from cipherward_contract.testing import MEMBERS, TICK, Story, contract_genesis, open_story
from cipherward_contract.testing_registry import Newcomer, admitted, authorities_changed, removed
from cipherward_kit.readiness import Readiness
from cipherward_kit.tls import TrustRegistry
from cipherward_member.authorities import Authorities

NEW = Newcomer("hospital-e")


@pytest.fixture
async def begun(tmp_path: Path) -> AsyncGenerator[tuple[Story, Snapshots]]:
    genesis, keys = contract_genesis(engine="cometbft")
    async with (
        open_story(tmp_path, genesis, keys) as story,
        Snapshots(tmp_path / "snapshots", tmp_path / "state.db", every=0) as snapshots,
    ):
        yield story, snapshots


async def test_members_are_trusted_as_long_as_the_registry_names_them(
    begun: tuple[Story, Snapshots],
) -> None:
    story, snapshots = begun
    trust = TrustRegistry({})
    own = {MEMBERS[0]: ca_certificate(MEMBERS[0]).encode()}
    standing = Standing(
        story.chain,
        Readiness(MACHINE_VERSION),
        snapshots,
        Authorities(trust, own),
        version_max=1,
    )
    await standing.look()
    assert trust.members == set(MEMBERS)
    await admitted(story, NEW, b"m" * 16)
    await standing.look()
    assert trust.members == {*MEMBERS, NEW.id}
    await removed(story, NEW.id, b"o" * 16, MEMBERS)
    await removed(story, MEMBERS[3], b"p" * 16)
    await standing.look()
    assert trust.members == set(MEMBERS[:3])


async def test_a_newcomers_own_authority_counts_before_the_state_names_it(
    begun: tuple[Story, Snapshots],
) -> None:
    story, snapshots = begun
    trust = TrustRegistry({})
    own = {NEW.id: ca_certificate(NEW.id).encode()}
    readiness = Readiness(MACHINE_VERSION)
    authorities = Authorities(trust, own)
    standing = Standing(story.chain, readiness, snapshots, authorities, version_max=1)
    await standing.look()
    assert trust.members == {*MEMBERS, NEW.id}


async def test_a_members_own_changed_authority_counts_and_what_was_proven_counts_before(
    begun: tuple[Story, Snapshots],
) -> None:
    story, snapshots = begun
    member = MEMBERS[0]
    old, both = ca_certificate(member), ca_certificate(member) + ca_certificate("the next")
    trust, proven = TrustRegistry({}), AuthoritiesSet(member, both, story.height + 10)
    authorities = Authorities(trust, {member: old.encode()}, {member: proven})
    readiness = Readiness(MACHINE_VERSION)
    standing = Standing(story.chain, readiness, snapshots, authorities, version_max=1)
    await standing.look()
    assert trust.authority_pem(member) == both.encode()
    later = ca_certificate(member) + ca_certificate("another")
    while story.height < proven.height:
        await story.applied(story.member(member), TICK)
    await authorities_changed(story, member, later, b"m" * 16)
    await standing.look()
    assert trust.authority_pem(member) == later.encode()
