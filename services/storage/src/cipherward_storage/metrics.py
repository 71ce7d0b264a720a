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
RELEASES = Counter(
    "cipherward_storage_releases", "Orders to release a key part, by outcome.", ["outcome"]
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
