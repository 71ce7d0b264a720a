"""`cipherward audit`: who saw a record, with a proof of every line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cipherward_client.cli import context
from cipherward_client.cli.options import (
    DEFAULT_FOLDER,
    AllianceDir,
    Json,
    PassphraseFile,
    RecordId,
    WalletFile,
)
from cipherward_client.cli.output import Output, clock
from cipherward_client.sdk.audit import AuditRow, audit_record
from cipherward_client.sdk.receipts import write_receipt

# What each purpose code means to a patient (HL7 v3 PurposeOfUse).
PURPOSE_WORDS = {
    "TREAT": "treatment",
    "ETREAT": "an emergency",
    "HPAYMT": "payment",
    "HRESCH": "research",
    "PATRQT": "the patient's own request",
}
STAGE_WORDS = {
    "ordered": "was allowed to open it; the hospital that keeps it has not yet reported",
    "carried out": "opened it",
    "refused": "asked for it and was refused",
    "failed": "was allowed to open it, and it could not be given",
}


@dataclass(frozen=True, slots=True)
class _Kept:
    """The files that a row's receipts were written to; empty when they were not asked for."""

    receipt: str = ""
    report: str = ""


def sentence(row: AuditRow) -> str:
    """Return one access as a sentence a patient reads."""
    who = f"A {row.role} of {row.member}" if row.role else (row.member or "The owner")
    did = STAGE_WORDS.get(row.stage, row.stage)
    why = PURPOSE_WORDS.get(row.purpose, row.purpose)
    end = f" ({row.reason})" if row.reason else ""
    return f"{clock(row.time_seconds)}  {who} {did}, for {why}{end}."


def audit(
    record: RecordId,
    wallet: WalletFile,
    receipts: Annotated[
        Path | None, typer.Option(help="Write every row's receipt into this folder.")
    ] = None,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Who saw a record? Every access and every refused attempt, each with a verified receipt."""
    record_id = context.parse_id(record)

    rows = context.by_holder(
        alliance,
        wallet,
        passphrase_file,
        lambda me: audit_record(me.alliance, me.wallet, record_id),
    )
    kept = [_keep(receipts, place, row) for place, row in enumerate(rows)]
    document = {
        "record": record,
        "accesses": [_row(row, files) for row, files in zip(rows, kept, strict=True)],
    }
    lines = [sentence(row) for row in rows] or ["Nobody has asked for this record."]
    lines.append(f"{len(rows)} entries; the receipt of each was verified on this machine.")
    if receipts is not None:
        lines.append(f"They are in {receipts}: `cipherward receipt verify FILE --genesis …`.")
    Output(as_json).result(document, *lines)


def _keep(folder: Path | None, place: int, row: AuditRow) -> _Kept:
    if folder is None:
        return _Kept()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{place:04}-block-{row.height}"
    receipt = folder / f"{name}.receipt"
    write_receipt(receipt, row.receipt)
    if not row.report_receipt:
        return _Kept(str(receipt))
    report = folder / f"{name}-report.receipt"
    write_receipt(report, row.report_receipt)
    return _Kept(str(receipt), str(report))


def _row(row: AuditRow, files: _Kept) -> dict[str, Any]:
    return {
        "time": row.time_seconds,
        "member": row.member,
        "role": row.role,
        "purpose": row.purpose,
        "stage": row.stage,
        "reason": row.reason,
        "consent": row.grant_id.hex(),
        "height": row.height,
        "receipt": files.receipt,
        "report_receipt": files.report,
    }
