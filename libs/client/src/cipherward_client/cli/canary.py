"""`cipherward canary`: keep asking for what must be refused."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.alliance.layout import CLIENT, MEMBER_KEY, AllianceFolder
from cipherward_client.cli import context
from cipherward_client.cli.faults import MemberNotHere
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir

app = typer.Typer(no_args_is_help=True, help="Find out whether what must be refused is refused.")

DATA = "canary"  # of the member's data folder
FREE_PORT = "127.0.0.1:0"


@app.command("run")
def run_canaries(
    member: Annotated[str, typer.Option("--member", help="Whose services are asked.")],
    alliance: AllianceDir = DEFAULT_FOLDER,
    data: Annotated[
        Path | None, typer.Option(help="Their own folder; by default DIR/<member>/data/canary.")
    ] = None,
    health: Annotated[str, typer.Option(help="Address of the health service.")] = FREE_PORT,
    metrics: Annotated[str, typer.Option(help="Address of the page /metrics.")] = FREE_PORT,
) -> None:
    """Ask every read path, over and over, for what must be refused; run until Ctrl-C.

    It is a service like the others: what it is not told here comes from CIPHERWARD_* variables.
    """
    folder = context.alliance_folder(alliance)
    if Path(member).name != member or not folder.member(member).key("").is_dir():
        raise MemberNotHere(member)
    settings = canary_settings(folder, member, data)
    settings |= {"CIPHERWARD_HEALTH_LISTEN": health, "CIPHERWARD_METRICS_LISTEN": metrics}
    sys.stdout.flush()
    # The process becomes the service: signals, parent and exit status are its own.
    module = [sys.executable, "-m", "cipherward_client.canaries"]
    os.execve(sys.executable, module, {**os.environ, **settings})


def canary_settings(folder: AllianceFolder, member: str, data: Path | None) -> dict[str, str]:
    """Return the settings that the folder of an alliance gives."""
    home = folder.member(member)
    certificate, private_key = home.certificate(CLIENT)
    found: Mapping[str, object] = {
        "MEMBER": member,
        "DATA_DIR": data or home.data(DATA),
        "GENESIS_FILE": folder.genesis_file,
        "ENDPOINTS_FILE": folder.endpoints_file,
        "TLS_CERTIFICATE": certificate,
        "TLS_PRIVATE_KEY": private_key,
        "MEMBER_KEY_FILE": home.key(MEMBER_KEY),
    }
    return {f"CIPHERWARD_{name}": str(value) for name, value in found.items()}
