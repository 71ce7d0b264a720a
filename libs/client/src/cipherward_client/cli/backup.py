"""`cipherward backup` and `cipherward restore`: a member's stores, into a file and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.alliance.layout import MEMBER_KEY, AllianceFolder
from cipherward_client.backup import restoring
from cipherward_client.backup.making import make_backup, make_dated_backup
from cipherward_client.backup.manifest import Manifest
from cipherward_client.backup.placing import Placing
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
SlotKeysFolder = Annotated[
    Path | None,
    typer.Option(help="Where the slot keys are, if not in the storage's data folder."),
]
KEEP_MAX = 1000  # three years of daily ones


def backup(
    member: Member,
    out: Annotated[
        Path | None, typer.Option("--out", help="The archive to be written; or give --into.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            "--into", help="The folder of the archive, which is named by its moment: with --store."
        ),
    ] = None,
    keep: Annotated[
        int,
        typer.Option(
            "--keep", min=1, max=KEEP_MAX, help="With --into: leave so many, delete older ones."
        ),
    ] = 7,
    data: Data = DEFAULT_FOLDER,
    store: Store = None,
    slot_keys_folder: SlotKeysFolder = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite the archive: for slot keys.")
    ] = False,
    running: Annotated[
        bool,
        typer.Option(
            "--running",
            help="Copy a database only if its service is seen to run: for another container.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a member's stores into one archive while its services run.

    Without --store all that are here, but for slot keys, which never lie beside the records that
    they open. Keys and certificates are in no archive.
    """
    if (out is None) == (into is None) or (into is not None and not store):
        raise typer.BadParameter("give --out FILE, or --into FOLDER with --store")
    folder, stores = _home(data, member), store or ()
    with explaining():
        if out is not None:
            made = make_backup(
                folder,
                member,
                out,
                stores,
                slot_keys=slot_keys_folder,
                replace=replace,
                running=running,
            )
        else:
            assert into is not None  # one of the two was given
            out, made = make_dated_backup(
                folder,
                member,
                into,
                stores,
                keep=keep,
                slot_keys=slot_keys_folder,
                running=running,
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
    archive: Annotated[
        Path,
        typer.Argument(
            metavar="ARCHIVE",
            help="What `backup` has written, or the folder of --into: the newest in it.",
        ),
    ],
    member: Member,
    data: Data = DEFAULT_FOLDER,
    store: Store = None,
    slot_keys_folder: SlotKeysFolder = None,
    endpoints_file: Annotated[
        Path | None,
        typer.Option(help="Where the ledgers are, if not in the folder's alliance.json."),
    ] = None,
    aside: Annotated[
        bool,
        typer.Option("--aside", help="Move what lies in the store's place into a folder beside."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Put a member's stores back into empty folders, held against the chain.

    The member's keys must be in the folder, its services stopped, and a ledger must answer, unless
    the archive has the chain itself. Either everything is put back or nothing.
    """
    folder = _home(data, member)
    placing = Placing(slot_keys_folder, endpoints_file, aside)
    with explaining():
        found = context.run(restoring.restore(folder, member, archive, store or (), placing))
    document = {
        **_document(found.manifest),
        "archive": str(found.archive),
        "stores": list(found.stores),
        "chain_height": found.height,
    }
    when = clock(found.manifest.made_at)
    lines = [f"{', '.join(found.stores)} of {member} are back as they were at {when}."]
    lines.append(f"  from {found.archive}")
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
