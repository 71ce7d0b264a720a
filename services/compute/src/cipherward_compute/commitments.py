"""What a member commits to before it shows its contribution."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cipherward_chain.domains import STUDY_CONTRIBUTION
from cipherward_compute.framing import digest_of


@dataclass(frozen=True, slots=True)
class Contributed:
    """A member's ciphertext, and the block before which opt-outs count in it."""

    ciphertext: bytes
    opt_outs_height: int

    @property
    def commitment(self) -> bytes:
        """What its member tells the chain (32 bytes) before anybody sees it; takes about 1 ms."""
        digest = hashlib.sha256(self.ciphertext).digest()
        return digest_of(STUDY_CONTRIBUTION, self.opt_outs_height.to_bytes(8, "big"), digest)
