"""`cipherward dev`: an alliance of four hospitals on this machine."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.alliance.create import DEFAULT_MEMBERS
from cipherward_client.alliance.layout import MEMBER_SERVICES, SHARED_SERVICES
from cipherward_client.alliance.ports import HOST, PORTS_PER_SERVICE
from cipherward_client.alliance.running import RunningAlliance, running_alliance
from cipherward_client.cli import context
from cipherward_client.cli.faults import (
    AllianceOfAnotherChain,
    AllianceRuns,
    FolderUnusable,
    PortTaken,
)
from cipherward_client.cli.options import DEFAULT_FOLDER, Json
from cipherward_client.cli.output import Output
from cipherward_kit.datafolder import (
    DataFolderLocked,
    DataFolderOfAnotherChain,
    DataFolderUnusable,
)

PORTS_END = 65_536

BANNER = (
    "+----------------------------------------------------------------------+",
    "|  DEVELOPMENT ALLIANCE. NOT FOR REAL PATIENTS.                        |",
    "|  One machine plays all hospitals and holds the keys of all of them.  |",
    "+----------------------------------------------------------------------+",
)


def dev(
    data: Annotated[
        Path, typer.Option(help="Where keys, chain and records live.")
    ] = DEFAULT_FOLDER,
    port_base: Annotated[
        int | None, typer.Option(min=1024, max=65535, help="First port; free ones if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a four-hospital alliance on this machine until it is stopped.

    The first start makes keys and the chain in --data; a later one goes on with them. Ctrl-C stops
    all processes in order; if this one is killed, the kernel ends the others.
    """
    output = Output(as_json)
    for line in BANNER:
        output.say(line)
    with _explained():
        if port_base is not None:
            _require_free_ports(port_base)
        context.run(_run(data, port_base, output))


@contextmanager
def _explained() -> Generator[None]:
    """Say why an alliance does not start as a person at the terminal needs it."""
    try:
        yield
    except DataFolderLocked as error:
        raise AllianceRuns(str(error)) from error
    except DataFolderOfAnotherChain as error:
        raise AllianceOfAnotherChain(str(error)) from error
    except DataFolderUnusable as error:
        raise FolderUnusable(str(error)) from error


def _require_free_ports(base: int) -> None:
    """Raise `PortTaken` for the first port of a four-hospital alliance that is in use.

    Its services would say the same one by one; here it is said before anything starts.
    """
    services = len(DEFAULT_MEMBERS) * len(MEMBER_SERVICES) + len(SHARED_SERVICES)
    for port in range(base, min(base + PORTS_PER_SERVICE * services, PORTS_END)):
        try:
            socket.create_server((HOST, port)).close()
        except OSError as error:
            raise PortTaken(f"{HOST}:{port}: {error.strerror}") from error


async def _run(data: Path, port_base: int | None, output: Output) -> None:
    started = time.monotonic()

    def told(name: str) -> None:
        output.say(f"  {time.monotonic() - started:5.1f} s  {name} is ready")

    with _stopping_at_signals() as stopping:
        try:
            async with running_alliance(data, port_base=port_base, told=told) as running:
                _announce(running, time.monotonic() - started, output)
                await stopping.wait()
                output.say("Stopping.")
        except asyncio.CancelledError:
            if not stopping.is_set():
                raise
    output.say("Stopped; the same command goes on from here.")


@contextmanager
def _stopping_at_signals() -> Generator[asyncio.Event]:
    """Cancel the task at the first SIGINT or SIGTERM, whatever it waits for; ignore more."""
    loop, task, asked = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()

    def stop() -> None:
        if not asked.is_set() and task is not None:
            asked.set()
            task.cancel()

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        yield asked
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _announce(running: RunningAlliance, seconds: float, output: Output) -> None:
    folder, endpoints = running.folder, running.endpoints
    services = {
        f"{member}/{service}": {
            "listen": endpoint.listen,
            "holder": endpoint.holder,
            "health": endpoint.health,
            "metrics": endpoint.metrics,
        }
        for member, named in endpoints.by_member.items()
        for service, endpoint in named.items()
    }
    document = {
        "ready": True,
        "chain_id": running.genesis.chain_id,
        "data": str(folder.root),
        "genesis": str(folder.genesis_file),
        "endpoints": str(folder.endpoints_file),
        "logs": str(folder.logs),
        "pids": running.supervisor.pids,
        "services": services,
        "seconds": round(seconds, 2),
    }
    columns = ("service", "members (mTLS)", "holders (TLS)", "metrics")
    rows = [(n, s["listen"], s["holder"] or "-", s["metrics"]) for n, s in services.items()]
    output.table(document, columns, rows)
    for line in (
        f"{len(services)} processes of {len(running.genesis.members)} hospitals run the chain "
        f"{running.genesis.chain_id}; ready after {seconds:.1f} s.",
        f"Keys, chain and records: {folder.root}    logs: {folder.logs}",
        f"Try:  cipherward wallet create my.wallet --alliance {folder.root}",
        "Ctrl-C stops it.",
    ):
        output.say(line)
