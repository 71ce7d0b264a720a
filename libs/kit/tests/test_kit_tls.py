"""Who gets through: certificates of the right authority, for the right name, in time."""

from __future__ import annotations

import base64
import datetime
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from cipherward_kit.channels import open_channel
from cipherward_kit.devca import DevAuthority, is_development_certificate, save_identity
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import Served, TestAlliance, serve_in_process
from cipherward_kit.tls import (
    AUTHORITIES_MAX,
    Caller,
    CertificateUnreadable,
    Identity,
    PeerNotTrusted,
    TrustRegistry,
    caller_of,
)

METHOD = "/cipherward.echo.v1.EchoService/AnyServices"


def bytes_method(channel: Any, kind: str, method: str) -> Any:
    """Return a method that takes and gives bytes; grpc types one without a proto as unknown."""
    return getattr(channel, kind)(method)


@pytest.fixture
async def served(echo: Any, alliance: TestAlliance) -> AsyncIterator[Served]:
    async with serve_in_process(
        echo.register, domain=echo.domain, alliance=alliance, service="echo", rules=echo.rules
    ) as served:
        yield served


async def call(
    served: Served,
    identity: Identity | None,
    *,
    registry: TrustRegistry | None = None,
    peer: tuple[str, str] = ("hospital-a", "echo"),
) -> bytes:
    async with open_channel(
        f"127.0.0.1:{served.ports.listen}",
        identity=identity,
        registry=registry or served.alliance.registry,
        peer_member=peer[0],
        peer_service=peer[1],
    ) as channel:
        method = bytes_method(channel, "unary_unary", METHOD)
        return await method(b"x", timeout=5)


async def code_of(attempt: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await attempt
    return caught.value.code(), reason_of(caught.value)


async def test_a_service_is_known_by_its_certificate(served: Served) -> None:
    identity = served.alliance.identity("hospital-b", "storage")
    assert await call(served, identity) == b"hospital-b/storage"


async def test_a_member_cannot_issue_another_members_name(served: Served) -> None:
    forged = served.alliance.authorities["hospital-a"].issue(
        "storage", spiffe_id="spiffe://hospital-b/storage"
    )
    code, reason = await code_of(call(served, forged))
    assert (code, reason) == (grpc.StatusCode.UNAUTHENTICATED, "PEER_NOT_TRUSTED")


async def test_a_stranger_does_not_get_past_tls(served: Served) -> None:
    stranger = DevAuthority.create("hospital-b").issue("storage")  # same names, another key
    code, reason = await code_of(call(served, stranger))
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "")


async def test_the_services_port_asks_for_a_certificate(served: Served) -> None:
    code, _ = await code_of(call(served, None))
    assert code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("peer", [("hospital-b", "echo"), ("hospital-a", "ledger")])
async def test_a_client_refuses_a_server_of_another_name(
    served: Served, peer: tuple[str, str]
) -> None:
    identity = served.alliance.identity("hospital-b", "storage")
    code, _ = await code_of(call(served, identity, peer=peer))
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_that_ran_out_does_not_get_past_tls(served: Served) -> None:
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    old = served.alliance.authorities["hospital-b"].issue("storage", starts=begin, days=1)
    code, _ = await code_of(call(served, old))
    assert code is grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def registry(alliance: TestAlliance) -> TrustRegistry:
    return TrustRegistry({m: ca.certificate_pem for m, ca in alliance.authorities.items()})


def days_ago(days: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)


def authorities(*members: DevAuthority) -> dict[str, bytes]:
    return {authority.member: authority.certificate_pem for authority in members}


@pytest.fixture
async def changing(
    echo: Any, tmp_path: Path
) -> AsyncIterator[tuple[Served, TestAlliance, DevAuthority]]:
    """A server of an alliance of its own, and the authority of a newcomer."""
    alliance = TestAlliance(tmp_path, ("hospital-a", "hospital-b"))
    async with serve_in_process(
        echo.register, domain=echo.domain, alliance=alliance, service="echo", rules=echo.rules
    ) as served:
        yield served, alliance, DevAuthority.create("hospital-c")


async def test_a_server_that_runs_accepts_a_newly_admitted_member(
    changing: tuple[Served, TestAlliance, DevAuthority],
) -> None:
    served, alliance, newcomer = changing
    identity = newcomer.issue("storage")
    code, _ = await code_of(call(served, identity))
    assert code is grpc.StatusCode.UNAVAILABLE
    alliance.registry.replace(authorities(*alliance.authorities.values(), newcomer))
    assert await call(served, identity) == b"hospital-c/storage"
    assert await call(served, alliance.identity("hospital-b", "storage")) == b"hospital-b/storage"


async def test_a_removed_member_is_refused_on_its_open_connection_and_on_a_new_one(
    changing: tuple[Served, TestAlliance, DevAuthority],
) -> None:
    served, alliance, newcomer = changing
    removed, stays = alliance.identity("hospital-b", "storage"), newcomer.issue("storage")
    own = alliance.authorities["hospital-a"]
    async with open_channel(
        f"127.0.0.1:{served.ports.listen}",
        identity=removed,
        registry=TrustRegistry(authorities(own)),
        peer_member="hospital-a",
        peer_service="echo",
    ) as channel:
        method = bytes_method(channel, "unary_unary", METHOD)
        assert await method(b"x", timeout=5) == b"hospital-b/storage"
        alliance.registry.replace(authorities(own, newcomer))
        code, reason = await code_of(method(b"x", timeout=5))
        assert (code, reason) == (grpc.StatusCode.UNAUTHENTICATED, "PEER_NOT_TRUSTED")
    client_side = TrustRegistry(authorities(own))
    code, _ = await code_of(call(served, removed, registry=client_side))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert await call(served, stays, registry=client_side) == b"hospital-c/storage"


async def test_an_authority_that_tls_cannot_use_shuts_nobody_else_out(
    changing: tuple[Served, TestAlliance, DevAuthority],
) -> None:
    served, alliance, newcomer = changing
    body = base64.b64encode(b"\x30\x81\x80" + bytes(128)).decode()
    hollow = f"-----BEGIN CERTIFICATE-----\n{body[:64]}\n{body[64:]}\n-----END CERTIFICATE-----\n"
    left_out = alliance.registry.replace(
        {
            "hospital-x": hollow.encode(),
            "hospital-y": b"not PEM",
            **authorities(*alliance.authorities.values(), newcomer),
        }
    )
    assert set(left_out) == {"hospital-x", "hospital-y"}
    assert alliance.registry.members == {"hospital-a", "hospital-b", "hospital-c"}
    for identity in (alliance.identity("hospital-b", "storage"), newcomer.issue("storage")):
        assert await call(served, identity) == f"{identity.caller().member}/storage".encode()


async def test_an_authority_under_anothers_name_does_not_replace_it(
    changing: tuple[Served, TestAlliance, DevAuthority],
) -> None:
    served, alliance, _ = changing
    namesake = DevAuthority.create("hospital-b")  # another key under the same name
    left_out = alliance.registry.replace(
        {**authorities(*alliance.authorities.values()), "hospital-x": namesake.certificate_pem}
    )
    assert "another one's name" in left_out["hospital-x"]
    assert await call(served, alliance.identity("hospital-b", "storage")) == b"hospital-b/storage"
    code, _ = await code_of(
        call(served, namesake.issue("storage", spiffe_id="spiffe://hospital-x/storage"))
    )
    assert code is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(PeerNotTrusted, match="no member hospital-x"):
        alliance.registry.authority_pem("hospital-x")


def test_only_the_certificates_themselves_become_roots(alliance: TestAlliance) -> None:
    own = alliance.authorities["hospital-a"].certificate_pem
    registry = TrustRegistry({"hospital-a": b"a note\n" + own + b"another\n"})
    assert registry.all_authorities_pem() == registry.authority_pem("hospital-a") == own


def test_what_stands_in_one_members_bundle_vouches_for_no_other(alliance: TestAlliance) -> None:
    own = alliance.authorities["hospital-a"].certificate_pem
    smuggled = DevAuthority.create("hospital-z")
    registry = TrustRegistry(
        {
            "hospital-a": own + smuggled.certificate_pem,
            "hospital-b": alliance.authorities["hospital-b"].certificate_pem,
        }
    )
    for name, good in (("hospital-a", True), ("hospital-b", False), ("hospital-z", False)):
        leaf = smuggled.issue("storage", spiffe_id=f"spiffe://{name}/storage")
        if good:
            caller = registry.verify_peer(leaf.certificate_pem, f"spiffe://{name}/storage")
            assert caller == Caller("hospital-a", "storage")
        else:
            with pytest.raises(PeerNotTrusted):
                registry.verify_peer(leaf.certificate_pem, f"spiffe://{name}/storage")


def test_a_bundle_has_a_bound(alliance: TestAlliance) -> None:
    own = alliance.authorities["hospital-a"].certificate_pem
    TrustRegistry({"hospital-a": own * AUTHORITIES_MAX})
    with pytest.raises(CertificateUnreadable, match="authority of hospital-a"):
        TrustRegistry({"hospital-a": own * (AUTHORITIES_MAX + 1)})


def test_no_certificate_outlives_its_authority() -> None:
    authority = DevAuthority.create("hospital-a", days=0.5, starts=days_ago(1))
    registry = TrustRegistry({"hospital-a": authority.certificate_pem})
    leaf = authority.issue("storage")
    with pytest.raises(PeerNotTrusted, match="validity period"):
        registry.verify_peer(leaf.certificate_pem, "spiffe://hospital-a/storage")


def test_a_verified_peer_is_forgotten_with_its_authority(
    registry: TrustRegistry, alliance: TestAlliance
) -> None:
    leaf = alliance.identity("hospital-b", "compute").certificate_pem
    name = "spiffe://hospital-b/compute"
    assert registry.verify_peer(leaf, name).member == "hospital-b"
    registry.replace({"hospital-b": DevAuthority.create("hospital-b").certificate_pem})
    with pytest.raises(PeerNotTrusted, match="was not issued by the authority"):
        registry.verify_peer(leaf, name)
    registry.replace({})
    with pytest.raises(PeerNotTrusted, match="no member"):
        registry.verify_peer(leaf, name)


def test_a_registry_names_the_caller(registry: TrustRegistry, alliance: TestAlliance) -> None:
    leaf = alliance.identity("hospital-b", "compute").certificate_pem
    for _ in range(2):  # the second from its cache
        caller = registry.verify_peer(leaf, "spiffe://hospital-b/compute")
        assert caller == Caller("hospital-b", "compute")


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("spiffe://hospital-a/compute", "was not issued by the authority of hospital-a"),
        ("spiffe://hospital-b/storage", "bears another name"),
        ("spiffe://hospital-z/compute", "no member hospital-z"),
        ("spiffe://hospital-b/compute/x", "not spiffe"),
        ("", "not spiffe"),
    ],
)
def test_a_registry_refuses_any_other_name(
    registry: TrustRegistry, alliance: TestAlliance, name: str, cause: str
) -> None:
    leaf = alliance.identity("hospital-b", "compute").certificate_pem
    with pytest.raises(PeerNotTrusted, match=cause):
        registry.verify_peer(leaf, name)


def test_a_certificate_known_to_a_registry_still_runs_out(
    registry: TrustRegistry, alliance: TestAlliance
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    for begin in (now - datetime.timedelta(days=2), now + datetime.timedelta(days=1)):
        leaf = alliance.authorities["hospital-b"].issue("compute", starts=begin, days=1)
        for _ in range(2):
            with pytest.raises(PeerNotTrusted, match="validity period"):
                registry.verify_peer(leaf.certificate_pem, "spiffe://hospital-b/compute")


def test_an_authority_is_no_service(registry: TrustRegistry, alliance: TestAlliance) -> None:
    pem = alliance.authorities["hospital-b"].certificate_pem
    with pytest.raises(PeerNotTrusted):
        registry.verify_peer(pem, "spiffe://hospital-b/compute")


def test_garbage_is_not_trusted(registry: TrustRegistry) -> None:
    with pytest.raises(PeerNotTrusted):
        registry.verify_peer(b"", "spiffe://hospital-b/compute")


@pytest.mark.parametrize(
    "name", ["spiffe://A/b", "http://a/b", "spiffe://ab/cd\n", "spiffe://ab/", "spiffe:///cd"]
)
def test_a_malformed_name_is_not_trusted(name: str) -> None:
    with pytest.raises(PeerNotTrusted):
        caller_of(name)


def test_a_development_authority_comes_back_from_its_files(tmp_path: Path) -> None:
    made = DevAuthority.create("hospital-a")
    made.save(tmp_path)
    loaded = DevAuthority.load(tmp_path, "hospital-a")
    leaf = loaded.issue("storage")
    registry = TrustRegistry({"hospital-a": made.certificate_pem})
    caller = registry.verify_peer(leaf.certificate_pem, "spiffe://hospital-a/storage")
    assert caller == leaf.caller() == Caller("hospital-a", "storage")
    assert is_development_certificate(leaf.certificate_pem)
    certificate, key = save_identity(leaf, tmp_path, "storage")
    assert Identity.from_files(certificate, key) == leaf
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CertificateUnreadable, match=r"hospital-a\.ca\.pem"):
        DevAuthority.load(tmp_path, "hospital-a")
    (tmp_path / "x").write_text("not PEM")
    with pytest.raises(CertificateUnreadable, match="not a PEM"):
        Identity.from_files(tmp_path / "x", tmp_path / "x")
    with pytest.raises(CertificateUnreadable, match="authority of hospital-a"):
        TrustRegistry({"hospital-a": b"not PEM"})


def test_a_key_of_another_certificate_is_named(alliance: TestAlliance, tmp_path: Path) -> None:
    certificate, _ = save_identity(alliance.authorities["hospital-a"].issue("x"), tmp_path, "one")
    _, key = save_identity(alliance.authorities["hospital-a"].issue("x"), tmp_path, "two")
    with pytest.raises(CertificateUnreadable, match=r"two\.key is not the key of .*one\.pem"):
        Identity.from_files(certificate, key)
    with pytest.raises(CertificateUnreadable, match="not a plain PEM private key"):
        Identity.from_files(certificate, certificate)


def test_an_identity_does_not_print_its_key(alliance: TestAlliance) -> None:
    assert "PRIVATE" not in repr(alliance.identity("hospital-a", "storage"))
