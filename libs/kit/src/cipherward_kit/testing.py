"""What the services' own tests share: an alliance of development certificates, a service served
in this process over real sockets, and the check that its protos' promises are kept.

A service's `conftest.py` makes the fixtures; one test, last, calls `assert_promises_kept`:

    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        promises_last(items)                       # in conftest.py

    def test_every_promise_is_kept() -> None:      # in test_<service>_promises.py
        assert_promises_kept("storage.cipherward", [records, slots], ["cipherward.storage.v1"])
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from grpc import aio

from cipherward_kit.access import ALL_RULES, Rules
from cipherward_kit.boundary import BOUNDARY_ERRORS, RPC_REFUSALS
from cipherward_kit.channels import open_channel
from cipherward_kit.config import ServerConfig
from cipherward_kit.connection_age import CONNECTION_AGE, ConnectionAge
from cipherward_kit.devca import DevAuthority, save_identity
from cipherward_kit.drain import Drain
from cipherward_kit.errors import ServiceError
from cipherward_kit.own_identity import LOOK_SECONDS, follow_identity
from cipherward_kit.readiness import Readiness
from cipherward_kit.server import Ports, Register, Surface, listening
from cipherward_kit.tls import Identity, TrustRegistry

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
PROMISES_TEST = "test_every_promise_is_kept"
# A suite beside three others on two cores, one of which was put off for ten seconds: whoever is
# there sooner is not waited for.
EVENTUALLY_SECONDS = 30.0


class TestAlliance:
    """Members with development authorities, and identities of their services, in a folder."""

    __test__: ClassVar[bool] = False  # pytest collects classes by this name's first word

    def __init__(self, folder: Path, members: Sequence[str] = MEMBERS) -> None:
        self.folder = folder
        self.authorities = {member: DevAuthority.create(member) for member in members}
        self.registry = TrustRegistry(
            {member: ca.certificate_pem for member, ca in self.authorities.items()}
        )
        self._issued: dict[tuple[str, str], Identity] = {}

    def identity(self, member: str, service: str) -> Identity:
        """Return the identity of a member's service, always the same one."""
        if (member, service) not in self._issued:
            self._issued[member, service] = self.authorities[member].issue(service)
        return self._issued[member, service]

    def settings(self, member: str, service: str) -> dict[str, Any]:
        """Return the settings that every server needs, ports free, files in the folder."""
        folder = self.folder / member / service
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = save_identity(self.identity(member, service), folder, "tls")
        return {
            "member": member,
            "data_dir": folder / "data",
            "genesis_file": self.folder / "genesis.json",
            "tls_certificate": certificate,
            "tls_private_key": key,
            "holder_listen": "127.0.0.1:0",
            "drain_seconds": 0,
            "grace_seconds": 0,
        }


@dataclasses.dataclass(slots=True)
class Served:
    """A service that is served in this process; its channels close with it."""

    alliance: TestAlliance
    member: str
    service: str
    ports: Ports
    rules: Rules
    readiness: Readiness
    drain: Drain
    message_bytes_max: int
    stack: AsyncExitStack
    _channels: dict[tuple[str, str] | None, aio.Channel] = dataclasses.field(
        default_factory=dict[tuple[str, str] | None, aio.Channel]
    )

    def channel_as(self, member: str, service: str) -> aio.Channel:
        """Return a channel to the services' port as the given service."""
        identity = self.alliance.identity(member, service)
        return self._channel((member, service), self.ports.listen, identity)

    def holder_channel(self) -> aio.Channel:
        """Return a channel to the holders' port, without a client certificate."""
        assert self.ports.holder is not None
        return self._channel(None, self.ports.holder, None)

    def _channel(
        self, key: tuple[str, str] | None, port: int, identity: Identity | None
    ) -> aio.Channel:
        if key not in self._channels:
            channel = open_channel(
                f"127.0.0.1:{port}",
                identity=identity,
                registry=self.alliance.registry,
                peer_member=self.member,
                peer_service=self.service,
                message_bytes_max=self.message_bytes_max,
                rules=self.rules,
            )
            self.stack.push_async_callback(channel.close)
            self._channels[key] = channel
        return self._channels[key]


@asynccontextmanager
async def serve_in_process(
    register: Register,
    *,
    domain: str,
    alliance: TestAlliance,
    service: str,
    member: str = MEMBERS[0],
    also_own: Collection[str] = (),
    rules: Rules = ALL_RULES,
    readiness: Readiness | None = None,
    drain: Drain | None = None,
    look_seconds: float = LOOK_SECONDS,
    age: ConnectionAge = CONNECTION_AGE,
    growing: Collection[str] = (),
    **settings: Any,
) -> AsyncGenerator[Served]:
    """Serve `register`'s servicers on free ports of this machine while the context is open.

    Args:
        register: adds the servicers to a server.
        domain: of every `ErrorInfo`.
        alliance: whose certificates are used.
        service: name of the service that is served, such as "storage".
        member: the member that it belongs to.
        also_own: members that "own" means besides.
        rules: who may call which method.
        readiness: what health follows; by default ready.
        drain: what its endless streams watch.
        look_seconds: from one look at the service's own certificate to the next.
        age: of a caller's connection.
        growing: names of the methods that are refused when the disk is short.
        settings: fields of `ServerConfig` that shall differ.
    """
    config = ServerConfig(**{**alliance.settings(member, service), **settings})
    readiness, drain = readiness or Readiness(), drain or Drain()
    own, grows = frozenset(also_own), frozenset(growing)
    surface = Surface(domain, register, alliance.registry, own, rules, age=age, growing=grows)
    async with (
        follow_identity(config, alliance.registry, readiness, seconds=look_seconds) as identity,
        listening(config, identity, surface, readiness) as ports,
        AsyncExitStack() as stack,
    ):
        yield Served(
            alliance,
            member,
            service,
            ports,
            rules,
            readiness,
            drain,
            config.message_bytes_max,
            stack,
        )


async def eventually(
    condition: Any, *, seconds: float = EVENTUALLY_SECONDS, what: str = "it"
) -> None:
    """Return when `condition()` (a function or a coroutine function) is true, or fail."""
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(0.01)


def seen_reasons() -> set[tuple[str, str]]:
    """Return every (domain, reason) with which a boundary in this process has refused an RPC."""
    return {
        (sample.labels["domain"], sample.labels["reason"])
        for metric in RPC_REFUSALS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.value > 0
    }


def errors_defined_in(modules: Iterable[ModuleType]) -> set[type[ServiceError]]:
    """Return the refusals that these modules define (not those that they import)."""
    return {
        error
        for module in modules
        for error in vars(module).values()
        if isinstance(error, type)
        and issubclass(error, ServiceError)
        and error.__module__ == module.__name__
        and hasattr(error, "reason")
    }


def promised_errors(proto_services: Collection[str], rules: Rules = ALL_RULES) -> set[str]:
    """Return CODE/REASON of every error that the comments of these services promise.

    Args:
        proto_services: packages or full service names, such as "cipherward.storage.v1".
        rules: as generated from the protos.
    """
    return {
        error
        for path, rule in rules.items()
        for error in rule.errors
        if path.startswith(tuple(f"/{name}." for name in proto_services))
        or path.startswith(tuple(f"/{name}/" for name in proto_services))
    }


def assert_promises_kept(
    domain: str,
    modules: Iterable[ModuleType],
    proto_services: Collection[str],
    seen: Collection[tuple[str, str]] | None = None,
    *,
    also: Collection[type[ServiceError]] = (),
    rules: Rules = ALL_RULES,
) -> None:
    """Check that defined, promised and provoked errors of a service are the same.

    What the boundary itself answers is left out: every method may answer it.

    Args:
        domain: the service's.
        modules: all of the service's modules that define refusals.
        proto_services: packages or full service names whose comments promise them.
        seen: (domain, reason) provoked; by default every one in this process so far.
        also: refusals that others define and this service answers, such as `WorkersBusy`.
        rules: as generated from the protos.
    """
    boundary = {f"{e.code.name}/{e.reason}" for e in BOUNDARY_ERRORS}
    errors = errors_defined_in(modules) | set(also)
    defined = {f"{e.code.name}/{e.reason}" for e in errors} - boundary
    promised = promised_errors(proto_services, rules) - boundary
    assert promised, f"{proto_services} promise no error: are the names right?"
    assert not defined - promised, f"raised, not promised: {sorted(defined - promised)}"
    assert not promised - defined, f"promised, not defined: {sorted(promised - defined)}"
    provoked = {reason for where, reason in (seen or seen_reasons()) if where == domain}
    unseen = {error for error in defined if error.split("/")[1] not in provoked}
    assert not unseen, f"provoked by no test: {sorted(unseen)}"


def promises_last(items: list[Any]) -> None:
    """Move the tests named PROMISES_TEST to the end: they look at what the others provoked."""
    items.sort(key=lambda item: item.name == PROMISES_TEST)
