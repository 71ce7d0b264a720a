"""`cipherward alliance manifests`: what a release of the chart needs of a member's folder."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
import yaml

from cipherward_client.alliance.manifests import Release, manifests, values
from cipherward_client.cli import context
from cipherward_client.cli.faults import SecretsOnScreen
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir, As
from cipherward_client.sdk.errors import explaining

OURS = "# Beside these a production release names kafka and mongo: docs/kubernetes.md.\n"


def print_manifests(
    member: As,
    namespace: Annotated[str, typer.Option(help="Named in each object; else kubectl's own.")] = "",
    release: Annotated[
        str, typer.Option(help="Full name of the release; certificates' Secrets begin with it.")
    ] = Release().name,
    certificates: Annotated[
        bool,
        typer.Option(
            "--certificates/--cert-manager",
            help="Give the certificates of the folder, or let cert-manager make them.",
        ),
    ] = True,
    only_values: Annotated[
        bool, typer.Option("--values", help="Print the release's values instead: no secret.")
    ] = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
) -> None:
    """Print the Secrets and the ConfigMap of a member, for `kubectl apply -f -`.

    The key of its authority is in none of them: it stays in the folder. Nothing is written, and
    secrets are not printed on a terminal.
    """
    folder, wanted = context.alliance_folder(alliance), Release(release, namespace, certificates)
    if only_values:
        with explaining():
            found = values(folder, member, wanted)
        sys.stdout.write(yaml.safe_dump(found, sort_keys=False))
        if found["profile"] == "production":
            sys.stdout.write(OURS)
        return
    if sys.stdout.isatty():
        raise SecretsOnScreen("")
    with explaining():
        objects = manifests(folder, member, wanted)
    yaml.safe_dump_all(objects, sys.stdout, sort_keys=False)
