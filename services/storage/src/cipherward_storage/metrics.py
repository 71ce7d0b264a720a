"""What the service counts; no label names a record, a reader or a contract."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

UPLOADS = Counter("cipherward_storage_uploads", "Uploads ended: stored, or repeated.", ["outcome"])
UPLOADED_BYTES = Counter("cipherward_storage_uploaded_bytes", "Ciphertext that became records.")
DOWNLOADED_BYTES = Counter("cipherward_storage_downloaded_bytes", "Ciphertext sent to readers.")
DOWNLOADS_RUNNING = Gauge("cipherward_storage_downloads_running", "Downloads running now.")
DOWNLOADS_CUT = Counter(
    "cipherward_storage_downloads_cut", "Running downloads ended by us, by the reason.", ["reason"]
)
PARTS_CORRUPT = Counter(
    "cipherward_storage_parts_corrupt", "Parts on disk that are not what was uploaded."
)
RELEASES = Counter(
    "cipherward_storage_releases",
    "Orders to release a record's key that name this member its custodian: done or failed.",
    ["outcome"],
)
SHARES = Counter(
    "cipherward_storage_shares",
    "A guardian's shares: made, or why not (refused, reader_key, own_share: for good; slot_away, "
    "slot_wrong, slot_unknown, share_missing, store_away: tried again).",
    ["outcome"],
)
SHARES_PENDING = Gauge("cipherward_storage_shares_pending", "Shares ordered and not made yet.")
SLOT_KEY_MADE = Gauge(
    "cipherward_storage_slot_key_made_timestamp_seconds",
    "Unix time at which the slot key in use was made; it is renewed every week.",
)
SLOTS_UNUSABLE = Gauge(
    "cipherward_storage_slots_unusable",
    "Slots that do not open and hold up the renewal of slot keys.",
)
ERASURES = Counter("cipherward_storage_erasures", "Records erased and reported, by role.", ["role"])
ERASURES_PENDING = Gauge(
    "cipherward_storage_erasures_pending",
    "Erasures of this custodian that wait for the end of a slot key.",
)
RECORDS_REMOVED = Counter(
    "cipherward_storage_unanchored_removed", "Records and uploads deleted because nobody anchored."
)
RECORDS = Gauge(
    "cipherward_storage_records", "Records with ciphertext here, as of the last finished scrub."
)
STORED_BYTES = Gauge(
    "cipherward_storage_stored_bytes", "Their ciphertext, as of the last finished scrub."
)
SCRUBBED = Counter(
    "cipherward_storage_scrub_pieces",
    "Records, columns and slot keys read again and compared with what was put there: intact or "
    "corrupt.",
    ["kind", "outcome"],
)
SCRUB_COMPLETED = Gauge(
    "cipherward_storage_scrub_completed_timestamp_seconds",
    "Unix time at which the last scrub of all records, columns and slot keys ended; 0: none did.",
)
SCRUB_CORRUPT = Gauge(
    "cipherward_storage_scrub_corrupt",
    "Corrupt records, columns and slot keys that the last finished scrub found.",
    ["kind"],
)
