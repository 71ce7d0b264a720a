"""`python -m tests.servers install [name…]` and `python -m tests.servers run`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cipherward_client.cli.options import DEFAULT_FOLDER
from tests.servers.development import run
from tests.servers.install import NotInstalled, install
from tests.servers.need import required
from tests.servers.pins import PINS, ServerName


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    installing = commands.add_parser("install", help="install into .servers/ what is missing")
    installing.add_argument("names", nargs="*", type=_name, help=f"of {', '.join(PINS)}; or all")
    running = commands.add_parser("run", help="run Kafka, MongoDB and Prometheus until Ctrl-C")
    running.add_argument("--alliance", type=Path, default=DEFAULT_FOLDER, help="scraped folder")
    options = parser.parse_args()
    if options.command == "run":
        return run(options.alliance)
    return _install(options.names or list(PINS))


def _name(text: str) -> ServerName:
    for name in PINS:
        if name == text:
            return name
    raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(PINS)}")


def _install(names: list[ServerName]) -> int:
    whole = True
    for name in names:
        try:
            print(install(name), flush=True)
        except NotInstalled as error:
            whole = False
            print(error, file=sys.stderr, flush=True)
    return 0 if whole or not required() else 1


if __name__ == "__main__":
    sys.exit(main())
