"""`cipherward dev`: an alliance of hospitals on this machine."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path
from typing import Annotated

import typer

from cipherward_chain.acts import MEMBER_ID
from cipherward_client.alliance.create import AlliancePlan, hospitals
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.membership import add_member, expel
from cipherward_client.alliance.parts import Parts, Remembered
from cipherward_client.alliance.plans import services_of
from cipherward_client.alliance.ports import HOST, PORTS_END, ports_needed
from cipherward_client.alliance.running import RunningAlliance, beside, new_plan, running_alliance
from cipherward_client.alliance.shared_keys import ensure_shared_keys
from cipherward_client.cli.context import alliance_folder, run
from cipherward_client.cli.faults import (
    MemberIdMalformed,
    MemberNotHere,
    PortTaken,
)
from cipherward_client.cli.key import keys_line
from cipherward_client.cli.options import DEFAULT_FOLDER, Json
from cipherward_client.cli.output import Output
from cipherward_client.cli.parts import (
    Asked,
    CometbftBinary,
    Engine,
    Feed,
    KafkaAddress,
    Members,
    MongoAddress,
    Store,
    chosen_parts,
    count_of,
)
from cipherward_client.cli.stopping import folder_explained, stopping_at_signals

BANNER = (
    "+----------------------------------------------------------------------+",
    "|  DEVELOPMENT ALLIANCE. NOT FOR REAL PATIENTS.                        |",
    "|  One machine plays all hospitals and holds the keys of all of them.  |",
    "+----------------------------------------------------------------------+",
)


app = typer.Typer(invoke_without_command=True, help="Run an alliance on this machine.")


@app.callback()
def dev(
    context: typer.Context,
    data: Annotated[
        Path, typer.Option(help="Where keys, chain and records live.")
    ] = DEFAULT_FOLDER,
    port_base: Annotated[
        int | None, typer.Option(min=1024, max=65535, help="First port; free ones if not given.")
    ] = None,
    engine: Engine = None,
    feed: Feed = None,
    store: Store = None,
    members: Members = None,
    kafka: KafkaAddress = None,
    mongo: MongoAddress = None,
    cometbft: CometbftBinary = None,
    no_keys: Annotated[
        bool, typer.Option("--no-keys", help="Make no shared keys: then no record can be put.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run an alliance of four hospitals on this machine until it is stopped.

    The first start makes keys and the chain in --data; a later one goes on with them, on the same
    parts. Ctrl-C stops all processes in order; if this one is killed, the kernel ends the others.
    """
    if context.invoked_subcommand is not None:
        return
    output = Output(as_json)
    for line in BANNER:
        output.say(line)
    asked = Asked(engine, feed, store, kafka, mongo, cometbft)
    parts, known = chosen_parts(AllianceFolder(data), asked)
    count = count_of(members, known)
    with folder_explained():
        if port_base is not None:
            _require_free_ports(port_base, count, parts)
        plan = new_plan(parts, count)
        run(_run(data, plan, parts, port_base, output, keys=not no_keys))


@app.command("join")
def join(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a running alliance.")],
    member: Annotated[str, typer.Argument(metavar="ID", help="The newcomer's id.")],
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    cometbft: CometbftBinary = None,
) -> None:
    """Let one more hospital join a running alliance, and run its processes until stopped.

    Every member's key lies in the folder, so all of them vote for it. The next `cipherward dev`
    runs its processes with the others'.
    """
    if MEMBER_ID.fullmatch(member) is None:
        raise MemberIdMalformed(member)
    output = Output(as_json=False)
    parts, _ = chosen_parts(alliance_folder(data), Asked(cometbft=cometbft))
    run(_join(data, parts, member, name or member, output))


async def _join(data: Path, parts: Parts, member: str, name: str, output: Output) -> None:
    def lost(process: str, words: str) -> None:
        output.say(f"{process} has stopped for good: {words}")

    with stopping_at_signals() as stopping:
        try:
            async with beside(data, parts, lost) as running:
                await add_member(running, member, name, output.say)
                output.say(
                    "It has no share of the members' keys until they are shared anew: "
                    "cipherward key propose record --renew 1"
                )
                output.say("Ctrl-C stops its processes; it stays a member.")
                await stopping.wait()
        except asyncio.CancelledError:
            if not stopping.is_set():
                raise
    output.say("Stopped; the same command goes on from here.")


@app.command("leave")
def leave(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a running alliance.")],
    member: Annotated[str, typer.Argument(metavar="ID", help="The member to remove, for ever.")],
) -> None:
    """Remove a hospital from a running alliance, by the votes of all others.

    Its ledger destroys its consensus key and stops; its other processes stop with the command that
    runs them, and do not start again.
    """
    folder = alliance_folder(data)
    known = Remembered.read(folder)
    if known is None or member not in known.members:
        raise MemberNotHere(member)
    parts = Parts(known.engine, known.feed, known.store, known.kafka)
    run(_leave(data, parts, member, Output(as_json=False)))


async def _leave(data: Path, parts: Parts, member: str, output: Output) -> None:
    async with beside(data, parts) as running:
        await expel(running.folder, member, output.say)
        await running.forget(member)


def _require_free_ports(base: int, members: int, parts: Parts) -> None:
    """Raise `PortTaken` for the first port of the alliance that is in use.

    Its services would say the same one by one; here it is said before anything starts.
    """
    services = services_of([member for member, _ in hospitals(members)], parts.engine)
    for port in range(base, min(base + ports_needed(services, parts.engine), PORTS_END)):
        try:
            socket.create_server((HOST, port)).close()
        except OSError as error:
            raise PortTaken(f"{HOST}:{port}: {error.strerror}") from error


async def _run(
    data: Path,
    plan: AlliancePlan,
    parts: Parts,
    port_base: int | None,
    output: Output,
    *,
    keys: bool,
) -> None:
    started = time.monotonic()

    def say(text: str) -> None:
        output.say(f"  {time.monotonic() - started:5.1f} s  {text}")

    def told(name: str) -> None:
        say(f"{name} is ready")

    def lost(name: str, words: str) -> None:
        output.say(f"  {name} has stopped for good, the others go on: {words}")

    with stopping_at_signals() as stopping:
        try:
            async with running_alliance(
                data,
                plan=plan,
                parts=parts,
                port_base=port_base,
                keys=False,
                told=told,
                lost=lost,
            ) as running:
                if keys:
                    made = await ensure_shared_keys(running.folder, running.members)
                    say(keys_line(made))
                _announce(running, time.monotonic() - started, output)
                await stopping.wait()
                output.say("Stopping.")
        except asyncio.CancelledError:
            if not stopping.is_set():
                raise
    output.say("Stopped; the same command goes on from here.")


def _announce(running: RunningAlliance, seconds: float, output: Output) -> None:
    folder, endpoints = running.folder, running.endpoints
    services = {
        f"{member}/{service}": {
            "listen": endpoint.listen,
            "holder": endpoint.holder,
            "health": endpoint.health,
            "metrics": endpoint.metrics,
            **({"p2p": endpoint.p2p} if endpoint.p2p else {}),
        }
        for member, named in endpoints.by_member.items()
        for service, endpoint in named.items()
    }
    document = {
        "ready": True,
        "chain_id": running.genesis.chain_id,
        "engine": running.parts.engine,
        "feed": running.parts.feed,
        "store": running.parts.store,
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
        f"{len(services)} processes of {len(running.members)} hospitals run the chain "
        f"{running.genesis.chain_id} ({', '.join(running.parts.kinds)}); ready after "
        f"{seconds:.1f} s.",
        f"Keys, chain and records: {folder.root}    logs: {folder.logs}",
        f"Try:  cipherward wallet create my.wallet --alliance {folder.root}",
        "Ctrl-C stops it.",
    ):
        output.say(line)
