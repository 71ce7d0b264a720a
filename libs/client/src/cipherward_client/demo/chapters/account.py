"""Chapters: who saw my record, and proofs that need nobody."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path

from cipherward_chain.checkpoint import TrustRoot
from cipherward_chain.genesis import Genesis
from cipherward_chain.receipts import ReceiptRejected, verify_receipt
from cipherward_client.demo.cast import Cast
from cipherward_client.demo.chapters.share import Shared
from cipherward_client.demo.report import Report, size
from cipherward_client.demo.teller import Teller
from cipherward_client.sdk.audit import CARRIED_OUT, REFUSED, AuditRow, audit_record

REPORT_SECONDS = 20.0  # the custodian's own report is a transaction of its own, a block later
REPORT_POLL_SECONDS = 0.2
FLIPS = 1_000


async def account(cast: Cast, shared: Shared) -> list[bytes]:
    """Tell who saw the record; return the receipts of the whole story."""
    teller = cast.teller
    teller.chapter("The patient asks who saw the record")
    with cast.report.timed("audit"):
        rows = await _settled_audit(cast, shared)
    for row in rows:
        who = f"a {row.role} of {row.member}" if row.role else row.member
        outcome = f"refused: {row.reason}" if row.stage == REFUSED else row.stage
        teller.say(f"Block {row.height}: {who} asked to open it ({row.purpose}): {outcome}.")
    opened = [row.member for row in rows if row.stage == CARRIED_OUT]
    refused = [row.member for row in rows if row.stage == REFUSED]
    complete = (
        opened == [shared.reader.member]
        and sorted(refused) == sorted((shared.stranger.member, shared.reader.member))
        and len(rows) == 1 + shared.refusals
    )
    teller.say("That is the whole list, and the chain proves every line of it.")
    cast.report.check(
        "the patient sees every access and every refusal",
        complete,
        f"{len(opened)} opened, {len(refused)} refused",
    )
    receipts = [act.receipt for act in cast.acts]
    for row in rows:
        receipts += [receipt for receipt in (row.receipt, row.report_receipt) if receipt]
    return receipts


async def _settled_audit(cast: Cast, shared: Shared) -> list[AuditRow]:
    """Return the accesses once the custodian has reported the one that it carried out."""
    ends = time.monotonic() + REPORT_SECONDS
    while True:
        rows = await audit_record(cast.alliance, shared.case.wallet, shared.case.record.record_id)
        if any(row.stage == CARRIED_OUT for row in rows) or time.monotonic() > ends:
            return rows
        await asyncio.sleep(REPORT_POLL_SECONDS)


async def prove_offline(
    teller: Teller, report: Report, genesis_file: Path, receipts: list[bytes]
) -> None:
    """Tell how every receipt verifies while no service runs, and how a forged one does not."""
    teller.chapter("The alliance is switched off, and the proofs still hold")
    trust_root = Genesis.parse(await asyncio.to_thread(genesis_file.read_bytes)).trust_root()
    with report.timed("verify receipts"):
        valid = await asyncio.to_thread(_count_valid, receipts, trust_root)
    each = 1000 * report.timings["verify receipts"] / max(1, len(receipts))
    teller.say(
        f"{valid} of {len(receipts)} receipts ({size(sum(map(len, receipts)))}) verify against "
        f"the genesis file alone, {each:.2f} ms each."
    )
    report.check(
        "every receipt verifies offline",
        0 < valid == len(receipts),
        f"{valid} of {len(receipts)}, {each:.2f} ms each",
    )
    refused = await asyncio.to_thread(_count_refused_flips, receipts, trust_root)
    teller.say(f"{FLIPS} receipts with one flipped bit somewhere: {refused} refused.")
    report.check(
        "a receipt with one flipped bit is refused", refused == FLIPS, f"{refused} of {FLIPS}"
    )


def _count_valid(receipts: list[bytes], trust_root: TrustRoot) -> int:
    valid = 0
    for receipt in receipts:
        try:
            verify_receipt(receipt, trust_root)
        except ReceiptRejected:
            continue
        valid += 1
    return valid


def _count_refused_flips(receipts: list[bytes], trust_root: TrustRoot) -> int:
    refused = 0
    for _ in range(FLIPS):
        forged = bytearray(secrets.choice(receipts))
        bit = secrets.randbelow(8 * len(forged))
        forged[bit // 8] ^= 1 << bit % 8
        try:
            verify_receipt(bytes(forged), trust_root)
        except ReceiptRejected:
            refused += 1
    return refused
