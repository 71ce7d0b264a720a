"""What the members' ledgers say, asked as a holder would, and who of the others is reached."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from grpc import aio

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.endpoints import Endpoints, EndpointUnknown
from cipherward_client.doctor.checks import Problem
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import ClientError
from cipherward_kit.tls import PeerNotTrusted

ANSWER_SECONDS = 5.0
PAUSE_SECONDS = 1.0  # executing a block takes a small part of it
# Blocks that a ledger may be behind the foremost: they are decided while others are asked.
BEHIND_MAX = 3
# Services of other members that a member's own systems call; networks let them no further.
CALLED_BY_CLIENTS = ("storage", "compute")

Statuses = Mapping[str, pb.GetStatusResponse]


async def look_at_alliance(
    endpoints_file: Path, genesis_file: Path, own: str = ""
) -> list[Problem]:
    """Connect to every service of every member, and compare the ledgers that serve holders.

    Args:
        own: the member whose own systems look; "" if it is whoever may reach everything.
    """
    try:
        async with Alliance.open(endpoints_file, genesis_file, home=own) as alliance:
            problems = await look_at_peers(alliance.endpoints, own)
            found = await _look_at_ledgers(alliance)
            if any(one.check == "contract engines" for one in found):
                # A ledger that is just executing a block still shows the state before it.
                await asyncio.sleep(PAUSE_SECONDS)
                found = await _look_at_ledgers(alliance)
            return problems + found
    except ClientError as error:
        return [Problem("consensus", "", error.cause, error.fix)]


async def _look_at_ledgers(alliance: Alliance) -> list[Problem]:
    named = alliance.endpoints.by_member.items()
    ledgers = [
        member for member, services in named if "ledger" in services and services["ledger"].holder
    ]
    answers = await asyncio.gather(*(_status(alliance, member) for member in ledgers))
    fix = "If it is another member's, tell them; else start the ledger."
    problems = [
        Problem("consensus", member, "its ledger does not answer", fix)
        for member, answer in zip(ledgers, answers, strict=True)
        if answer is None
    ]
    given = zip(ledgers, answers, strict=True)
    return problems + compare({member: answer for member, answer in given if answer is not None})


def compare(statuses: Statuses) -> list[Problem]:
    """Hold what the ledgers answered at about one moment against each other.

    Ledgers that stand at one height must show one root of the state.
    """
    problems: list[Problem] = []
    foremost = max((one.height for one in statuses.values()), default=0)
    states: dict[int, dict[bytes, str]] = {}
    for member, status in statuses.items():
        if status.catching_up:
            fix = "Wait; its height must grow."
            text = f"its ledger catches up: {status.height} of {foremost}"
            problems.append(Problem("consensus", member, text, fix))
        elif status.height < foremost - BEHIND_MAX:
            text = f"its ledger stands at {status.height}, others at {foremost}"
            fix = "See its log and its connections to the other members' nodes."
            problems.append(Problem("consensus", member, text, fix))
        other = states.setdefault(status.height, {})
        other.setdefault(status.app_hash, member)
    for height, shown in states.items():
        if len(shown) > 1:
            text = f"{' and '.join(sorted(shown.values()))} have different states at {height}"
            fix = "Stop and compare releases: `cipherward chain witness` keeps what each signed."
            problems.append(Problem("contract engines", "", text, fix))
    return problems


async def look_at_peers(endpoints: Endpoints, own: str = "") -> list[Problem]:
    """Open a connection to every address that services use of each other, or `own`'s systems."""
    places = [
        (f"{member}/{service}", where)
        for member, services in endpoints.by_member.items()
        for service, endpoint in services.items()
        if own in ("", member) or service in CALLED_BY_CLIENTS
        for where in ((endpoint.listen,) if own else (endpoint.listen, endpoint.p2p))
        if where
    ]
    reached = await asyncio.gather(*(_reached(where) for _, where in places))
    fix = "If it runs, look at the network between: names, routes, firewalls."
    return [
        Problem("peers", name, f"{where} cannot be reached from here", fix)
        for (name, where), good in zip(places, reached, strict=True)
        if not good
    ]


async def _reached(where: str) -> bool:
    host, _, port = where.rpartition(":")
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.close()
    except (OSError, TimeoutError, OverflowError):
        return False
    return True


async def _status(alliance: Alliance, member: str) -> pb.GetStatusResponse | None:
    try:
        stub = alliance.ledger_of(member)
        return await stub.GetStatus(pb.GetStatusRequest(), timeout=ANSWER_SECONDS)
    except (aio.AioRpcError, EndpointUnknown, PeerNotTrusted):
        return None
