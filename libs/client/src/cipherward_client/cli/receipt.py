"""`cipherward receipt`: proofs that verify without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cipherward_chain.receipts import VerifiedReceipt
from cipherward_chain.root_file import RootFile
from cipherward_client.cli.faults import FileExists
from cipherward_client.cli.options import Json
from cipherward_client.cli.output import Output, clock
from cipherward_client.sdk.receipts import receipt_view
from cipherward_client.sdk.roots import (
    read_root,
    root_of_genesis,
    verify_receipt_by,
    write_root,
)

app = typer.Typer(no_args_is_help=True, help="Verify receipts, offline.")

RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root", help="A trust root, got from somebody you trust: `receipt root` writes one."
    ),
]
GenesisOption = Annotated[
    Path | None,
    typer.Option("--genesis", help="The chain's genesis, got from somebody you trust."),
]


@app.callback()
def _group() -> None:
    """Verify receipts, offline."""


def trusted(root: Path | None, genesis: Path | None) -> RootFile:
    """Return what the command line says is trusted: exactly one file.

    Raises:
        typer.BadParameter: none or both were given.
        ClientError: the file is unreadable or not what it should be.
    """
    if (root is None) == (genesis is None):
        raise typer.BadParameter("give one of --root and --genesis")
    return root_of_genesis(genesis) if genesis is not None else read_root(root or Path())


def _rests_on(proven: VerifiedReceipt, root: RootFile) -> str:
    """Say in words whose signatures count for it."""
    if proven.engine == "solo":
        return "one operator, who is trusted for order and time (solo)"
    signed = f"{proven.signed} of {proven.validators} validators signed"
    if proven.anchored and root.checkpoint is not None:
        return f"{signed}; led through the checkpoint at block {root.checkpoint.height}"
    before = ", before the checkpoint" * (root.checkpoint is not None)
    return f"{signed}; rests on the validators of the genesis{before}"


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The receipt.")],
    root: RootOption = None,
    genesis: GenesisOption = None,
    as_json: Json = False,
) -> None:
    """Verify a receipt against a trust root alone: no service is asked."""
    trust = trusted(root, genesis)
    proven = verify_receipt_by(file, trust)
    view = receipt_view(proven)
    outcome = "applied" if proven.result.applied else f"refused: {proven.result.reason}"
    support = {
        "signed": proven.signed,
        "validators": proven.validators,
        "anchored": proven.anchored,
    }
    Output(as_json).result(
        {"verified": True, **view, **support},
        f"The receipt verifies against the chain {proven.chain_id}.",
        f"  transaction  {proven.transaction.id.hex()}",
        f"  block        {proven.height} at {clock(proven.time_seconds)}",
        f"  result       {outcome}",
        f"  rests on     {_rests_on(proven, trust)}",
    )


@app.command()
def root(
    file: Annotated[Path, typer.Argument(help="The trust root to be written.")],
    genesis: Annotated[
        Path, typer.Option(help="The chain's genesis, got from somebody you trust.")
    ],
    as_json: Json = False,
) -> None:
    """Write the trust root of a genesis: small, and compared by eye with what others have."""
    if file.exists():
        raise FileExists(str(file))
    found = root_of_genesis(genesis)
    write_root(file, found)
    validators = found.root.validators.validators
    document = {
        "root": str(file),
        "chain_id": found.root.chain_id,
        "engine": found.root.engine,
        "genesis_digest": found.root.genesis_digest.hex(),
        "validators": [v.public_key.hex() for v in validators],
    }
    Output(as_json).result(
        document,
        f"{file} is the trust root of the chain {found.root.chain_id} ({found.root.engine}).",
        f"  genesis      {found.root.genesis_digest.hex()}",
        *(f"  validator    {v.public_key.hex()}  power {v.power}" for v in validators),
        "Compare these lines with another member's before you rely on them.",
    )
