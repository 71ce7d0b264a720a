"""`cipherward doctor`: what is wrong with an installation, and how to mend it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cipherward_chain.endpoints import SERVICES, EndpointsMalformed
from cipherward_client.alliance.parts import PartsMalformed
from cipherward_client.cli import context
from cipherward_client.cli.faults import CliFault, MemberNotHere
from cipherward_client.cli.options import DEFAULT_FOLDER, Json
from cipherward_client.cli.output import FAILED, Output
from cipherward_client.doctor.checks import Check, Problem, checks_for
from cipherward_client.doctor.examine import examine
from cipherward_client.doctor.targets import (
    Target,
    target_from,
    targets_of,
    targets_of_release,
)

FINE = "ok"


class ServiceUnknown(CliFault):
    """There is no service of that name."""

    reason = "SERVICE_UNKNOWN"
    cause = "There is no service of that name."
    fix = f"Name one of {', '.join(sorted(SERVICES))}."


class FolderDamaged(CliFault):
    """A file of the alliance's folder cannot be read."""

    reason = "FOLDER_DAMAGED"
    cause = "alliance.json or parts.json of the folder is damaged."
    fix = "Remove it; the next start writes it anew."


class NotInARelease(CliFault):
    """The environment is not that of a pod of a release's own systems."""

    reason = "NOT_IN_A_RELEASE"
    cause = "This is no pod of a release's own systems, or its alliance.json cannot be read."
    fix = "kubectl exec statefulset/RELEASE-canary -- cipherward doctor --release"


def doctor(
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            "--alliance",
            envvar="CIPHERWARD_ALLIANCE",
            help="The folder of the alliance, or of this member's part of it.",
        ),
    ] = DEFAULT_FOLDER,
    member: Annotated[str, typer.Option("--member", help="Look at this member alone.")] = "",
    service: Annotated[
        str,
        typer.Option(
            "--service", help="Look at one service, with the CIPHERWARD_* variables as they are."
        ),
    ] = "",
    release: Annotated[
        bool,
        typer.Option(
            "--release", help="In a pod of the release's own systems: look at it from there."
        ),
    ] = False,
    before: Annotated[
        bool, typer.Option("--before", help="Nothing was started yet: look at ports as well.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Check an installation before or after its start; say what is wrong and how to mend it.

    The exit status is 0 if nothing is wrong and 1 otherwise. Nothing secret is printed.
    """
    targets = _targets_of_release() if release else _targets(data, member, service)
    problems = context.run(examine(targets, before=before, outside=release))
    _show(Output(as_json), checks_for(before=before, outside=release), problems)
    return FAILED if problems else 0


def _targets_of_release() -> Sequence[Target]:
    try:
        return targets_of_release(os.environ)
    except (EndpointsMalformed, KeyError, OSError) as error:
        raise NotInARelease(str(error)) from None


def _targets(root: Path, member: str, service: str) -> Sequence[Target]:
    if service:
        if service not in SERVICES:
            raise ServiceUnknown(service)
        return [target_from(service, os.environ)]
    folder = context.alliance_folder(root)
    try:
        targets = targets_of(folder, member)
    except (PartsMalformed, EndpointsMalformed) as error:
        raise FolderDamaged(str(error)) from None
    if not targets:
        raise MemberNotHere(member)
    return targets


def _show(output: Output, checks: Sequence[Check], problems: Sequence[Problem]) -> None:
    rows: list[tuple[str, str, str]] = []
    for check in checks:
        found = [one for one in problems if one.check == check.name]
        rows += [(check.name, _told(one), one.fix) for one in found] or [(check.name, FINE, "")]
    document = {
        "ok": not problems,
        "checks": [check.name for check in checks],
        "problems": [asdict(one) for one in problems],
    }
    output.table(document, ("check", "problem", "how to fix"), rows)


def _told(problem: Problem) -> str:
    return f"{problem.where}: {problem.problem}" if problem.where else problem.problem
