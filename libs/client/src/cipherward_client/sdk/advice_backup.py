"""Advice for backups and for putting them back: (cause, fix) by reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_OTHER = "Use another copy of the archive, or an older archive."
_WITHOUT = "Without one, start with empty folders: the chain brings back what it knows."

BACKUP: Final[Mapping[str, tuple[str, str]]] = {
    "BACKUP_STORE_UNKNOWN": (
        "There is no store of that name.",
        "Name one of identity, storage, compute, chain and slot-keys.",
    ),
    "BACKUP_STORE_MISSING": (
        "There is no such store here.",
        "Name the stores that are there with --store; docs/backup.md says which a member has.",
    ),
    "BACKUP_STORE_ELSEWHERE": (
        "That store is not in this member's folder.",
        "Use the database's own backup, or let the other members bring the chain back: "
        "docs/backup.md.",
    ),
    "BACKUP_SERVICE_UNSEEN": (
        "The service is not seen to run, so its database may be in use where its locks do not "
        "reach.",
        "Start the service and run the backup beside it, under the same kernel; or stop the "
        "service and leave out --running.",
    ),
    "RESTORE_SERVICE_RUNS": (
        "The service uses the folder that its store would be put into.",
        "Stop the service first.",
    ),
    "SLOT_KEYS_APART": (
        "Slot keys and the records under them must never be in one backup.",
        "Back up --store slot-keys alone, to another place, over the one before.",
    ),
    "BACKUP_STORE_DAMAGED": (
        "A database is damaged, or the chain and its state do not fit together.",
        "Restore the store from an earlier backup; if it is a copy that was just made, look at the "
        "disk.",
    ),
    "BACKUP_STORE_CHANGING": (
        "The store changed while it was copied, each time.",
        "Try again when there is less to do.",
    ),
    "ARCHIVE_EXISTS": (
        "The file is there already.",
        "Name another file; slot keys are replaced with --replace.",
    ),
    "ARCHIVE_MISSING": (
        "There is no such archive in the folder.",
        "Name the archive, or the folder and the stores that it was made of.",
    ),
    "ARCHIVE_TRUNCATED": ("The archive ends too early.", _OTHER),
    "ARCHIVE_MALFORMED": ("The file is no backup of a member.", _OTHER),
    "ARCHIVE_DAMAGED": ("A file in the archive was changed.", _OTHER),
    "ARCHIVE_UNSIGNED": (
        "The archive is not signed with this member's key: it was changed, or is somebody else's.",
        "Use another archive. " + _WITHOUT,
    ),
    "ARCHIVE_EXPOSED": (
        "Others may read the file or the folder.",
        "Give the file mode 600 and the folder mode 700, and ask who has read them.",
    ),
    "ARCHIVE_OF_ANOTHER_CHAIN": (
        "The archive was made on another chain.",
        "Use an archive of this chain, or the folder with the genesis that it was made with.",
    ),
    "ARCHIVE_OF_ANOTHER_MEMBER": (
        "The archive is another member's.",
        "Give --member the name of the member that it was made for.",
    ),
    "ARCHIVE_OF_ANOTHER_HISTORY": (
        "The archive stands on blocks that the chain does not have.",
        "Do not use it. Compare what the members show with `cipherward chain witness`.",
    ),
    "ARCHIVE_NEWER_THAN_CHAIN": (
        "The archive stands at a block that the chain has not reached.",
        "Start the ledgers of the newest state first; services never go back with an older chain.",
    ),
    "ARCHIVE_TOO_OLD": (
        "No ledger keeps the blocks after the archive any more.",
        "Use a later archive. " + _WITHOUT,
    ),
    "CHAIN_UNREACHABLE": (
        "No ledger shows a recent block, so the archive cannot be held against the chain.",
        "Start a ledger, the other members' or this one's; a lost solo chain is restored first.",
    ),
    "RESTORE_TARGET_NOT_EMPTY": (
        "Something lies in the folder that the store would be put into.",
        "Stop the service and move its folder away first, or give --aside; nothing is overwritten.",
    ),
    "BACKUP_NO_ROOM": ("The disk has no room for it.", "Make room, or name another place."),
}
