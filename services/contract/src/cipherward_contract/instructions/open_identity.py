"""`open_identity`: the guardians of the opening key each seal a share to the recipient that the
warrant names; the chain sees who answered, and a digest.
"""

from __future__ import annotations

from cipherward_contract.instructions.kinds import ordered

OPEN_IDENTITY = ordered(
    "open_identity",
    "guardians",
    "warrant scope pseudonym ciphertext opening_key key_epoch sharing threshold guardians recipient"
    " recipient_key",
    is_step=True,
)
