"""Which servers the tests use: their pinned versions, where they lie, what each of them needs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

ServerName = Literal["cometbft", "kafka", "mongo", "prometheus"]

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / ".servers"  # ignored by git; `make clean` removes it

# Not @latest: that is v1.0.1, a line which is not supported. v0.40.0 calls itself 0.39.0.
COMETBFT_VERSION: Final = "v0.40.0"
# The newest Kafka that still runs on Java 17; tests/servers/pom.xml takes it from here.
KAFKA_VERSION: Final = "4.3.1"
# Speaks MongoDB's protocol. GPL and beta: a process of its own in an environment of its own, for
# tests only; it is no dependency of anything here.
MONGO_VERSION: Final = "0.7.0b3"

COMETBFT_BINARY: Final = FOLDER / "bin" / "cometbft"
KAFKA_LIBRARIES: Final = FOLDER / "kafka" / "libs"
KAFKA_ARCHIVES: Final = FOLDER / "kafka" / "archives"
MONGO_PROGRAM: Final = FOLDER / "mongo" / "bin" / "secantusd-py"


@dataclass(frozen=True, slots=True)
class Pin:
    """One server.

    title: what a sentence calls it.
    pinned: what its stamp holds; another text means that it is to be installed again.
    installed_with: programs that installing it needs, with the name of what brings each.
    runs_with: programs that it needs whenever it runs.
    """

    title: str
    pinned: str
    installed_with: tuple[tuple[str, str], ...] = ()
    runs_with: tuple[tuple[str, str], ...] = ()


PINS: Final[dict[ServerName, Pin]] = {
    "cometbft": Pin(f"CometBFT {COMETBFT_VERSION}", COMETBFT_VERSION, (("go", "Go 1.25"),)),
    "kafka": Pin(
        f"Apache Kafka {KAFKA_VERSION}",
        f"{KAFKA_VERSION} archives-1",
        (("mvn", "Maven"), ("java", "Java 17")),
        (("java", "Java 17"),),
    ),
    "mongo": Pin(f"SecantusDB {MONGO_VERSION} (MongoDB's protocol)", MONGO_VERSION),
    # Debian's; the version is the distribution's own.
    "prometheus": Pin("Prometheus", "", (), (("prometheus", "the package prometheus"),)),
}


def stamp_file(name: ServerName, folder: Path = FOLDER) -> Path:
    """Return the file that holds the pinned version once the install is whole."""
    return folder / f"{name}.stamp"


def stamped(name: ServerName, folder: Path = FOLDER) -> bool:
    """Return whether the pinned version was installed to its end."""
    try:
        return stamp_file(name, folder).read_text() == PINS[name].pinned
    except FileNotFoundError:
        return False


def missing(
    name: ServerName,
    *,
    which: Callable[[str], str | None] = shutil.which,
    folder: Path = FOLDER,
) -> str | None:
    """Return a sentence that says why this server cannot run here, or None.

    Args:
        name: the server.
        which: finds a program on the path.
        folder: where servers are installed.
    """
    pin = PINS[name]
    absent = [brought_by for program, brought_by in pin.runs_with if which(program) is None]
    if absent:
        return f"{pin.title} cannot run: {' and '.join(absent)} is missing."
    if pin.pinned and not stamped(name, folder):
        needs = [brought_by for program, brought_by in pin.installed_with if which(program) is None]
        first = f"install {' and '.join(needs)}, then " if needs else ""
        return f"{pin.title} is not installed: {first}run `make install-servers`."
    return None
