"""The SQLite schema of the embedded store, oldest version first; released scripts never change."""

from __future__ import annotations

from cipherward_member.ceremony_rows import CEREMONY_TABLES
from cipherward_member.chain_rows import POSITION_TABLE, REPORTS_TABLE

SCHEMA: tuple[str, ...] = (
    """
    CREATE TABLE uploads (
        request_id       TEXT PRIMARY KEY,
        record_id        BLOB NOT NULL,
        anchor           BLOB NOT NULL,
        slot_digest      BLOB NOT NULL,                -- of the author's slot
        alliance_slot    BLOB NOT NULL,
        key_number       INTEGER NOT NULL,             -- of the slot key; 0 once complete
        kept             BLOB NOT NULL,                -- the key part under it; empty once complete
        body             TEXT UNIQUE,                  -- NULL once complete
        ciphertext_bytes INTEGER NOT NULL,
        committed_bytes  INTEGER NOT NULL,
        touched_at       INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX uploads_by_age ON uploads (touched_at);
    CREATE INDEX uploads_by_record ON uploads (record_id);
    CREATE INDEX uploads_by_key ON uploads (key_number);

    CREATE TABLE records (
        record_id        BLOB PRIMARY KEY,
        anchor           BLOB NOT NULL,
        slot_digest      BLOB NOT NULL,                -- of the author's slot
        alliance_slot    BLOB NOT NULL,
        key_number       INTEGER NOT NULL,             -- of the slot key
        kept             BLOB NOT NULL,                -- the key part under it
        body             TEXT NOT NULL UNIQUE,
        ciphertext_bytes INTEGER NOT NULL,
        part_tags        BLOB NOT NULL,                -- a key and a tag a part, in order
        stored_at        INTEGER NOT NULL
    );
    CREATE INDEX records_by_age ON records (stored_at);
    CREATE INDEX records_by_key ON records (key_number);

    CREATE TABLE anchors (                             -- of every custodian, from proven blocks
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
        sealed           BLOB NOT NULL,                -- empty once revoked
        alliance_slot    BLOB NOT NULL,
        revoked          INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (height, number)
    ) WITHOUT ROWID;
    CREATE INDEX releases_by_contract ON releases (contract);
    CREATE INDEX releases_by_record ON releases (record_id);
    CREATE INDEX releases_by_end ON releases (ends);

    CREATE TABLE shares (                              -- of this member as a guardian
        height           INTEGER NOT NULL,
        number           INTEGER NOT NULL,
        order_digest     BLOB NOT NULL,
        record_id        BLOB NOT NULL,
        anchor_digest    BLOB NOT NULL,
        anchor           BLOB NOT NULL,                -- empty: from a block that we have not seen
        contract         BLOB NOT NULL,
        reader           BLOB NOT NULL,
        reader_key       BLOB NOT NULL,
        ends             INTEGER NOT NULL,
        custodian        TEXT NOT NULL,
        key_epoch        INTEGER NOT NULL,
        attempts         INTEGER NOT NULL DEFAULT 0,   -- how often it was put off
        not_before       INTEGER NOT NULL DEFAULT 0,   -- unix seconds: until when
        sealed           BLOB NOT NULL DEFAULT x'',    -- empty before it is made, and once revoked
        pending          INTEGER NOT NULL DEFAULT 1,   -- 0: made, revoked, or given up
        revoked          INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (height, number)
    ) WITHOUT ROWID;
    CREATE INDEX shares_by_contract ON shares (contract);
    CREATE INDEX shares_by_record ON shares (record_id);
    CREATE INDEX shares_by_end ON shares (ends);
    CREATE INDEX shares_pending ON shares (pending, height, number);

    CREATE TABLE began (                               -- one row, once there is a block
        only             INTEGER PRIMARY KEY CHECK (only = 1),
        height           INTEGER NOT NULL              -- of the first block that was applied here
    );

    CREATE TABLE record_keys (                         -- the members' record keys in force
        key_epoch        INTEGER PRIMARY KEY,
        sharing          INTEGER NOT NULL,
        threshold        INTEGER NOT NULL,
        public_key       BLOB NOT NULL
    );

    CREATE TABLE erased (                              -- record ids that are refused for ever
        record_id        BLOB PRIMARY KEY,
        height           INTEGER NOT NULL,             -- of the order
        number           INTEGER NOT NULL,
        order_digest     BLOB NOT NULL,
        ours             INTEGER NOT NULL,             -- this member is the custodian
        key_number       INTEGER NOT NULL DEFAULT 0,   -- the highest slot key it was found under
        finished         INTEGER NOT NULL              -- nothing is to be done any more
    ) WITHOUT ROWID;
    CREATE INDEX erased_unfinished ON erased (finished, height);

    CREATE TABLE columns (                             -- encrypted ones, and their proofs, in parts
        data_key         BLOB NOT NULL,                -- the contract that they belong to
        digest           BLOB NOT NULL,                -- of all parts together
        number           INTEGER NOT NULL,
        part             BLOB NOT NULL,
        PRIMARY KEY (data_key, digest, number)
    );
    CREATE TABLE retired_keys (                        -- whose columns are refused for ever
        data_key         BLOB PRIMARY KEY
    ) WITHOUT ROWID;

    CREATE TABLE slot_keys (                           -- every slot key that was ever in use
        key_number       INTEGER PRIMARY KEY,
        fingerprint      BLOB NOT NULL
    );

    CREATE TABLE use (                                 -- one row
        only             INTEGER PRIMARY KEY CHECK (only = 1),
        promised_bytes   INTEGER NOT NULL,             -- of records, uploads under way, columns
        key_floor        INTEGER NOT NULL              -- nothing is taken under older slot keys
    );
    INSERT INTO use VALUES (1, 0, 0);
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
    CREATE TRIGGER column_kept AFTER INSERT ON columns BEGIN
        UPDATE use SET promised_bytes = promised_bytes + length(NEW.part);
    END;
    CREATE TRIGGER column_gone AFTER DELETE ON columns BEGIN
        UPDATE use SET promised_bytes = promised_bytes - length(OLD.part);
    END;
    """
    + POSITION_TABLE
    + REPORTS_TABLE
    + CEREMONY_TABLES,
)
