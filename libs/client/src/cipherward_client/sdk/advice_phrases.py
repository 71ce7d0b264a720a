"""Fixes that many reasons share, worded once."""

from __future__ import annotations

UNEXPECTED = "UNEXPECTED"  # for what nobody has foreseen; its advice is always there

UPDATE = "Use the same release on both sides."
AGAIN = "Try again in a few seconds."
DESK = "Ask the hospital's desk for a new admission code."
WAIT_CHAIN = "Try again when the alliance makes blocks; `cipherward dev` shows whether it does."
REPORT = "Report it with the service's log."
OTHER_PEER = "Fetch it again, from another member if it happens again."
FOLDER = "Use the genesis and endpoints of one alliance, from the folder that `dev --data` names."
BACKUP = "Restore the file from a backup."
