"""Ports on loopback for every process of an alliance."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from cipherward_chain.endpoints import Endpoint
from cipherward_client.alliance.parts import SOLO

HOST = "127.0.0.1"
PORTS_PER_SERVICE = 4  # services, holders, health, metrics
PORTS_END = 65_536
PORT_LOWEST = 10_000  # most services that people start by hand listen below
BLOCKS_TRIED = 100
OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


class PortBaseTooHigh(ValueError):
    """Not all ports of the alliance fit between the base and 65535."""

    reason = "PORT_BASE_TOO_HIGH"


def free_ports(count: int) -> list[int]:
    """Return `count` consecutive ports that nobody listens on at this moment.

    They lie below the range that outgoing connections get theirs from: else a process that starts
    a moment earlier takes one by chance. Two alliances that start at once take the same block with
    a chance of one in hundreds; a port that is taken all the same is that process's error.
    """
    blocks = max(0, _first_outgoing_port() - PORT_LOWEST) // count
    for block in random.SystemRandom().sample(range(blocks), min(blocks, BLOCKS_TRIED)):
        base = PORT_LOWEST + block * count
        with ExitStack() as held, suppress(OSError):
            for port in range(base, base + count):
                held.enter_context(socket.create_server((HOST, port)))
            return list(range(base, base + count))
    with ExitStack() as held:  # a machine with another range, or full: whatever the kernel gives
        probes = [held.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]


def _first_outgoing_port() -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(OUTGOING_PORTS.read_text(encoding="ascii").split()[0])
    return PORT_LOWEST  # not Linux: no block is below it


def nodes_of(services: Iterable[tuple[str, str]], engine: str) -> list[tuple[str, str]]:
    """Return the ledgers whose consensus nodes listen for each other."""
    return [] if engine == SOLO else [name for name in services if name[1] == "ledger"]


def ports_needed(services: Sequence[tuple[str, str]], engine: str) -> int:
    """Return how many ports `assign_endpoints` gives."""
    return PORTS_PER_SERVICE * len(services) + len(nodes_of(services, engine))


def assign_endpoints(
    services: Iterable[tuple[str, str]], engine: str, port_base: int | None, host: str = HOST
) -> dict[tuple[str, str], Endpoint]:
    """Give each (member, service) its addresses: free ports, or counted up from `port_base`.

    The services' four ports each come first, then one for each consensus node.

    Args:
        host: this machine, or another, whose ports are counted.

    Raises:
        PortBaseTooHigh: the last port would be above 65535.
    """
    names = list(services)
    nodes = nodes_of(names, engine)
    count = ports_needed(names, engine)
    if port_base is None:
        ports = free_ports(count)
    elif port_base + count > PORTS_END:
        raise PortBaseTooHigh(f"{count} ports do not fit above {port_base}")
    else:
        ports = list(range(port_base, port_base + count))
    addresses = [f"{host}:{port}" for port in ports]
    for_nodes = dict(zip(nodes, addresses[PORTS_PER_SERVICE * len(names) :], strict=True))
    return {
        name: Endpoint(
            *addresses[PORTS_PER_SERVICE * place : PORTS_PER_SERVICE * (place + 1)],
            p2p=for_nodes.get(name, ""),
        )
        for place, name in enumerate(names)
    }
