"""Why no backup is made, or none is put back; nothing is half done in any of these cases."""

from __future__ import annotations

from cipherward_client.sdk.errors import CheckFailed


class StoreUnknown(CheckFailed):
    """There is no store of that name."""

    reason = "BACKUP_STORE_UNKNOWN"


class StoreMissing(CheckFailed):
    """The member's folder, or the archive, has no such store."""

    reason = "BACKUP_STORE_MISSING"


class StoreElsewhere(CheckFailed):
    """The store is no file of this member's: MongoDB has it, or the other members."""

    reason = "BACKUP_STORE_ELSEWHERE"


class ServiceUnseen(CheckFailed):
    """The service whose store is copied is not seen to run, although it must be."""

    reason = "BACKUP_SERVICE_UNSEEN"


class ServiceRuns(CheckFailed):
    """The service whose store is put back runs."""

    reason = "RESTORE_SERVICE_RUNS"


class SlotKeysApart(CheckFailed):
    """Slot keys were asked for together with other stores."""

    reason = "SLOT_KEYS_APART"


class StoreDamaged(CheckFailed):
    """A copy of a database is damaged, or chain and state do not fit together."""

    reason = "BACKUP_STORE_DAMAGED"


class StoreChanging(CheckFailed):
    """A store changed again and again while it was copied."""

    reason = "BACKUP_STORE_CHANGING"


class ArchiveExists(CheckFailed):
    """The file to be written is there already."""

    reason = "ARCHIVE_EXISTS"


class ArchiveMissing(CheckFailed):
    """The folder has no archive of these stores."""

    reason = "ARCHIVE_MISSING"


class ArchiveTruncated(CheckFailed):
    """The archive ends before its end."""

    reason = "ARCHIVE_TRUNCATED"


class ArchiveMalformed(CheckFailed):
    """The file is no archive of this program's."""

    reason = "ARCHIVE_MALFORMED"


class ArchiveDamaged(CheckFailed):
    """A file in the archive is not the one that was put there."""

    reason = "ARCHIVE_DAMAGED"


class ArchiveUnsigned(CheckFailed):
    """The archive is not signed with this member's key."""

    reason = "ARCHIVE_UNSIGNED"


class ArchiveExposed(CheckFailed):
    """Others may read the archive or the folder that it goes to."""

    reason = "ARCHIVE_EXPOSED"


class ArchiveOfAnotherChain(CheckFailed):
    """The archive is of another chain or genesis."""

    reason = "ARCHIVE_OF_ANOTHER_CHAIN"


class ArchiveOfAnotherMember(CheckFailed):
    """The archive is another member's."""

    reason = "ARCHIVE_OF_ANOTHER_MEMBER"


class ArchiveOfAnotherHistory(CheckFailed):
    """The archive was made on blocks that the chain does not have."""

    reason = "ARCHIVE_OF_ANOTHER_HISTORY"


class ArchiveNewer(CheckFailed):
    """The archive stands at a block that the chain has not reached."""

    reason = "ARCHIVE_NEWER_THAN_CHAIN"


class ArchiveTooOld(CheckFailed):
    """No ledger keeps the blocks after the archive any more."""

    reason = "ARCHIVE_TOO_OLD"


class ChainUnreachable(CheckFailed):
    """No ledger shows a recent header that the validators have signed."""

    reason = "CHAIN_UNREACHABLE"


class TargetNotEmpty(CheckFailed):
    """Something lies where a store would be put."""

    reason = "RESTORE_TARGET_NOT_EMPTY"


class NoRoom(CheckFailed):
    """The disk has no room for the copy."""

    reason = "BACKUP_NO_ROOM"
