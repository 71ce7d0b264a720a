"""Options that several commands have, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_FOLDER = Path("cipherward-dev")  # of `dev`, and therefore of all others

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]
AllianceDir = Annotated[
    Path,
    typer.Option(
        "--alliance",
        envvar="CIPHERWARD_ALLIANCE",
        help="The folder of the alliance: what `cipherward dev --data` was given.",
    ),
]
WalletFile = Annotated[
    Path, typer.Option("--wallet", envvar="CIPHERWARD_WALLET", help="The wallet's file.")
]
WalletArgument = Annotated[Path, typer.Argument(help="The wallet's file.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        envvar="CIPHERWARD_PASSPHRASE_FILE",
        help="A file whose first line is the wallet's passphrase; asked for if not given.",
    ),
]
RecordId = Annotated[str, typer.Argument(metavar="RECORD", help="The record's id.")]
StudyId = Annotated[str, typer.Argument(metavar="STUDY", help="The study's id.")]
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="The data key's id.")]
As = Annotated[str, typer.Option("--member", help="The member that acts; its keys lie here.")]
Reject = Annotated[bool, typer.Option("--reject", help="Vote no.")]
No = Annotated[bool, typer.Option("--no", help="Vote against it.")]
