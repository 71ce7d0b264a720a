"""Install the servers into .servers/: pinned, whole or not at all, at most one at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.servers.child import ServerFailed, launcher
from tests.servers.kafka import record_archives
from tests.servers.pins import (
    COMETBFT_BINARY,
    COMETBFT_VERSION,
    FOLDER,
    KAFKA_LIBRARIES,
    KAFKA_VERSION,
    MONGO_PROGRAM,
    MONGO_VERSION,
    PINS,
    ROOT,
    ServerName,
    stamp_file,
    stamped,
)

COMETBFT_MODULE: Final = "github.com/cometbft/cometbft"
# A cold build of CometBFT takes 2 to 4 minutes on 2 busy cores.
STEP_SECONDS: Final = 1_200.0
UV: Final = ROOT / ".uv" / "bin" / "uv"
OUTPUT_TAIL_CHARACTERS: Final = 1_000


class NotInstalled(RuntimeError):
    """A server could not be installed; the text is a sentence that says why."""


def install(name: ServerName) -> str:
    """Install one server unless its pinned version is there; return a sentence about it.

    Raises:
        NotInstalled: a program that it needs is missing, or a step failed.
    """
    pin = PINS[name]
    with _alone():
        if pin.pinned and stamped(name):
            return f"{pin.title}: already there."
        programs = (*pin.installed_with, *(pin.runs_with if pin.pinned else ()))
        absent = [brought_by for program, brought_by in programs if shutil.which(program) is None]
        if absent:
            needed = " and ".join(dict.fromkeys(absent))
            raise NotInstalled(f"{pin.title}: needs {needed}; install that and try again.")
        stamp_file(name).unlink(missing_ok=True)
        told = _STEPS[name]()
        if pin.pinned:
            stamp_file(name).write_text(pin.pinned)
        return f"{pin.title}: {told}."


@contextmanager
def _alone() -> Generator[None]:
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str | Path], **environment: str) -> str:
    """Return the output of a step, or raise `NotInstalled` with the end of it."""
    try:
        done = subprocess.run(
            [*launcher(), *command],  # or a step of a killed install writes into the next one's
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{command[0]} did not run: {error}") from None
    if done.returncode != 0:
        raise NotInstalled(f"{command[0]} failed:\n{done.stdout[-OUTPUT_TAIL_CHARACTERS:]}")
    return done.stdout


def _install_cometbft() -> str:
    """Build it beside its place and move it there: tests that run keep theirs."""
    build = FOLDER / "build"
    shutil.rmtree(build, ignore_errors=True)
    _run(
        [
            "go",
            "install",
            "-trimpath",
            "-ldflags=-s -w",
            f"{COMETBFT_MODULE}/cmd/cometbft@{COMETBFT_VERSION}",
        ],
        GOBIN=str(build),
        GOFLAGS="-buildvcs=false",
        CGO_ENABLED="0",
    )
    built = build / "cometbft"
    # The program's own `version` is wrong in this release.
    if f"mod\t{COMETBFT_MODULE}\t{COMETBFT_VERSION}\t" not in _run(["go", "version", "-m", built]):
        raise NotInstalled(f"go built another version than {COMETBFT_VERSION}")
    COMETBFT_BINARY.parent.mkdir(parents=True, exist_ok=True)
    built.replace(COMETBFT_BINARY)
    build.rmdir()
    return f"built into {COMETBFT_BINARY.relative_to(ROOT)}"


def _install_kafka() -> str:
    """Fetch the jars, then run it once to record class archives that halve every later start."""
    folder = KAFKA_LIBRARIES.parent
    shutil.rmtree(folder, ignore_errors=True)
    _run(
        [
            "mvn",
            "--quiet",
            "--batch-mode",
            f"--file={Path(__file__).with_name('pom.xml')}",
            f"-Dkafka.version={KAFKA_VERSION}",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={KAFKA_LIBRARIES}",
        ]
    )
    try:
        record_archives(folder / "recording")
    except ServerFailed as error:
        raise NotInstalled(str(error)) from None
    shutil.rmtree(folder / "recording")
    jars = len(list(KAFKA_LIBRARIES.glob("*.jar")))
    return f"{jars} jars in {KAFKA_LIBRARIES.relative_to(ROOT)}, class archives recorded"


def _install_mongo() -> str:
    environment = MONGO_PROGRAM.parents[1]
    shutil.rmtree(environment, ignore_errors=True)
    _run([UV, "venv", "--quiet", "--python", sys.executable, environment])
    python = environment / "bin" / "python"
    _run([UV, "pip", "install", "--quiet", "--python", python, f"SecantusDB=={MONGO_VERSION}"])
    _run([MONGO_PROGRAM, "--help"])
    return f"in an environment of its own, {environment.relative_to(ROOT)}"


def _install_prometheus() -> str:
    found = shutil.which("prometheus")
    if found is not None:
        return f"{found} is on the path"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NotInstalled(
            "Prometheus: missing; install the package prometheus, or put prometheus on the path."
        )
    command = ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", "prometheus"]
    try:
        _run(command, DEBIAN_FRONTEND="noninteractive")
    except NotInstalled:  # the package lists are older than the archive
        _run(["apt-get", "update", "--quiet"])
        _run(command, DEBIAN_FRONTEND="noninteractive")
    return "installed by apt-get"


_STEPS: Final[dict[ServerName, Callable[[], str]]] = {
    "cometbft": _install_cometbft,
    "kafka": _install_kafka,
    "mongo": _install_mongo,
    "prometheus": _install_prometheus,
}
