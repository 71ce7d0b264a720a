"""The SQLite schema of the service, oldest version first; released scripts never change."""

from __future__ import annotations

from cipherward_identity.store import ADMISSION_TABLES
from cipherward_identity.warrants import WARRANT_TABLE
from cipherward_member.ceremony_rows import CEREMONY_TABLES
from cipherward_member.chain_rows import POSITION_TABLE, REPORTS_TABLE

SCHEMA: tuple[str, ...] = (
    ADMISSION_TABLES + POSITION_TABLE + REPORTS_TABLE + CEREMONY_TABLES + WARRANT_TABLE,
)
