"""What `cipherward doctor` looks at: the closed list, and what a look finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BEFORE, ALWAYS, RUNNING = "before", "always", "running"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at.

    when: BEFORE the start only, ALWAYS, or only while the services are RUNNING.
    inside: only where the process itself is, not from another pod of its release.
    """

    name: str
    when: str
    asks: str
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where, and what to do. It holds no secret and nothing about a person.

    where: `<member>/<service>`, a member, or "" for the alliance.
    """

    check: str
    where: str
    problem: str
    fix: str


CHECKS: Final = (
    Check(
        "settings",
        ALWAYS,
        "each service accepts its settings; all that it refuses, at once",
        inside=True,
    ),
    Check("genesis", ALWAYS, "genesis and alliance.json can be read and are of one chain"),
    Check(
        "certificates",
        ALWAYS,
        "each certificate fits its key, bears the service's two names, is valid for another week, "
        "and an authority of its member issued it, which is valid for another 90 days and as long "
        "as the certificate",
    ),
    Check("keys", ALWAYS, "key files are there, private, and those that the genesis names"),
    Check("disk", ALWAYS, "data folders can be written, and have a gigabyte left", inside=True),
    Check(
        "consensus program",
        ALWAYS,
        "the consensus node's program is there, where it is used",
        inside=True,
    ),
    Check("kafka", ALWAYS, "a broker listens, where Kafka is used", inside=True),
    Check("mongodb", ALWAYS, "a server listens, where MongoDB is used", inside=True),
    Check("ports", BEFORE, "the ports are free", inside=True),
    Check("services", RUNNING, "each process answers, and every condition of its readiness holds"),
    Check("releases", RUNNING, "all processes are of one release"),
    Check("clock", RUNNING, "this machine's clock and the newest block's time agree"),
    Check("peers", RUNNING, "every service of every member can be reached from here"),
    Check("consensus", RUNNING, "the members' ledgers answer, and none is behind"),
    Check(
        "contract engines",
        RUNNING,
        "contract can execute what the members voted, and members at one height have one state",
    ),
    Check("canaries", RUNNING, "nothing was given that must be refused"),
)


def checks_for(*, before: bool, outside: bool = False) -> tuple[Check, ...]:
    """Return the checks of a look before the start, or while the services run.

    Args:
        outside: the services are in pods of their own, and looked at from another one.
    """
    left_out = RUNNING if before else BEFORE
    return tuple(
        check for check in CHECKS if check.when != left_out and not (outside and check.inside)
    )
