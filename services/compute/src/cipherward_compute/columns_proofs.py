"""Verifying that a member's columns are encrypted as they should be, by the proofs beside them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cipherward_chain.batches import packed
from cipherward_compute.arithmetic.inputs import Encryption, Expected
from cipherward_compute.columns import Batch, Layout, Manifest
from cipherward_compute.columns_store import ColumnStore
from cipherward_compute.jobs.public import PublicArithmetic
from cipherward_compute.keyring import Ceremony


@dataclass(frozen=True, slots=True)
class ColumnProofs:
    """Fetches columns and proofs from their member's storage, and verifies them."""

    chain_id: str
    store: ColumnStore
    public: PublicArithmetic

    def encryption(
        self, ceremony: Ceremony, layout: Layout, member: str, batch: Batch
    ) -> Encryption:
        """Return what the proof of a member's batch is about."""
        context = layout.proof_context(self.chain_id, member, batch.number)
        return Encryption(ceremony.profile, ceremony.public_key, context)

    async def verify(
        self, ceremony: Ceremony, layout: Layout, manifest: Manifest, batch: Batch
    ) -> None:
        """Accept a batch of the columns that a member has listed.

        Raises:
            PeerWrong: the member's storage has others, or they are not proven.
            StepFailed: its storage refuses them.
        """
        wanted = manifest.columns[batch.first : batch.first + len(batch.columns)]
        get = self.store.get
        columns = [await get(manifest.member, manifest.study, digest) for digest in wanted]
        proof = await get(manifest.member, manifest.study, manifest.proofs[batch.number])
        encryption = self.encryption(ceremony, layout, manifest.member, batch)
        expected = Expected(manifest.member, encryption, len(columns), zeros=False)
        await self.public.verify_batch(expected, await asyncio.to_thread(packed, columns, (proof,)))
