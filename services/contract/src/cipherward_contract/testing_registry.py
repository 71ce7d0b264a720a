"""What tests of a changing alliance share: newcomers with real keys, and votes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cipherward_chain.authorization import MemberSigner
from cipherward_chain.canonical import Value
from cipherward_chain.comet import address
from cipherward_chain.sealing import SealingKey
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import ca_certificate, seed_of
from cipherward_contract.testing import (
    MEMBERS,
    Decided,
    Story,
    instantiate,
    issuer_key,
    transition,
    vote,
)


@dataclass(frozen=True, slots=True)
class Newcomer:
    """An institution that is in no genesis; its keys are made from its id."""

    id: str
    name: str = "Hospital Of Newcomers"

    @property
    def signer(self) -> MemberSigner:
        """Signs as the member that it becomes."""
        return MemberSigner(self.id, seed_of(self.id))

    @property
    def consensus_public_key(self) -> bytes:
        """Its node's key."""
        return SigningKey(seed_of(f"{self.id}/consensus")).public_key

    def terms(self, *, runs_node: bool = True, **changed: Value) -> Mapping[str, Value]:
        """Return its registration, as the terms of a contract `membership`."""
        custodian = SealingKey(b"".join(seed_of(f"{self.id}/custodian/{i}") for i in range(3)))
        node = SigningKey(seed_of(f"{self.id}/node")).public_key
        return {
            "member": self.id,
            "name": self.name,
            "public_key": SigningKey(seed_of(self.id)).public_key,
            "custodian_public_key": custodian.public_key,
            "ca_certificate": ca_certificate(self.id),
            "consensus_public_key": self.consensus_public_key if runs_node else b"",
            "node_id": address(node) if runs_node else b"",
            "issuer_public_key": issuer_key(self.id),
            "vote_seconds": 3_600,
            "join_seconds": 3_600,
            **changed,
        }


async def voted(story: Story, instance: bytes, name: str, members: Iterable[str]) -> Decided:
    """Let the members vote for a transition, a block each; return the last block."""
    decided = None
    for member in members:
        decided = await story.block(
            story.transaction(story.member(member), vote(instance, name, True))
        )
    assert decided is not None
    return decided


async def admitted(
    story: Story, newcomer: Newcomer, instance: bytes, voters: Iterable[str] = MEMBERS[:3]
) -> Decided:
    """Propose a newcomer and let the voters admit it; return the deciding block."""
    runs_node = story.genesis.engine != "solo"
    terms = newcomer.terms(runs_node=runs_node)
    await story.applied(story.member(MEMBERS[0]), instantiate("membership", instance, terms))
    decided = await voted(story, instance, "admit", voters)
    assert decided.results[0].applied, decided.results[0]
    return decided


async def joined(story: Story, newcomer: Newcomer, instance: bytes) -> Decided:
    """Admit a newcomer and let it take its seat; return the block in which it does."""
    await admitted(story, newcomer, instance)
    return await story.applied(newcomer.signer, transition(instance, "join"))


async def removed(
    story: Story, member: str, instance: bytes, voters: Iterable[str] = MEMBERS[:3]
) -> Decided:
    """Propose the removal of a member and let the voters decide it; return the deciding block."""
    terms = {"member": member, "vote_seconds": 3_600}
    await story.applied(story.member(MEMBERS[0]), instantiate("removal", instance, terms))
    decided = await voted(story, instance, "remove", voters)
    assert decided.results[0].applied, decided.results[0]
    return decided


async def suspended(
    story: Story,
    member: str,
    instance: bytes,
    voters: Iterable[str] = MEMBERS[:3],
    *,
    seconds: int = 86_400,
) -> Decided:
    """Propose to suspend a member and let the voters decide it; return the deciding block."""
    terms = {"member": member, "vote_seconds": 3_600, "suspend_seconds": seconds}
    await story.applied(story.member(MEMBERS[0]), instantiate("suspension", instance, terms))
    decided = await voted(story, instance, "suspend", voters)
    assert decided.results[0].applied, decided.results[0]
    return decided


async def upgrade_voted(story: Story, version: int, height: int, instance: bytes) -> Decided:
    """Let the members vote a machine version at a height; return the deciding block."""
    terms = {"version": version, "height": height, "vote_seconds": 3_600}
    await story.applied(story.member(MEMBERS[0]), instantiate("machine-upgrade", instance, terms))
    return await voted(story, instance, "upgrade", MEMBERS[:3])


async def authorities_changed(
    story: Story,
    member: str,
    authorities: str,
    instance: bytes,
    voters: Iterable[str] = MEMBERS[:3],
) -> Decided:
    """Let a member propose its authorities (PEM) and the voters vote; return the last block."""
    terms = {"member": member, "authorities": authorities, "vote_seconds": 3_600}
    await story.applied(story.member(member), instantiate("authority-change", instance, terms))
    return await voted(story, instance, "change", voters)
