"""`python -m bench.load`: put a load on an alliance of consensus nodes, or on the peer.

Open loop with --rate, closed loop with --in-flight, search for saturation with --saturate. Each act
is a record's anchor of 500 bytes, signed by the hospital that takes it; the transactions are signed
before the clock starts. The peer is CometBFT's own key-value store with the same configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from rich.console import Console

from bench.load.kvstore import KvStore, running_kvstore
from bench.load.ledgers import Ledgers, running_ledgers
from bench.load.measuring import Measured
from bench.load.putting import closed_load, open_load
from bench.load.saturation import find_saturation


def opened(arguments: argparse.Namespace) -> AbstractAsyncContextManager[Ledgers | KvStore]:
    """Return what the command line wants to be loaded."""
    if arguments.peer:
        return running_kvstore(arguments.members, profile=arguments.profile)
    return running_ledgers(
        arguments.members,
        profile=arguments.profile,
        everything=arguments.all_services,
        more=dict(one.split("=", 1) for one in arguments.set),
    )


async def _main(arguments: argparse.Namespace) -> list[Measured]:
    acts = 1 if arguments.peer else arguments.acts
    async with opened(arguments) as target:

        async def open_loop(rate: float) -> Measured:
            found = await open_load(
                target, acts, rate, arguments.seconds, poisson=not arguments.even
            )
            told(found)
            return found

        if arguments.saturate:
            found = await find_saturation(open_loop, arguments.rate or 50.0)
            print(f"saturation {found.rate:.0f} acts/s", file=sys.stderr)
            return found.tried
        if arguments.rate:
            return [await open_loop(arguments.rate) for _ in range(arguments.rounds)]
        results: list[Measured] = []
        for _ in range(arguments.rounds):
            found = await closed_load(target, acts, arguments.count, arguments.in_flight)
            told(found)
            results.append(found)
        return results


def told(found: Measured) -> None:
    """Show a result to people."""
    console = Console(stderr=True, width=140)
    offered = "" if found.offered is None else f" of {found.offered:,.0f} offered"
    console.print(
        f"{found.rate:,.0f} acts/s{offered}, p50 {1000 * found.p50:.0f} ms, "
        f"p99 {1000 * found.p99:.0f} ms, backlog {found.backlog}, {found.blocks} blocks"
    )
    console.print("  CPU µs/act " + _list(found.processor) + f", foreign {found.foreign:.0%}")
    console.print("  disk B/act " + _list(found.disk) + f", load {found.load:.1f}")
    console.print("  peak MB    " + _list(found.memory))


def _list(values: Mapping[str, float]) -> str:
    return ", ".join(f"{kind} {value:,.0f}" for kind, value in values.items())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--members", type=int, default=4, help="validators, each with a hospital")
    parser.add_argument("--acts", type=int, default=1, help="acts in a transaction, 1 to 64")
    parser.add_argument("--profile", choices=("latency", "throughput"), default="latency")
    parser.add_argument("--all-services", action="store_true", help="identity and so on, too")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the ledgers"
    )
    parser.add_argument("--peer", action="store_true", help="CometBFT's own key-value store")
    parser.add_argument("--rate", type=float, default=0.0, help="open loop: acts a second")
    parser.add_argument("--even", action="store_true", help="evenly spaced, not Poisson")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each open loop")
    parser.add_argument("--in-flight", type=int, default=4_000, help="closed loop: acts at once")
    parser.add_argument("--count", type=int, default=20_000, help="closed loop: acts in all")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--saturate", action="store_true", help="find the highest rate that holds")
    parser.add_argument("--json", action="store_true", help="results as JSON on stdout")
    return parser.parse_args()


def main() -> None:
    """Run what the command line asks for."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core tells of each connection that ends
    arguments = _arguments()
    found = asyncio.run(_main(arguments))
    if arguments.json:
        print(json.dumps([one.document() for one in found], indent=1))


if __name__ == "__main__":
    main()
