"""What can be wrong with a sealed record, one class per cause."""


class RecordError(ValueError):
    """A record cannot be opened."""

    reason = "RECORD_ERROR"


class RecordKeyWrong(RecordError):
    """The key is not the one that the anchor commits to."""

    reason = "RECORD_KEY_WRONG"


class RecordTruncated(RecordError):
    """The ciphertext ends before its last chunk."""

    reason = "RECORD_TRUNCATED"


class RecordCorrupt(RecordError):
    """A chunk does not authenticate: it was changed, moved or sealed for another record."""

    reason = "RECORD_CORRUPT"


class RecordSuiteUnknown(RecordError):
    """The envelope's algorithm suite is not known here."""

    reason = "RECORD_SUITE_UNKNOWN"


class KeyPartWrong(RecordError):
    """The custodian's part is not the one that the anchor commits to."""

    reason = "KEY_PART_WRONG"


class PartRefused(RecordError):
    """A part is not that member's, or is about another order: it proves nothing against anybody."""

    reason = "PART_REFUSED"


class AllianceSlotDiffers(RecordError):
    """The members' slot is not the one that the anchor names."""

    reason = "ALLIANCE_SLOT_DIFFERS"


class CiphertextDiffers(RecordError):
    """The ciphertext is not the one that the anchor names."""

    reason = "CIPHERTEXT_DIFFERS"


class RecordTooLarge(RecordError):
    """The record is longer than one may be."""

    reason = "RECORD_TOO_LARGE"
