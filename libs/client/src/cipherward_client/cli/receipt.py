"""`cipherward receipt`: proofs that verify without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.cli.options import Json
from cipherward_client.cli.output import Output, clock
from cipherward_client.sdk.receipts import receipt_view, verify_receipt_file

app = typer.Typer(no_args_is_help=True, help="Verify receipts, offline.")


@app.callback()
def _group() -> None:
    """Verify receipts, offline."""


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The receipt.")],
    genesis: Annotated[
        Path, typer.Option(help="The chain's genesis, got from somebody you trust.")
    ],
    as_json: Json = False,
) -> None:
    """Verify a receipt against the genesis alone: no service is asked."""
    proven = verify_receipt_file(file, genesis)
    view = receipt_view(proven)
    outcome = "applied" if proven.result.applied else f"refused: {proven.result.reason}"
    engine = " (solo: one operator is trusted for order and time)" * (proven.engine == "solo")
    Output(as_json).result(
        {"verified": True, **view},
        f"The receipt verifies against the chain {proven.chain_id}{engine}.",
        f"  transaction  {proven.transaction.id.hex()}",
        f"  block        {proven.height} at {clock(proven.time_seconds)}",
        f"  result       {outcome}",
    )
