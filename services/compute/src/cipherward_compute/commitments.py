"""What a member commits to before it shows its contribution."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field

from cipherward_chain.domains import STUDY_CONTRIBUTION, STUDY_PROOF
from cipherward_compute.framing import digest_of, framed
from cipherward_compute.sums import Sum


@dataclass(frozen=True, slots=True)
class Contributed:
    """A member's packed ciphertexts and proof, and the block before which opt-outs count in it."""

    batch: bytes = field(repr=False)
    opt_outs_height: int

    @property
    def commitment(self) -> bytes:
        """What its member tells the chain (32 bytes) before anybody sees it; takes some ms."""
        digest = hashlib.sha256(self.batch).digest()
        return digest_of(STUDY_CONTRIBUTION, self.opt_outs_height.to_bytes(8, "big"), digest)


async def commitment_to(batch: bytes, opt_outs_height: int) -> bytes:
    """Return the commitment to a contribution, computed beside the event loop."""
    return await asyncio.to_thread(lambda: Contributed(batch, opt_outs_height).commitment)


def proof_context(chain_id: str, member: str, wanted: Sum, spec_digest: bytes) -> bytes:
    """Return what a proof of correct encryption is bound to: it is good nowhere else.

    The digest of a refreshed sum tells one attempt from another.
    """
    return framed(
        STUDY_PROOF,
        chain_id.encode(),
        wanted.study,
        member.encode(),
        wanted.stage.encode(),
        wanted.round.to_bytes(4, "big"),
        wanted.refreshed,
        spec_digest,
    )
