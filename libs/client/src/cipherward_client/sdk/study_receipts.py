"""What a publication cites of a study: receipts that anybody verifies without a network."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.results import ResultMalformed, TransactionResult
from cipherward_chain.rfc3339 import format_time
from cipherward_chain.transactions import transaction_id
from cipherward_chain.wire import NANOS
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.ledger import ProvenAct, Submitter
from cipherward_client.sdk.proven_orders import OrderDiffers, block_at
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.study_orders import release_order
from cipherward_client.sdk.study_requests import kept_draft, members_of
from cipherward_client.sdk.study_results import plan_of
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.datafolder import write_atomically


@dataclass(frozen=True, slots=True)
class StudyReceipts:
    """The proof of a study, from its proposal to every release.

    Attributes:
        text: of the study, whose SHA-256 the proposal's terms name: with it a reader holds what
            was asked against what was approved.
        patients: as the first round released them; None before the wallet has read it.
        proposal: the receipt of what the researcher put on the chain.
        releases: by round, the receipts of the reports that ordered the results.
    """

    study_id: bytes
    chain_id: str
    data_set: str
    outputs: tuple[str, ...]
    members: tuple[str, ...]
    patients: int | None
    text: bytes = field(repr=False)
    proposal: ProvenAct = field(repr=False)
    releases: tuple[ProvenAct, ...] = field(repr=False)

    @property
    def spec_digest(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text).hexdigest()

    def citation(self) -> str:
        """Return the line that a publication prints."""
        last = self.releases[-1]
        of = f"{self.patients} patients of " if self.patients is not None else ""
        rounds = f", {len(self.releases)} rounds" if len(self.releases) > 1 else ""
        return (
            f"CipherWard study {self.study_id.hex()} ({', '.join(self.outputs)}; {of}"
            f"{len(self.members)} hospitals: {', '.join(self.members)}; {self.data_set}{rounds}). "
            f"Released {_date(last)[:10]}, block {last.height} of chain {self.chain_id}, "
            f"transaction {last.transaction_id.hex()}. Study text SHA-256 {self.spec_digest}."
        )

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values, without the receipts' octets."""
        return {
            "study": self.study_id.hex(),
            "chain_id": self.chain_id,
            "data_set": self.data_set,
            "outputs": list(self.outputs),
            "contributors": list(self.members),
            "patients": self.patients,
            "spec_digest": self.spec_digest,
            "proposed": _act(self.proposal),
            "released": [_act(one) for one in self.releases],
            "citation": self.citation(),
        }


async def study_receipts(alliance: Alliance, wallet: Wallet, study_id: bytes) -> StudyReceipts:
    """Return the verified receipts of a released study of this wallet.

    Raises:
        ClientError: nothing is released (yet), or a receipt does not verify.
    """
    with explaining():
        study = wallet.study(study_id)
        orders = [one.order for one in study.rounds]
        asker = Asker(alliance, wallet.signer(study.scope))
        newest = (await release_order(alliance, asker, study)).order
        if newest not in orders:
            orders.append(newest)
        draft, members = kept_draft(study.request), members_of(alliance, study)
        plan, _ = await asyncio.to_thread(plan_of, study, wallet.requester_seed(study_id))
        return StudyReceipts(
            study_id=study_id,
            chain_id=alliance.chain_id,
            data_set=draft.data_set,
            outputs=draft.outputs,
            members=members,
            patients=study.rounds[0].totals[0] if study.rounds else None,
            text=plan.spec.octets,
            proposal=(await Submitter(alliance).receipt(study.transaction)).require_applied(),
            releases=tuple([await act_of_order(alliance, order) for order in orders]),
        )


async def act_of_order(alliance: Alliance, order: tuple[int, int]) -> ProvenAct:
    """Return the act whose order stands at (height, index), by its verified receipt.

    Raises:
        OrderDiffers: no transaction of the block has it.
        ReceiptRejected: the receipt does not verify.
        AioRpcError: the ledger has no such block.
    """
    height, index = order
    block = await block_at(alliance, height)
    place = _place(block.results, index)
    if place is None or place >= len(block.transactions):
        raise OrderDiffers("no transaction of the block has that order")
    body = chain_pb.Transaction.FromString(block.transactions[place]).body
    act = await Submitter(alliance).receipt(transaction_id(body))
    first = act.result.first_order
    if act.height != height or not first <= index < first + act.result.order_count:
        raise OrderDiffers("the receipt is of an act with other orders")
    return act.require_applied()


def _place(results: Sequence[bytes], index: int) -> int | None:
    """Return which transaction of a block says that it has an order; nothing is proven by it."""
    for place, octets in enumerate(results):
        try:
            result = TransactionResult.from_bytes(octets)
        except ResultMalformed as error:
            raise OrderDiffers(f"the block has a result out of form: {error}") from error
        if result.first_order <= index < result.first_order + result.order_count:
            return place
    return None


def _date(act: ProvenAct) -> str:
    return format_time(act.time_seconds * NANOS)


def _act(act: ProvenAct) -> dict[str, Any]:
    return {
        "transaction_id": act.transaction_id.hex(),
        "height": act.height,
        "time": _date(act),
    }


def write_receipts(folder: Path, found: StudyReceipts) -> list[Path]:
    """Write receipts, text and citation into a folder; return the files.

    `cipherward receipt verify` verifies each receipt without a network.

    Raises:
        ClientError: a file cannot be written.
    """
    with explaining():
        folder.mkdir(parents=True, exist_ok=True)
        contents = {
            "proposal.receipt": found.proposal.receipt,
            **{
                f"release-{place}.receipt": one.receipt
                for place, one in enumerate(found.releases, 1)
            },
            "study.cbor": found.text,
            "citation.json": json.dumps(found.to_document(), indent=2).encode(),
            "citation.txt": f"{found.citation()}\n".encode(),
        }
        written: list[Path] = []
        for name, octets in contents.items():
            write_atomically(folder / name, octets, mode=0o644)  # none of it is secret
            written.append(folder / name)
        return written
