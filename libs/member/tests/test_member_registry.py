"""The registry of members: it follows proven orders, once each, and survives a restart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from cipherward_chain.genesis import Issuer, Member
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.members import AuthoritiesSet
from cipherward_chain.orders import Order
from cipherward_chain.testing import TestChain, make_genesis
from cipherward_kit.devca import DevAuthority
from cipherward_kit.tls import Caller, PeerNotTrusted
from cipherward_member.errors import RegistryUnusable
from cipherward_member.registry import REGISTRY_FILE, MemberRegistry, RegistryNotEmpty

ISSUER_KEY = bytes(range(96))
NEWCOMER = "hospital-e"
GENESIS_MEMBERS = ["hospital-a", "hospital-b", "hospital-c", "hospital-d"]


class Alliance:
    """A chain of four hospitals, a fifth that may join, and a folder for a registry."""

    def __init__(self, folder: Path) -> None:
        self.genesis, keys = make_genesis(issuers=[Issuer("hospital-b", bytes(96), ("staff",))])
        self.path = folder / REGISTRY_FILE
        self.authority = DevAuthority.create(NEWCOMER)
        self.newcomer = self.applicant(self.authority.certificate_pem.decode())
        self.chain = TestChain(self.genesis, keys)
        self._client = self.chain.light_client()

    def applicant(self, ca_certificate: str) -> Member:
        # With a genesis of its own as its maker; the index is the fifth.
        made, _ = make_genesis(5, ca_certificates={NEWCOMER: ca_certificate})
        return made.members[NEWCOMER]

    def open(self) -> MemberRegistry:
        return MemberRegistry(self.genesis, self.path)

    def order(self, instruction: str, **arguments: bytes | str | int) -> Order:
        return Order(self.chain.next_height(), 0, bytes(16), "test", instruction, arguments)

    def admission(self, member: Member) -> Order:
        return self.order(
            "admit_member",
            member=member.id,
            name=member.name,
            index=member.index,
            public_key=member.public_key,
            custodian_public_key=member.custodian_public_key,
            ca_certificate=member.ca_certificate,
            consensus_public_key=member.consensus_public_key,
            node_id=member.node_id,
            issuer_public_key=ISSUER_KEY,
        )

    def removal(self, member: str) -> Order:
        return self.order("remove_member", member=member)

    def block(self, *orders: Order) -> VerifiedBlock:
        """Make a block and return it, verified as a service verifies it."""
        made = len(self.chain.blocks)
        self.chain.append([b"transaction %d" % made], orders=orders)
        verified: list[VerifiedBlock] = []
        for block in self.chain.blocks[made:]:
            verified.append(self._client.verify(block))
            self._client.stand_on(verified[-1].checkpoint)
        return verified[-1]

    def knows(self, registry: MemberRegistry) -> Caller:
        leaf = self.authority.issue("storage").certificate_pem
        return registry.trust.verify_peer(leaf, f"spiffe://{NEWCOMER}/storage")


@pytest.fixture
def alliance(tmp_path: Path) -> Alliance:
    return Alliance(tmp_path)


def ids(registry: MemberRegistry) -> list[str]:
    assert registry.trust.members == set(registry.members)
    return list(registry.members)


async def test_a_registry_begins_with_the_genesis_and_ignores_other_orders(
    alliance: Alliance,
) -> None:
    registry = alliance.open()
    assert not await registry.apply(alliance.block())
    assert not await registry.apply(alliance.block(alliance.order("notify")))
    assert ids(registry) == GENESIS_MEMBERS
    assert registry.issuers == alliance.genesis.issuers
    assert (registry.height, alliance.path.exists()) == (0, False)


async def test_an_admitted_member_is_trusted_at_once_and_after_a_restart(
    alliance: Alliance,
) -> None:
    registry = alliance.open()
    with pytest.raises(PeerNotTrusted):
        alliance.knows(registry)
    block = alliance.block(alliance.admission(alliance.newcomer))
    assert await registry.apply(block)
    for each in (registry, alliance.open()):
        assert ids(each) == [*GENESIS_MEMBERS, NEWCOMER]
        assert each.members[NEWCOMER] == alliance.newcomer
        assert each.issuers[-1] == Issuer(NEWCOMER, ISSUER_KEY, ("patient", "staff"))
        assert alliance.knows(each) == Caller(NEWCOMER, "storage")
        assert each.height == block.height
    assert alliance.path.stat().st_mode & 0o777 == 0o600


async def test_a_removed_member_is_trusted_no_more_and_its_issuer_is_not_current(
    alliance: Alliance,
) -> None:
    registry = alliance.open()
    await registry.apply(alliance.block(alliance.admission(alliance.newcomer)))
    await registry.apply(alliance.block(alliance.removal(NEWCOMER)))
    assert await registry.apply(alliance.block(alliance.removal("hospital-b")))
    for each in (registry, alliance.open()):
        assert ids(each) == ["hospital-a", "hospital-c", "hospital-d"]
        assert each.issuers == ()
        with pytest.raises(PeerNotTrusted):
            alliance.knows(each)


async def test_a_changed_authority_counts_at_once_and_the_old_one_no_more(
    alliance: Alliance,
) -> None:
    registry, old, new = alliance.open(), alliance.authority, DevAuthority.create(NEWCOMER)
    await registry.apply(alliance.block(alliance.admission(alliance.newcomer)))

    async def set_to(*authorities: DevAuthority) -> None:
        text = b"".join(one.certificate_pem for one in authorities).decode()
        order = alliance.order("set_authorities", member=NEWCOMER, authorities=text)
        assert await registry.apply(alliance.block(order))

    def known() -> list[bool]:
        found: list[bool] = []
        for each in (registry, alliance.open()):
            for alliance.authority in (old, new):
                try:
                    found.append(alliance.knows(each) == Caller(NEWCOMER, "storage"))
                except PeerNotTrusted:
                    found.append(False)
        return found

    assert known() == [True, False] * 2
    await set_to(old, new)
    assert known() == [True, True] * 2
    await set_to(new)
    assert known() == [False, True] * 2


async def test_authorities_of_nobody_change_nothing(alliance: Alliance) -> None:
    registry = alliance.open()
    text = alliance.authority.certificate_pem.decode()
    order = alliance.order("set_authorities", member="hospital-x", authorities=text)
    assert not await registry.apply(alliance.block(order))
    assert ids(registry) == GENESIS_MEMBERS


async def test_a_proven_change_counts_before_it_is_followed_and_not_after_a_later_one(
    alliance: Alliance,
) -> None:
    """Who begins anew follows from the genesis: older sets must not shut the present one out."""
    authorities = [alliance.authority, *(DevAuthority.create(NEWCOMER) for _ in range(3))]
    texts = [one.certificate_pem.decode() for one in authorities]
    blocks = [alliance.block(alliance.admission(alliance.newcomer))]
    blocks += [
        alliance.block(alliance.order("set_authorities", member=NEWCOMER, authorities=text))
        for text in (texts[1], texts[2], texts[3])
    ]
    proven = {NEWCOMER: AuthoritiesSet(NEWCOMER, texts[2], blocks[2].height)}
    alliance.genesis = replace(alliance.genesis, authorities=proven)
    registry = alliance.open()
    for block in blocks:
        await registry.apply(block)
        for each in (registry, alliance.open()):
            alliance.authority = authorities[3 if block is blocks[3] else 2]
            assert alliance.knows(each) == Caller(NEWCOMER, "storage")
            alliance.authority = authorities[1]
            with pytest.raises(PeerNotTrusted):
                alliance.knows(each)


async def test_a_block_applied_again_changes_nothing(alliance: Alliance) -> None:
    registry = alliance.open()
    admitted = alliance.block(alliance.admission(alliance.newcomer))
    removed = alliance.block(alliance.removal(NEWCOMER))
    assert await registry.apply(admitted)
    assert await registry.apply(removed)
    content = alliance.path.read_bytes()
    for again in (registry, alliance.open()):
        assert not await again.apply(admitted)
        assert not await again.apply(removed)
        assert ids(again) == GENESIS_MEMBERS
    assert alliance.path.read_bytes() == content


async def test_a_block_takes_effect_after_the_registry_and_not_without_it(
    alliance: Alliance,
) -> None:
    registry = alliance.open()
    seen: list[list[str]] = []

    async def handler(block: VerifiedBlock) -> None:
        seen.append(ids(alliance.open()))

    handle = registry.ahead_of(handler)
    await handle(alliance.block(alliance.admission(alliance.newcomer)))
    assert seen == [[*GENESIS_MEMBERS, NEWCOMER]]
    alliance.path.parent.rename(alliance.path.parent.with_name("gone"))
    with pytest.raises(OSError, match="No such file"):
        await handle(alliance.block(alliance.removal(NEWCOMER)))
    assert len(seen) == 1
    assert alliance.knows(registry).member == NEWCOMER  # as the file says, which is the truth


async def test_a_newcomer_whose_genesis_has_it_already_goes_on(alliance: Alliance) -> None:
    issuer = Issuer(NEWCOMER, ISSUER_KEY, ("patient", "staff"))
    joined = replace(
        alliance.genesis,
        members={**alliance.genesis.members, NEWCOMER: alliance.newcomer},
        issuers=(*alliance.genesis.issuers, issuer),
    )
    registry = MemberRegistry(joined, alliance.path)
    assert alliance.knows(registry) == Caller(NEWCOMER, "storage")
    assert not await registry.apply(alliance.block(alliance.admission(alliance.newcomer)))
    assert ids(registry) == [*GENESIS_MEMBERS, NEWCOMER]


async def test_a_registry_can_begin_at_a_later_height(alliance: Alliance) -> None:
    block = alliance.block(alliance.removal("hospital-b"))
    registry = alliance.open()
    everyone = [alliance.newcomer, *alliance.genesis.members.values()]
    await registry.begin_at(block.height, everyone, alliance.genesis.issuers)
    assert not await registry.apply(block)
    for each in (registry, alliance.open()):
        assert ids(each) == [*GENESIS_MEMBERS, NEWCOMER]
    with pytest.raises(RegistryNotEmpty):
        await registry.begin_at(block.height + 1, everyone, ())
    assert await registry.apply(alliance.block(alliance.removal(NEWCOMER)))


async def test_a_newcomer_with_a_hollow_certificate_is_a_member_whom_nobody_trusts(
    alliance: Alliance,
) -> None:
    hollow = alliance.applicant("-----BEGIN CERTIFICATE-----\nMIGA\n-----END CERTIFICATE-----\n")
    registry = alliance.open()
    with capture_logs() as logs:
        assert await registry.apply(alliance.block(alliance.admission(hollow)))
    for each in (registry, alliance.open()):
        assert list(each.members) == [*GENESIS_MEMBERS, NEWCOMER]
        assert each.trust.members == set(GENESIS_MEMBERS)
    assert [line["member"] for line in logs if line["event"] == "authority_left_out"] == [NEWCOMER]


async def test_an_order_of_an_unknown_form_is_said_and_changes_nothing(alliance: Alliance) -> None:
    registry = alliance.open()
    with capture_logs() as logs:
        odd = alliance.order("remove_member", hospital="hospital-b")
        assert not await registry.apply(alliance.block(odd))
    assert [line["event"] for line in logs] == ["order_malformed"]
    assert ids(registry) == GENESIS_MEMBERS


def damage(document: dict[str, Any], **changes: object) -> bytes:
    return json.dumps({**document, **changes}).encode()


async def test_a_damaged_registry_is_refused_with_advice(alliance: Alliance) -> None:
    await alliance.open().apply(alliance.block(alliance.removal("hospital-d")))
    raw = alliance.path.read_bytes()
    document = json.loads(raw)
    members = document["members"]
    damaged = {
        "not JSON": raw[:-20],
        "another genesis": damage(document, genesis="00" * 32),
        "height": damage(document, height=0),
        "index that is not its own": damage(document, members=list(reversed(members))),
        "is of no member": damage(document, members=members[2:]),
        "has members, each with": damage(document, members=[], issuers=[]),
        "unknown": damage(document, more=1),
    }
    for words, content in damaged.items():
        alliance.path.write_bytes(content)
        with pytest.raises(RegistryUnusable, match=words) as refused:
            alliance.open()
        assert "restore" in str(refused.value)
    alliance.path.unlink()
    alliance.path.mkdir()
    with pytest.raises(RegistryUnusable, match="cannot be read"):
        alliance.open()
