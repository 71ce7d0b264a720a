"""The program `cipherward`."""

from __future__ import annotations

import os
import sys
from typing import Final, NoReturn

INTERRUPTED: Final = 130  # what shells give for SIGINT


def main() -> NoReturn:
    """Run what the command line says."""
    # grpc's core writes lines of its own to stderr, with peers' addresses. It reads this once, when
    # it is loaded: so the commands are imported after it.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        import structlog

        from cipherward_client.cli.commands import run
        from cipherward_kit.memory import keep_freed_memory
    except KeyboardInterrupt:  # loading takes a second
        sys.exit(INTERRUPTED)

    # What the SDK logs, such as a renewed certificate, is not part of what was asked for.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    keep_freed_memory()  # a record is sealed and opened in many buffers of one size
    sys.exit(run(sys.argv[1:]))
