"""`run_service`: what every `main` does, from the environment to the exit status.

| exit status | meaning |
|---|---|
| 0 | stopped by a signal, drained; with `--check`: the settings are right |
| 1 | crashed (the log has it), or its parent is gone |
| 2 | a setting is wrong; one line each on stderr |
| 130 | interrupted while it started |
| 3 and up | cannot start: port (3), data folder (4 to 6), identity (7); one line on stderr |
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn, TypeVar, cast

import structlog
from pydantic import ValidationError

from cipherward_kit.config import ENV_PREFIX, ProcessConfig, env_name
from cipherward_kit.errors import CannotStart
from cipherward_kit.logging import configure_logging
from cipherward_kit.measures import show_release
from cipherward_kit.memory import keep_freed_memory
from cipherward_kit.parent import die_with_parent
from cipherward_kit.tracing import tracing

__all__ = ["die_with_parent", "run_service"]

ConfigT = TypeVar("ConfigT", bound=ProcessConfig)

BAD_CONFIG_STATUS = 2
CRASH_STATUS = 1
CHECK = "--check"  # the one argument of a service: read the settings, say what is wrong, end
INTERRUPTED_STATUS = 130  # what shells give for SIGINT

# What Kubernetes adds to the environment for a Service whose name begins like our prefix.
SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT\w*|PORT(_\w+)?)$")

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def run_service(
    name: str, config_class: type[ConfigT], serve_service: Callable[[ConfigT], Awaitable[None]]
) -> NoReturn:
    """Read the settings, run the service until a signal, and exit with a status that says why.

    Args:
        name: of the service, in every log line.
        config_class: its settings.
        serve_service: wires and serves it; returns when it has drained.
    """
    configure_logging(name)
    show_release(name)
    keep_freed_memory()
    try:
        config = config_class.model_validate({})  # every field comes from the environment
    except ValidationError as error:
        for line in config_faults(error):
            print(f"cipherward {name}: {line}", file=sys.stderr)
        sys.exit(BAD_CONFIG_STATUS)
    if CHECK in sys.argv[1:]:
        sys.exit(0)
    if config.parent_pid is not None:
        die_with_parent(config.parent_pid)
    if config.ready_file is not None:
        config.ready_file.unlink(missing_ok=True)  # it told of the ports of an earlier run
    for variable in unknown_settings(config_class, os.environ):
        log.warning("setting_unknown", variable=variable)
    sys.exit(_run(name, config, serve_service))


def _run(name: str, config: ConfigT, serve_service: Callable[[ConfigT], Awaitable[None]]) -> int:
    async def main() -> None:
        async with tracing(name, config.member, config.collector):
            await serve_service(config)

    try:
        asyncio.run(main())
    except BaseException as error:
        refusal = _cannot_start(error)
        if refusal is not None:
            log.error("cannot_start", cause=type(refusal).__name__)
            print(f"cipherward {name}: {refusal}", file=sys.stderr)
            return refusal.exit_status
        if isinstance(error, KeyboardInterrupt):  # before the signals were ours
            return INTERRUPTED_STATUS
        if isinstance(error, SystemExit):
            raise
        log.exception("service_crashed")
        print(f"cipherward {name}: crashed; its log says where", file=sys.stderr)
        return CRASH_STATUS
    return 0


def _cannot_start(error: BaseException) -> CannotStart | None:
    """Return the refusal that `error` is, or that its task groups wrap."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        found = (_cannot_start(inner) for inner in group.exceptions)
        return next((refusal for refusal in found if refusal is not None), None)
    return error if isinstance(error, CannotStart) else None


def config_faults(error: ValidationError) -> list[str]:
    """Return one line per wrong setting, without the values that were given."""
    lines: list[str] = []
    for fault in error.errors(include_input=False, include_url=False):
        setting = env_name(str(fault["loc"][0])) if fault["loc"] else "profile production refuses"
        lines.extend(f"{setting}: {line}" for line in fault["msg"].splitlines())
    return lines


def unknown_settings(
    config_class: type[ProcessConfig], environment: Mapping[str, str]
) -> list[str]:
    """Return the CIPHERWARD_* variables that no setting has: most often a slip of the pen."""
    known = {env_name(field) for field in config_class.model_fields}
    return sorted(
        name
        for name in environment
        if name.startswith(ENV_PREFIX) and name not in known and not SERVICE_LINK.search(name)
    )
