"""A member's compute service that writes down which shares the others give it, and is killed.

It is the real one. A line stands on the disk before the share is used: whoever gave it, for which
key and c1, and its SHA-256.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

from cipherward_chain.batches import unpacked
from cipherward_compute import wiring
from cipherward_compute.__main__ import main
from cipherward_compute.peers import Peers
from cipherward_member.reports import OrderKey
from cipherward_threshold.messages import DecryptionShare
from cipherward_threshold.parameters import profile

RECORD_FILE = "SHARES_RECORD"


class RecordingPeers(Peers):
    """The other members' compute services, whose shares are remembered."""

    async def decryption_shares(self, member: str, study: bytes, order: OrderKey) -> bytes:
        """Return a member's packed shares, once they are written down."""
        shares = await super().decryption_shares(member, study, order)
        await asyncio.to_thread(_record, member, shares)
        return shares


def _record(member: str, shares: bytes) -> None:
    with Path(os.environ[RECORD_FILE]).open("a") as file:
        for share in unpacked(shares)[0]:
            found = DecryptionShare.parse(profile("additive-1"), share)
            digest = hashlib.sha256(share).hexdigest()
            file.write(f"{member} {found.key_id.hex()} {found.c1_digest.hex()} {digest}\n")
        file.flush()
        os.fsync(file.fileno())


RECORDERS = ((wiring, "Peers", RecordingPeers),)

if __name__ == "__main__":
    for module, name, recording in RECORDERS:
        setattr(module, name, recording)
    main()
