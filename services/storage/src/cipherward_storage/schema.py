"""The SQLite schema of the embedded store, oldest version first; released scripts never change."""

from __future__ import annotations

from cipherward_member.chain_rows import POSITION_TABLE, REPORTS_TABLE

SCHEMA: tuple[str, ...] = (
    """
    CREATE TABLE uploads (
        request_id       TEXT PRIMARY KEY,
        record_id        BLOB NOT NULL,
        anchor           BLOB NOT NULL,
        slot             BLOB NOT NULL,
        body             TEXT UNIQUE,                  -- NULL once complete
        ciphertext_bytes INTEGER NOT NULL,
        committed_bytes  INTEGER NOT NULL,
        touched_at       INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX uploads_by_age ON uploads (touched_at);

    CREATE TABLE records (
        record_id        BLOB PRIMARY KEY,
        anchor           BLOB NOT NULL,
        slot             BLOB NOT NULL,
        slot_digest      BLOB NOT NULL,
        body             TEXT NOT NULL UNIQUE,
        ciphertext_bytes INTEGER NOT NULL,
        part_tags        BLOB NOT NULL,                -- a key and a tag a part, in order
        stored_at        INTEGER NOT NULL
    );
    CREATE INDEX records_by_age ON records (stored_at);

    CREATE TABLE anchors (                             -- of this custodian, from proven blocks
        record_id        BLOB PRIMARY KEY,
        anchor           BLOB NOT NULL,
        slot_digest      BLOB NOT NULL,
        height           INTEGER NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE releases (
        height           INTEGER NOT NULL,
        number           INTEGER NOT NULL,
        record_id        BLOB NOT NULL,
        anchor           BLOB NOT NULL,
        contract         BLOB NOT NULL,                -- the instance that grants
        reader           BLOB NOT NULL,
        ends             INTEGER NOT NULL,
        sealed           BLOB NOT NULL,
        revoked          INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (height, number)
    ) WITHOUT ROWID;
    CREATE INDEX releases_by_contract ON releases (contract);
    CREATE INDEX releases_by_end ON releases (ends);

    CREATE TABLE use (                                 -- one row: what the quota counts
        only             INTEGER PRIMARY KEY CHECK (only = 1),
        promised_bytes   INTEGER NOT NULL              -- of records and of uploads under way
    );
    INSERT INTO use VALUES (1, 0);
    CREATE TRIGGER upload_begun AFTER INSERT ON uploads BEGIN
        UPDATE use SET promised_bytes = promised_bytes + NEW.ciphertext_bytes;
    END;
    CREATE TRIGGER upload_complete AFTER UPDATE OF body ON uploads
        WHEN OLD.body IS NOT NULL AND NEW.body IS NULL BEGIN
        UPDATE use SET promised_bytes = promised_bytes - OLD.ciphertext_bytes;
    END;
    CREATE TRIGGER upload_gone AFTER DELETE ON uploads WHEN OLD.body IS NOT NULL BEGIN
        UPDATE use SET promised_bytes = promised_bytes - OLD.ciphertext_bytes;
    END;
    CREATE TRIGGER record_stored AFTER INSERT ON records BEGIN
        UPDATE use SET promised_bytes = promised_bytes + NEW.ciphertext_bytes;
    END;
    CREATE TRIGGER record_gone AFTER DELETE ON records BEGIN
        UPDATE use SET promised_bytes = promised_bytes - OLD.ciphertext_bytes;
    END;
    """
    + POSITION_TABLE
    + REPORTS_TABLE,
)
