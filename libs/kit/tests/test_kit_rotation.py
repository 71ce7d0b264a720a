"""Certificates change while everything runs: no restart, no failed call, nobody needed."""

from __future__ import annotations

import asyncio
import datetime
import os
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from blockbuster import blockbuster_ctx
from cryptography.hazmat.primitives.serialization import Encoding
from grpc import aio

from cipherward_kit.channels import open_channel
from cipherward_kit.devca import DevAuthority, save_identity
from cipherward_kit.own_identity import CERTIFICATE, FollowedIdentity
from cipherward_kit.renewing import RenewingChannel
from cipherward_kit.testing import Served, TestAlliance, eventually, serve_in_process
from cipherward_kit.tls import CertificateUnreadable, Identity, Presented, TrustRegistry

ECHO = "/cipherward.echo.v1.EchoService/"
NAME = "spiffe://hospital-a/echo"
SECOND = 1 / 86_400  # in days


def bytes_method(channel: Any, kind: str, method: str) -> Any:
    """Return a method that takes and gives bytes; grpc types one without a proto as unknown."""
    return getattr(channel, kind)(ECHO + method)


@pytest.fixture
def alliance(tmp_path: Path) -> TestAlliance:
    """An alliance whose authorities the test may change."""
    return TestAlliance(tmp_path, ("hospital-a", "hospital-b"))


@pytest.fixture
async def served(echo: Any, alliance: TestAlliance) -> AsyncIterator[Served]:
    async with serve_in_process(
        echo.register,
        domain=echo.domain,
        alliance=alliance,
        service="echo",
        rules=echo.rules,
        look_seconds=0.05,  # who renews a certificate here shall not wait for it
    ) as served:
        yield served


def issue(alliance: TestAlliance, service: str = "echo", **more: Any) -> Identity:
    return alliance.authorities["hospital-a"].issue(service, **more)


def put(alliance: TestAlliance, identity: Identity) -> None:
    """Write the server's certificate and key anew, as whoever renews it does."""
    save_identity(identity, alliance.folder / "hospital-a" / "echo", "tls")


def to(served: Served, identity: Presented | None, registry: TrustRegistry) -> RenewingChannel:
    port = served.ports.listen if identity else served.ports.holder
    channel = open_channel(
        f"127.0.0.1:{port}",
        identity=identity,
        registry=registry,
        peer_member="hospital-a",
        peer_service="echo",
    )
    assert isinstance(channel, RenewingChannel)
    return channel


async def shows(port: int, identity: Identity) -> bool:
    """Tell whether a fresh handshake on the port shows this certificate."""
    shown = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    return ssl.PEM_cert_to_DER_cert(shown) == identity.leaf().public_bytes(Encoding.DER)


async def test_a_renewed_certificate_is_shown_on_both_ports_without_a_restart(
    served: Served, alliance: TestAlliance
) -> None:
    assert served.ports.holder is not None
    for _ in range(2):
        renewed = issue(alliance)
        await asyncio.to_thread(put, alliance, renewed)

        for port in (served.ports.listen, served.ports.holder):
            await eventually(partial(shows, port, renewed), what="the renewed certificate")


async def test_calls_go_on_while_both_sides_renew_their_certificates(
    served: Served, alliance: TestAlliance, tmp_path: Path
) -> None:
    files = save_identity(issue(alliance, "storage"), tmp_path, "client")
    own = FollowedIdentity(*files, alliance.registry)
    going, done = True, [0] * 4
    async with to(served, own, alliance.registry) as channel:
        who = bytes_method(channel, "unary_unary", "AnyServices")
        both = bytes_method(channel, "stream_stream", "Both")

        async def load(place: int) -> None:
            while going:
                assert await who(b"x") == b"hospital-a/storage"
                stream = both()
                await stream.write(b"one")
                assert await stream.read() == b"one"
                await stream.done_writing()
                assert await stream.read() is aio.EOF
                done[place] += 1

        async with asyncio.TaskGroup() as group:
            for place in range(len(done)):
                group.create_task(load(place))
            for _ in range(5):
                before, first, renewed = own.current, sum(done), issue(alliance)
                await asyncio.to_thread(put, alliance, renewed)
                await asyncio.to_thread(
                    save_identity, issue(alliance, "storage"), tmp_path, "client"
                )
                assert await asyncio.to_thread(own.look) == ""
                assert own.current != before
                enough = first + 8
                await eventually(lambda: sum(done) >= enough, what="calls")  # noqa: B023 - awaited in this round
                await eventually(partial(shows, served.ports.listen, renewed), what="the new one")
            going = False
        assert channel.newest().credentials[0] == own.current


async def test_a_stream_ends_on_the_channel_that_it_began_on(
    served: Served, alliance: TestAlliance, tmp_path: Path
) -> None:
    files = save_identity(issue(alliance, "storage"), tmp_path, "client")
    own = FollowedIdentity(*files, alliance.registry)
    async with to(served, own, alliance.registry) as channel:
        stream = bytes_method(channel, "stream_stream", "Both")()
        await stream.write(b"before")
        assert await stream.read() == b"before"
        older = channel.newest()
        await asyncio.to_thread(save_identity, issue(alliance, "storage"), tmp_path, "client")
        await asyncio.to_thread(own.look)
        assert await bytes_method(channel, "unary_unary", "AnyServices")(b"x")
        assert channel.newest() is not older
        await stream.write(b"after")
        assert await stream.read() == b"after"
        assert older.channel.get_state() is grpc.ChannelConnectivity.READY
        await stream.done_writing()
        assert await stream.read() is aio.EOF

        def closed() -> bool:
            try:
                return older.channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
            except aio.UsageError:  # how grpc says that it is closed
                return True

        await eventually(closed, what="the channel that nobody uses")


def test_half_of_a_new_pair_changes_nothing(alliance: TestAlliance, tmp_path: Path) -> None:
    first, second = issue(alliance), issue(alliance)
    files = save_identity(first, tmp_path, "tls")
    own = FollowedIdentity(*files, alliance.registry)
    files[0].write_bytes(second.certificate_pem)  # its key comes a moment later
    for _ in range(2):
        assert own.look() == ""
        assert own.current == first
    for rest in (b"", second.private_key_pem[:60], b"garbage"):
        files[1].write_bytes(rest)
        assert own.look() == ""
        assert own.current == first
    files[1].unlink()
    assert own.look() == ""
    assert own.current == first
    files[1].write_bytes(second.private_key_pem)
    assert own.look() == ""
    assert own.current == second


def test_a_folder_that_is_swapped_as_kubernetes_does_is_followed(
    alliance: TestAlliance, tmp_path: Path
) -> None:
    def swap(name: str, identity: Identity) -> None:
        (tmp_path / name).mkdir()
        save_identity(identity, tmp_path / name, "tls")
        link = tmp_path / "link"
        link.symlink_to(name)
        os.replace(link, tmp_path / "..data")

    first, second = issue(alliance), issue(alliance)
    swap("one", first)
    own = FollowedIdentity(tmp_path / "..data" / "tls.pem", tmp_path / "..data" / "tls.key")
    swap("two", second)
    assert own.look() == ""
    assert own.current == second


def test_a_certificate_that_others_would_refuse_is_not_taken(
    alliance: TestAlliance, tmp_path: Path
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    first = issue(alliance)
    files = save_identity(first, tmp_path, "tls")
    own = FollowedIdentity(*files, alliance.registry)
    soon = issue(alliance, starts=now + datetime.timedelta(hours=1))
    for unfit in (
        issue(alliance, starts=now - datetime.timedelta(days=2), days=1),
        soon,
        issue(alliance, "storage"),
        DevAuthority.create("hospital-a").issue("echo"),
        alliance.authorities["hospital-b"].issue("echo", spiffe_id=NAME),
    ):
        save_identity(unfit, tmp_path, "tls")
        assert own.look() == ""
        assert own.current == first


def test_a_certificate_that_is_no_good_from_the_start_is_named(
    alliance: TestAlliance, tmp_path: Path
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    for unfit, why in (
        (issue(alliance, starts=now - datetime.timedelta(days=2), days=1), "ran out at"),
        (issue(alliance, starts=now + datetime.timedelta(hours=1)), "is valid from"),
        (DevAuthority.create("hospital-a").issue("echo"), "not issued by the authority of hosp"),
    ):
        own = FollowedIdentity(*save_identity(unfit, tmp_path, "tls"), alliance.registry)
        assert NAME in own.look()
        assert why in own.look()
        save_identity(issue(alliance), tmp_path, "tls")
        assert own.look() == ""


def test_both_what_is_used_and_what_lies_in_the_files_is_named(
    alliance: TestAlliance, tmp_path: Path
) -> None:
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    old = issue(alliance, starts=begin, days=1)
    own = FollowedIdentity(*save_identity(old, tmp_path, "tls"), alliance.registry)
    save_identity(DevAuthority.create("hospital-a").issue("echo"), tmp_path, "tls")
    assert "ran out" in own.look()
    assert "in the files: spiffe://hospital-a/echo: the certificate was not issued" in own.look()


def test_files_that_do_not_fit_at_the_start_are_refused(
    alliance: TestAlliance, tmp_path: Path
) -> None:
    one, _ = save_identity(issue(alliance), tmp_path, "one")
    _, two = save_identity(issue(alliance), tmp_path, "two")
    with pytest.raises(CertificateUnreadable, match="is not the key of"):
        FollowedIdentity(one, two)


@pytest.mark.slow
async def test_a_server_whose_certificate_ran_out_recovers_by_itself(
    served: Served, alliance: TestAlliance
) -> None:
    """As after a clock that jumped past every expiry: new files are all that it takes."""
    client = issue(alliance, "storage")
    short = issue(alliance, days=1.2 * SECOND, starts=datetime.datetime.now(datetime.UTC))
    await asyncio.to_thread(put, alliance, short)
    await eventually(lambda: CERTIFICATE in served.readiness.missing(), what="the end")
    assert f"the certificate of {NAME} ran out at" in served.readiness.missing()[CERTIFICATE]
    async with to(served, client, alliance.registry) as channel:
        who = bytes_method(channel, "unary_unary", "AnyServices")
        with pytest.raises(aio.AioRpcError) as caught:
            await who(b"x")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await asyncio.to_thread(put, alliance, issue(alliance))
        await eventually(lambda: served.readiness.ready, what="readiness")
        assert await who(b"x", wait_for_ready=True) == b"hospital-a/storage"  # the same channel


@pytest.mark.slow
async def test_a_client_whose_certificate_ran_out_recovers_by_itself(
    served: Served, alliance: TestAlliance, tmp_path: Path
) -> None:
    begin = datetime.datetime.now(datetime.UTC)
    short = issue(alliance, "storage", days=1.2 * SECOND, starts=begin)
    own = FollowedIdentity(*save_identity(short, tmp_path, "client"), alliance.registry)
    async with to(served, own, alliance.registry) as channel:
        who = bytes_method(channel, "unary_unary", "AnyServices")

        async def refused() -> bool:
            try:
                await who(b"x")
            except aio.AioRpcError as error:
                return error.code() is grpc.StatusCode.UNAUTHENTICATED
            return False

        await eventually(refused, what="the end of the certificate")
        await asyncio.to_thread(save_identity, issue(alliance, "storage"), tmp_path, "client")
        assert await asyncio.to_thread(own.look) == ""
        assert await who(b"x") == b"hospital-a/storage"


async def test_an_authority_is_changed_while_calls_go_on(
    served: Served, alliance: TestAlliance, tmp_path: Path
) -> None:
    """New certificates lie ready, the registry names both authorities, and later only the new."""
    old, new = alliance.authorities["hospital-a"], DevAuthority.create("hospital-a")
    other = {"hospital-b": alliance.authorities["hospital-b"].certificate_pem}
    files = save_identity(old.issue("storage"), tmp_path, "client")
    clients = TrustRegistry({**other, "hospital-a": old.certificate_pem})
    own = FollowedIdentity(*files, clients)
    async with to(served, own, clients) as channel:
        who = bytes_method(channel, "unary_unary", "AnyServices")
        assert await who(b"x") == b"hospital-a/storage"
        renewed = new.issue("storage"), new.issue("echo")
        await asyncio.to_thread(save_identity, renewed[0], tmp_path, "client")
        await asyncio.to_thread(put, alliance, renewed[1])
        assert await asyncio.to_thread(own.look) == ""
        assert own.current != renewed[0]  # nobody would believe it yet
        assert await who(b"x") == b"hospital-a/storage"
        overlapping = {**other, "hospital-a": old.certificate_pem + new.certificate_pem}
        # The members learn of a block one after the other: the clients first, then the server.
        clients.replace(overlapping)
        assert await who(b"x") == b"hospital-a/storage"
        alliance.registry.replace(overlapping)
        assert await asyncio.to_thread(own.look) == ""
        assert own.current == renewed[0]
        assert await who(b"x") == b"hospital-a/storage"
        await eventually(partial(shows, served.ports.listen, renewed[1]), what="the new one")
        assert await who(b"x") == b"hospital-a/storage"
        for registry in (alliance.registry, clients):
            registry.replace({**other, "hospital-a": new.certificate_pem})
            assert await who(b"x") == b"hospital-a/storage"
        async with to(served, old.issue("storage"), clients) as late:
            with pytest.raises(aio.AioRpcError) as caught:
                await bytes_method(late, "unary_unary", "AnyServices")(b"x")
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_following_does_not_block_the_loop(served: Served, alliance: TestAlliance) -> None:
    own = issue(alliance, "storage")
    with blockbuster_ctx():
        async with to(served, own, alliance.registry) as channel:
            who = bytes_method(channel, "unary_unary", "AnyServices")
            assert await who(b"x") == b"hospital-a/storage"
            renewed = issue(alliance)
            await asyncio.to_thread(put, alliance, renewed)
            await eventually(partial(shows, served.ports.listen, renewed), what="the new one")
            assert await who(b"x") == b"hospital-a/storage"


async def test_a_holders_channel_follows_the_authorities(
    served: Served, alliance: TestAlliance
) -> None:
    clients = TrustRegistry({"hospital-a": alliance.authorities["hospital-b"].certificate_pem})
    async with to(served, None, clients) as channel:
        anyone = bytes_method(channel, "unary_unary", "Anyone")
        with pytest.raises(aio.AioRpcError):
            await anyone(b"x")
        clients.replace({"hospital-a": alliance.authorities["hospital-a"].certificate_pem})
        assert await anyone(b"x") == b"x"
        clients.replace({})  # removed: who still calls it is not cut off by the channel
        assert await anyone(b"x") == b"x"
