"""The SQLite schema, oldest version first; released scripts never change."""

from __future__ import annotations

from cipherward_member.chain_rows import POSITION_TABLE, REPORTS_TABLE

SCHEMA: tuple[str, ...] = (
    """
    CREATE TABLE data_sets (
        name        TEXT PRIMARY KEY,
        version     BLOB NOT NULL,                 -- another one with every change
        variables   BLOB NOT NULL,                 -- canonical array of texts
        patients    INTEGER NOT NULL,
        sealed      BLOB NOT NULL                  -- the values, little-endian doubles; references
    ) WITHOUT ROWID;
    CREATE TABLE contribute_requests (
        number      INTEGER PRIMARY KEY AUTOINCREMENT,
        request_id  TEXT NOT NULL UNIQUE,
        name        BLOB NOT NULL,                 -- of the content, keyed
        patients    INTEGER NOT NULL
    );

    CREATE TABLE opt_outs (                        -- who keeps rows out of studies
        kind        TEXT NOT NULL,                 -- pseudonym or reference
        subject     BLOB NOT NULL,                 -- its name, keyed
        since       INTEGER NOT NULL,              -- newest block when the choice came
        until       INTEGER,                       -- the same when it was taken back
        PRIMARY KEY (kind, subject, since)
    ) WITHOUT ROWID;
    CREATE TABLE links (                           -- which rows are a pseudonym's
        pseudonym   BLOB NOT NULL,
        reference   BLOB NOT NULL,
        since       INTEGER NOT NULL,
        until       INTEGER,
        PRIMARY KEY (pseudonym, reference, since)
    ) WITHOUT ROWID;

    CREATE TABLE specs (                           -- that wait for a start order
        digest      BLOB PRIMARY KEY,
        spec        BLOB NOT NULL,
        put_at      INTEGER NOT NULL
    );
    CREATE INDEX specs_by_age ON specs (put_at);

    CREATE TABLE studies (
        study       BLOB PRIMARY KEY,
        requester   BLOB NOT NULL,                 -- Ed25519 key that instantiated
        members     BLOB NOT NULL,                 -- canonical array of texts
        lapses      INTEGER NOT NULL,              -- block time until which it may be approved
        stage       TEXT NOT NULL,
        steps_done  INTEGER NOT NULL DEFAULT 0,
        ended       INTEGER NOT NULL DEFAULT 0,
        failure     TEXT NOT NULL DEFAULT '',
        release_height INTEGER NOT NULL DEFAULT 0,
        release_number INTEGER NOT NULL DEFAULT 0,
        release_set BLOB NOT NULL DEFAULT x'80',   -- canonical array of texts, at first empty
        spec        BLOB NOT NULL DEFAULT x'',
        version     BLOB NOT NULL DEFAULT x'',     -- of the data set that was counted
        opt_outs_height INTEGER NOT NULL DEFAULT 0 -- the block that ordered the counts
    );
    CREATE TABLE opened (                          -- what peers may fetch: all have committed
        study       BLOB NOT NULL,
        what        TEXT NOT NULL,
        PRIMARY KEY (study, what)
    ) WITHOUT ROWID;

    CREATE TABLE ceremonies (
        study       BLOB PRIMARY KEY,
        secret_salt BLOB NOT NULL,                 -- empty once the key share is made
        noise_salt  BLOB NOT NULL,
        message     BLOB NOT NULL,                 -- what this member reveals
        public_key  BLOB NOT NULL DEFAULT x'',
        key_share   BLOB NOT NULL DEFAULT x''      -- sealed
    );
    CREATE TABLE deals (                           -- sealed, until the key share is made
        study       BLOB NOT NULL,
        dealer      TEXT NOT NULL,
        receiver    TEXT NOT NULL,
        sealed      BLOB NOT NULL,
        PRIMARY KEY (study, dealer, receiver)
    );
    CREATE TABLE revealed (                        -- peers' messages, until the key is combined
        study       BLOB NOT NULL,
        member      TEXT NOT NULL,
        message     BLOB NOT NULL,
        PRIMARY KEY (study, member)
    );

    CREATE TABLE ciphertexts (
        study       BLOB NOT NULL,
        stage       TEXT NOT NULL,                 -- counts or values
        own         BLOB NOT NULL,                 -- this member's contribution
        total       BLOB NOT NULL DEFAULT x'',     -- the sum of all
        total_c1    BLOB NOT NULL DEFAULT x'',     -- the digest of its key and c1
        own_patients INTEGER NOT NULL,
        PRIMARY KEY (study, stage)
    );
    CREATE TABLE shares (                          -- one for ever of a key and a c1
        key_digest  BLOB NOT NULL,
        c1_digest   BLOB NOT NULL,
        study       BLOB NOT NULL,
        height      INTEGER NOT NULL,
        number      INTEGER NOT NULL,
        online      BLOB NOT NULL,                 -- the set's points, ascending
        recipient   BLOB NOT NULL,                 -- empty: the guardians
        share       BLOB NOT NULL,                 -- sealed
        PRIMARY KEY (key_digest, c1_digest)
    );
    CREATE UNIQUE INDEX shares_by_order ON shares (height, number);

    CREATE TABLE orders (                          -- taken, and not carried out
        height      INTEGER NOT NULL,
        number      INTEGER NOT NULL,
        study       BLOB NOT NULL,
        instruction TEXT NOT NULL,
        octets      BLOB NOT NULL,
        PRIMARY KEY (height, number)
    );
    CREATE INDEX orders_by_study ON orders (study);

    """
    + POSITION_TABLE
    + REPORTS_TABLE,
)
