"""What a client makes of authorities that change: which it proposes, and which it trusts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import capture_logs

from cipherward.chain.v1 import transaction_pb2 as tx
from cipherward_chain.authorities import AuthoritiesProof
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.members import AuthoritiesSet
from cipherward_chain.orders import Order
from cipherward_chain.testing import TestChain, ca_certificate, make_genesis
from cipherward_chain.transactions import build_transaction
from cipherward_client.alliance.authority_changes import (
    AuthorityInUse,
    AuthorityUnusable,
    parse_authorities,
    require_unused,
    require_usable,
    shown,
)
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.sdk.authority_files import authorities_file, following_authorities
from cipherward_kit.devca import DevAuthority, save_identity
from cipherward_kit.testing import eventually

B = "hospital-b"


@dataclass
class Chain:
    """A chain whose blocks give hospital-b other authorities."""

    folder: Path
    taken: list[Mapping[str, AuthoritiesSet]] = field(
        default_factory=list[Mapping[str, AuthoritiesSet]]
    )

    def __post_init__(self) -> None:
        self.genesis, self.keys = make_genesis()
        self.chain = TestChain(self.genesis, self.keys)
        self.endpoints_file = self.folder / "alliance.json"

    def write(self, authorities: str, member: str = B) -> None:
        """Let a block change the authorities, and write the proof of it."""
        fields = {"member": B, "authorities": authorities}
        height = self.chain.next_height()
        order = Order(height, 0, bytes(16), "authority-change", "set_authorities", fields)
        transaction = build_transaction(
            [tx.Act(tick=tx.Tick())],
            chain_id=self.genesis.chain_id,
            expires_at=self.genesis.time_ns // 10**9 + 60 + height,
            signer=MemberSigner("hospital-a", self.keys.member_seeds["hospital-a"]),
        )
        block = self.chain.append([transaction], orders=[order])
        proof = AuthoritiesProof.of(self.chain.receipt(height, 0), block)
        file = authorities_file(self.endpoints_file, member)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(proof.to_bytes())

    def newest(self) -> str:
        return self.taken[-1][B].authorities if self.taken else ""


async def test_a_connection_takes_what_is_proven_when_it_opens_and_while_it_is_open(
    tmp_path: Path,
) -> None:
    scene = Chain(tmp_path)
    first, second = ca_certificate("one"), ca_certificate("two")
    scene.write(first)
    root = scene.genesis.trust_root()
    async with following_authorities(scene.endpoints_file, root, scene.taken.append, seconds=0.01):
        assert scene.newest() == first
        await asyncio.to_thread(scene.write, second)
        await eventually(lambda: scene.newest() == second)
    assert len(scene.taken) == 2


def damaged(scene: Chain) -> None:
    authorities_file(scene.endpoints_file, B).write_bytes(b"{")


def about_another(scene: Chain) -> None:
    scene.write(ca_certificate("one"), "hospital-c")


@pytest.mark.parametrize("spoil", [damaged, about_another])
async def test_what_proves_nothing_is_not_taken(
    tmp_path: Path, spoil: Callable[[Chain], None]
) -> None:
    scene = Chain(tmp_path)
    scene.write(ca_certificate("one"))
    spoil(scene)
    with capture_logs() as logs:
        async with following_authorities(
            scene.endpoints_file, scene.genesis.trust_root(), scene.taken.append
        ):
            assert scene.taken == []
    assert [one["event"] for one in logs] == ["authorities_not_taken"]


def test_a_file_is_read_as_text_or_octets_and_proposed_in_one_form() -> None:
    authority = DevAuthority.create(B)
    text = authority.certificate_pem.decode()
    der = x509.load_pem_x509_certificate(text.encode()).public_bytes(Encoding.DER)
    around = f"subject: somebody\n{text}\n"
    assert {parse_authorities(one) for one in (text.encode(), der, around.encode())} == {text}
    (found,) = shown(B, text)
    assert (found.member, found.fingerprint) == (
        B,
        x509.load_pem_x509_certificate(text.encode()).fingerprint(SHA256()),
    )
    with pytest.raises(AuthorityUnusable):
        parse_authorities(b"nothing")


def test_authorities_that_services_could_not_go_by_are_refused() -> None:
    own, other = DevAuthority.create(B), DevAuthority.create("hospital-c")
    registry = {
        B: own.certificate_pem.decode(),
        "hospital-c": other.certificate_pem.decode(),
    }
    following = DevAuthority.create(B).certificate_pem.decode()
    require_usable(registry, B, registry[B] + following)
    past = DevAuthority.create(B, days=0.001).certificate_pem.decode()
    many = "".join(DevAuthority.create(B).certificate_pem.decode() for _ in range(5))
    same_name = DevAuthority.create("hospital-c").certificate_pem.decode()
    for wanted in (past, many, registry["hospital-c"], following + same_name):
        with pytest.raises(AuthorityUnusable):
            require_usable(registry, B, wanted)


def test_an_authority_is_not_dropped_while_a_certificate_of_it_is_in_use(tmp_path: Path) -> None:
    folder = AllianceFolder(tmp_path)
    home = folder.member(B)
    home.tls.mkdir(parents=True)
    old, new = DevAuthority.create(B), DevAuthority.create(B)
    wanted = new.certificate_pem.decode()
    save_identity(new.issue("ledger"), home.tls, "ledger")
    save_identity(old.issue("storage"), home.tls, "storage")
    with pytest.raises(AuthorityInUse, match="storage"):
        require_unused(folder, B, wanted)
    save_identity(new.issue("storage"), home.tls, "storage")
    require_unused(folder, B, wanted)
