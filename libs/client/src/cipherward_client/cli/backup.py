"""`cipherward backup` and `cipherward restore`: a member's stores, into a file and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.alliance.layout import MEMBER_KEY, AllianceFolder
from cipherward_client.backup import restoring
from cipherward_client.backup.making import make_backup
from cipherward_client.backup.manifest import Manifest
from cipherward_client.backup.stores import COMPUTE, SLOT_KEYS, STORAGE
from cipherward_client.cli import context
from cipherward_client.cli.faults import AllianceMissing, MemberNotHere
from cipherward_client.cli.options import DEFAULT_FOLDER, Json
from cipherward_client.cli.output import Output, clock
from cipherward_client.sdk.errors import explaining

Data = Annotated[
    Path,
    typer.Option(
        "--data",
        "--alliance",
        envvar="CIPHERWARD_ALLIANCE",
        help="The folder of the alliance, or of this member's part of it.",
    ),
]
Member = Annotated[str, typer.Option("--member", help="Whose stores; its keys lie here.")]
Store = Annotated[
    list[str] | None,
    typer.Option(
        "--store",
        help="identity, storage, compute, chain or slot-keys; may be given several times.",
    ),
]


def backup(
    member: Member,
    out: Annotated[Path, typer.Option("--out", help="The archive to be written.")],
    data: Data = DEFAULT_FOLDER,
    store: Store = None,
    slot_keys_folder: Annotated[
        Path | None,
        typer.Option(help="Where the slot keys are, if not in the storage's data folder."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite the archive: for slot keys.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a member's stores into one archive while its services run.

    Without --store all that are here, but for slot keys, which never lie beside the records that
    they open. Keys and certificates are in no archive.
    """
    folder = _home(data, member)
    with explaining():
        made = make_backup(
            folder, member, out, store or (), slot_keys=slot_keys_folder, replace=replace
        )
    manifest = made.manifest
    document = {**_document(manifest), "out": str(out), "elsewhere": dict(made.elsewhere)}
    lines = [f"{', '.join(manifest.stores)} of {member} are in {out}."]
    lines += [f"  {name} stands at block {height}" for name, height in manifest.heights.items()]
    lines += [f"Not in it: {name}, kept by {who}." for name, who in made.elsewhere]
    if STORAGE in manifest.stores:
        lines.append("Its slot keys go to another place: --store slot-keys.")
    Output(as_json).result(document, *lines)


def restore(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="What `backup` has written.")],
    member: Member,
    data: Data = DEFAULT_FOLDER,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Put a member's stores back into empty folders, held against the chain.

    The member's keys must be in the folder, its services stopped, and a ledger must answer, unless
    the archive has the chain itself. Either everything is put back or nothing.
    """
    folder = _home(data, member)
    with explaining():
        found = context.run(restoring.restore(folder, member, archive, store or ()))
    document = {
        **_document(found.manifest),
        "stores": list(found.stores),
        "chain_height": found.height,
    }
    when = clock(found.manifest.made_at)
    lines = [f"{', '.join(found.stores)} of {member} are back as they were at {when}."]
    if COMPUTE in found.stores:
        lines.append(
            f"Compute answers no order up to block {found.height} again unless its share is kept."
        )
    if SLOT_KEYS not in found.stores:
        lines.append("Start the services: the chain brings what came after.")
    Output(as_json).result(document, *lines)


def _home(data: Path, member: str) -> AllianceFolder:
    folder = AllianceFolder(data)
    if not folder.genesis_file.exists():
        raise AllianceMissing(f"no genesis.json in {data}")
    home = folder.member(member)
    if not member or Path(member).name != member or not home.key(MEMBER_KEY).exists():
        raise MemberNotHere(member)
    return folder


def _document(manifest: Manifest) -> dict[str, object]:
    return {
        "chain_id": manifest.chain_id,
        "member": manifest.member,
        "made_at": clock(manifest.made_at),
        "stores": list(manifest.stores),
        "heights": dict(manifest.heights),
        "files": len(manifest.entries),
        "bytes": sum(one.size for one in manifest.entries),
    }
