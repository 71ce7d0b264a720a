"""What the service counts; no label names a record, a reader or a contract."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

UPLOADS = Counter("cipherward_storage_uploads", "Uploads ended, by how.", ["how"])
UPLOADED_BYTES = Counter("cipherward_storage_uploaded_bytes", "Ciphertext that became records.")
DOWNLOADED_BYTES = Counter("cipherward_storage_downloaded_bytes", "Ciphertext sent to readers.")
DOWNLOADS_RUNNING = Gauge("cipherward_storage_downloads_running", "Downloads running now.")
DOWNLOADS_CUT = Counter(
    "cipherward_storage_downloads_cut", "Running downloads ended by us, by the reason.", ["reason"]
)
PARTS_CORRUPT = Counter(
    "cipherward_storage_parts_corrupt", "Parts on disk that are not what was uploaded."
)
ORDERS = Counter(
    "cipherward_storage_orders", "Orders that this member reports, by outcome.", ["outcome"]
)
SHARES = Counter(
    "cipherward_storage_shares",
    "A guardian's shares: made, or why not (refused, reader_key, own_share: for good; slot_away, "
    "slot_wrong, slot_unknown, share_missing, store_away: tried again).",
    ["how"],
)
SHARES_PENDING = Gauge("cipherward_storage_shares_pending", "Shares ordered and not made yet.")
SLOT_KEY_MADE = Gauge(
    "cipherward_storage_slot_key_made_seconds",
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
HEIGHT = Gauge("cipherward_storage_height", "The newest block whose effects are on disk.")
PROVEN_TIME = Gauge(
    "cipherward_storage_proven_time_seconds",
    "Unix time of the newest proven header; 0 before the first.",
)
REPORTS_PENDING = Gauge("cipherward_storage_reports_pending", "Reports that no block holds yet.")
RECORDS_REMOVED = Counter(
    "cipherward_storage_unanchored_removed", "Records and uploads deleted because nobody anchored."
)
