"""The SQLite schema, oldest version first; released scripts never change."""

from __future__ import annotations

from cipherward_member.chain_rows import POSITION_TABLE, REPORTS_TABLE

SCHEMA: tuple[str, ...] = (
    """
    CREATE TABLE data_sets (
        name        TEXT PRIMARY KEY,
        version     BLOB NOT NULL,                 -- another one with every change
        variables   BLOB NOT NULL,                 -- canonical array of names and units
        patients    INTEGER NOT NULL,
        named       INTEGER NOT NULL,              -- whether the rows have references
        chunks      INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE data_set_chunks (
        version     BLOB NOT NULL,                 -- of a data set, or of one that is arriving
        number      INTEGER NOT NULL,              -- in the order of the rows, from 0
        sealed      BLOB NOT NULL,                 -- little-endian doubles; keyed names of rows
        PRIMARY KEY (version, number)
    );
    CREATE TABLE contribute_requests (
        number      INTEGER PRIMARY KEY AUTOINCREMENT,
        request_id  TEXT NOT NULL UNIQUE,
        name        BLOB NOT NULL,                 -- of the content, keyed
        patients    INTEGER NOT NULL
    );

    CREATE TABLE cohorts (                         -- of exact studies, this member's part
        number      INTEGER PRIMARY KEY AUTOINCREMENT,
        data_set    TEXT NOT NULL,
        name        BLOB NOT NULL,                 -- of the patients, keyed
        patients    INTEGER NOT NULL,
        minimum     INTEGER NOT NULL,              -- the largest of its studies
        asked_at    INTEGER NOT NULL,              -- Unix seconds, newest
        released    INTEGER NOT NULL DEFAULT 0,
        sealed      BLOB NOT NULL,                 -- fingerprints of the patients, ascending
        UNIQUE (data_set, name)
    );
    CREATE TABLE cohort_studies (                  -- that run
        study       BLOB PRIMARY KEY,
        cohort      INTEGER NOT NULL REFERENCES cohorts (number)
    ) WITHOUT ROWID;

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
        template    TEXT NOT NULL,
        stage       TEXT NOT NULL,
        steps_done  INTEGER NOT NULL DEFAULT 0,
        round       INTEGER NOT NULL DEFAULT 0,    -- newest of the values
        attempts    INTEGER NOT NULL DEFAULT 0,    -- releases that were begun anew
        ended       INTEGER NOT NULL DEFAULT 0,
        failure     TEXT NOT NULL DEFAULT '',
        failure_reason TEXT NOT NULL DEFAULT '',
        order_height INTEGER NOT NULL DEFAULT 0,   -- the newest order
        order_number INTEGER NOT NULL DEFAULT 0,
        awaited     BLOB NOT NULL DEFAULT x'80',   -- who must report about it; array of texts
        spec        BLOB NOT NULL DEFAULT x'',
        version     BLOB NOT NULL DEFAULT x'',     -- of the data set that was counted
        opt_outs_height INTEGER NOT NULL DEFAULT 0 -- the block that ordered the counts
    );
    CREATE INDEX studies_by_order ON studies (order_height, order_number);
    CREATE TABLE answers (                         -- reports on the chain about newest orders
        study       BLOB NOT NULL,
        member      TEXT NOT NULL,
        failed      INTEGER NOT NULL,
        PRIMARY KEY (study, member)
    ) WITHOUT ROWID;
    CREATE TABLE releases (                        -- of results to requesters
        height      INTEGER NOT NULL,
        number      INTEGER NOT NULL,
        study       BLOB NOT NULL,
        digest      BLOB NOT NULL,                 -- of the sums
        online      BLOB NOT NULL,                 -- who switches them; array of texts
        PRIMARY KEY (height, number)
    ) WITHOUT ROWID;
    CREATE INDEX releases_by_study ON releases (study);
    CREATE TABLE iterates (                        -- parameters of rounds, by their digest
        digest      BLOB PRIMARY KEY,
        iterate     BLOB NOT NULL,
        put_at      INTEGER NOT NULL
    );
    CREATE INDEX iterates_by_age ON iterates (put_at);
    CREATE TABLE verdicts (                        -- which cells guardians leave out
        study       BLOB NOT NULL,
        member      TEXT NOT NULL,
        verdict     BLOB NOT NULL,
        PRIMARY KEY (study, member)
    ) WITHOUT ROWID;
    CREATE TABLE opened (                          -- what peers may fetch: all have committed
        study       BLOB NOT NULL,
        what        TEXT NOT NULL,
        PRIMARY KEY (study, what)
    ) WITHOUT ROWID;

    CREATE TABLE ceremonies (
        study       BLOB PRIMARY KEY,
        profile     TEXT NOT NULL,                 -- of the key's parameters
        secret_salt BLOB NOT NULL,                 -- empty once the secret has done its job
        noise_salt  BLOB NOT NULL,
        public_key  BLOB NOT NULL DEFAULT x'',
        key_share   BLOB NOT NULL DEFAULT x'',     -- sealed
        evaluation_key BLOB NOT NULL DEFAULT x''   -- of a key that multiplies
    );
    CREATE TABLE ceremony_messages (               -- own ones and peers', until they are used
        study       BLOB NOT NULL,
        kind        TEXT NOT NULL,
        sender      TEXT NOT NULL,
        receiver    TEXT NOT NULL,                 -- empty: all
        octets      BLOB NOT NULL,                 -- a deal is sealed
        PRIMARY KEY (study, kind, sender, receiver)
    );

    CREATE TABLE resharings (                      -- of data keys to other holders
        study       BLOB PRIMARY KEY,
        source      BLOB NOT NULL,                 -- the data key
        in_force    INTEGER NOT NULL DEFAULT 0     -- whether its new shares are the key's
    ) WITHOUT ROWID;
    CREATE INDEX resharings_by_source ON resharings (source);

    CREATE TABLE sums (
        study       BLOB NOT NULL,
        stage       TEXT NOT NULL,                 -- counts or values
        round       INTEGER NOT NULL,
        refreshed   BLOB NOT NULL,                 -- digest of the sum that zeros refresh, or empty
        own         BLOB NOT NULL DEFAULT x'',     -- this member's ciphertexts and their proof
        own_counts  BLOB NOT NULL DEFAULT x'',     -- sealed: what this member counted
        total       BLOB NOT NULL DEFAULT x'',     -- the sums of all
        digest      BLOB NOT NULL DEFAULT x'',     -- of their keys and c1
        PRIMARY KEY (study, stage, round, refreshed)
    );
    CREATE INDEX sums_by_digest ON sums (digest);
    CREATE TABLE shares (                          -- one for ever of a key and a c1
        key_digest  BLOB NOT NULL,
        c1_digest   BLOB NOT NULL,
        study       BLOB NOT NULL,
        height      INTEGER NOT NULL,
        number      INTEGER NOT NULL,
        place       INTEGER NOT NULL,              -- of the ciphertext in its batch
        online      BLOB NOT NULL,                 -- the set's points, ascending
        recipient   BLOB NOT NULL,                 -- empty: the guardians
        circuit     TEXT NOT NULL,
        share       BLOB NOT NULL,                 -- sealed
        PRIMARY KEY (key_digest, c1_digest)
    );
    CREATE UNIQUE INDEX shares_by_order ON shares (height, number, place);

    CREATE TABLE data_keys (                       -- contracts of columns that are stored encrypted
        study       BLOB PRIMARY KEY,
        data_set    TEXT NOT NULL,
        minimum     INTEGER NOT NULL,              -- 0: the proposal was not seen
        spec_digest BLOB NOT NULL,
        text        BLOB NOT NULL DEFAULT x'',
        fixed_at    INTEGER NOT NULL DEFAULT 0     -- the block that fixed the slots; 0: none
    );
    CREATE TABLE registrations (                   -- of pseudonyms in the scope of a data key
        study       BLOB NOT NULL,
        pseudonym   BLOB NOT NULL,
        height      INTEGER NOT NULL,
        PRIMARY KEY (study, pseudonym)
    ) WITHOUT ROWID;
    CREATE TABLE enrolments (                      -- which patient of ours a registration is
        study       BLOB NOT NULL,
        subject     BLOB NOT NULL,                 -- the registered pseudonym's name, keyed
        pseudonym   BLOB NOT NULL,                 -- that of scope `care:`, keyed as in links
        PRIMARY KEY (study, subject),
        UNIQUE (study, pseudonym)
    );
    CREATE TABLE column_manifests (                -- of columns: own, or fetched and verified
        study       BLOB NOT NULL,
        member      TEXT NOT NULL,
        manifest    BLOB NOT NULL,
        handed      INTEGER NOT NULL DEFAULT 0,    -- by a resharing: proofs are verified at use
        PRIMARY KEY (study, member)
    ) WITHOUT ROWID;
    CREATE TABLE proven_columns (                  -- of handed lists: proofs that were verified
        study       BLOB NOT NULL,
        member      TEXT NOT NULL,
        batch       INTEGER NOT NULL,
        PRIMARY KEY (study, member, batch)
    ) WITHOUT ROWID;
    CREATE TABLE column_checks (                   -- of the flags of all members
        study       BLOB NOT NULL,
        digest      BLOB NOT NULL,                 -- of the keys and c1
        checks      BLOB NOT NULL,                 -- packed, one a member
        PRIMARY KEY (study, digest)
    );
    CREATE TABLE own_flags (                       -- whom this member encrypted values of
        study       BLOB PRIMARY KEY,
        sealed      BLOB NOT NULL                  -- a bit a slot, of the text's first variable
    );

    CREATE TABLE models (                          -- texts of risk models
        digest      BLOB PRIMARY KEY,
        model       BLOB NOT NULL,
        put_at      INTEGER NOT NULL
    );
    CREATE TABLE risk_scores (                     -- contracts of scores, as blocks propose them
        study       BLOB PRIMARY KEY,
        hospital    TEXT NOT NULL,                 -- who asks
        source      BLOB NOT NULL,                 -- the data key
        model       BLOB NOT NULL,                 -- digest of the text
        threshold   INTEGER NOT NULL,
        step_seconds INTEGER NOT NULL,
        step_at     INTEGER NOT NULL DEFAULT 0     -- block time of the newest order
    );
    CREATE TABLE inferences (                      -- this member's own uses of them
        inference   BLOB PRIMARY KEY,
        request_id  TEXT NOT NULL UNIQUE,
        name        BLOB NOT NULL,                 -- of what was asked, keyed
        study       BLOB NOT NULL,
        request     BLOB NOT NULL,                 -- what the chain names
        state       TEXT NOT NULL,
        number      INTEGER NOT NULL DEFAULT 0,    -- of the use, once it is ordered
        height      INTEGER NOT NULL DEFAULT 0,    -- of the order that released the scores
        place       INTEGER NOT NULL DEFAULT 0,
        variables   INTEGER NOT NULL,              -- of the model
        transaction_id BLOB NOT NULL,
        octets      BLOB NOT NULL,                 -- the transaction, until the use is settled
        expires     INTEGER NOT NULL,              -- that of the transaction
        secret      BLOB NOT NULL,                 -- sealed: key's seed, references and slots
        scores      BLOB NOT NULL DEFAULT x'',     -- sealed
        failure     TEXT NOT NULL DEFAULT '',
        failure_reason TEXT NOT NULL DEFAULT '',
        settled_at  INTEGER NOT NULL DEFAULT 0     -- block time; a day later it is forgotten
    );
    CREATE INDEX inferences_by_state ON inferences (state, study);

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
