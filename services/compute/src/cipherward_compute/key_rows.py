"""What blocks mean for keys: rows of the store, changed with the block that says so.

A resharing has a ceremony under its own id: what was dealt in it, and the new share, which is
sealed under the place of the data key's. So a hand-over is no more than a change of rows, and no
order of a later block ever meets the share before.
"""

from __future__ import annotations

import sqlite3

from cipherward_compute.column_keys import forget_enrolments
from cipherward_compute.handed_columns import HandedColumns
from cipherward_compute.studies import HANDED_OVER, SUPERSEDED, find_study
from cipherward_studies.columns import parse_column_text

COLUMN_TABLES = ("column_manifests", "proven_columns", "column_checks", "own_flags")


def destroy(connection: sqlite3.Connection, study: bytes) -> None:
    """Take everything of a ceremony out of the store: no key, no part of one, no message."""
    for table in ("ceremonies", "ceremony_messages", "opened"):
        connection.execute(f"DELETE FROM {table} WHERE study = ?", (study,))


def forget_columns(connection: sqlite3.Connection, data_key: bytes) -> None:
    """Forget the lists of a data key's columns, and what was verified of them."""
    for table in COLUMN_TABLES:
        connection.execute(f"DELETE FROM {table} WHERE study = ?", (data_key,))


def begin_resharing(connection: sqlite3.Connection, study: bytes, source: bytes) -> None:
    """Remember which data key a resharing is of, unless it has ended."""
    connection.execute(
        "INSERT OR IGNORE INTO resharings (study, source) SELECT study, ? FROM studies"
        " WHERE study = ? AND NOT ended",
        (source, study),
    )


def source_of(connection: sqlite3.Connection, study: bytes) -> bytes:
    """Return the data key that a resharing is of, or b"" if it is none that runs here."""
    query = "SELECT source FROM resharings WHERE study = ?"
    row: tuple[bytes] | None = connection.execute(query, (study,)).fetchone()
    return b"" if row is None else row[0]


def in_force(connection: sqlite3.Connection, study: bytes) -> bytes:
    """Return the data key of which a resharing has made this member's share, or b""."""
    query = "SELECT source FROM resharings WHERE study = ? AND in_force"
    row: tuple[bytes] | None = connection.execute(query, (study,)).fetchone()
    return b"" if row is None else row[0]


def hand_over(connection: sqlite3.Connection, study: bytes, source: bytes, height: int) -> None:
    """Put a new sharing in force: this member's old share is destroyed, whoever it is.

    A member that has no new share holds the key no more, be it that it leaves or that an old backup
    was restored. The same order again does nothing, nor does one of an attempt that has ended.

    Args:
        height: of the block.
    """
    begin_resharing(connection, study, source)
    found = find_study(connection, study)
    if found is None or found.ended or in_force(connection, study):
        return
    _supersede(connection, source)
    made: tuple[bytes, ...] | None = connection.execute(
        "SELECT key_share, noise_salt, profile, public_key, evaluation_key FROM ceremonies"
        " WHERE study = ? AND key_share <> x''",
        (study,),
    ).fetchone()
    if made is None:
        _leave(connection, study, source)
    else:
        _hold(connection, study, source, made)
        _take_columns(connection, study, source, height)
        connection.execute("UPDATE resharings SET in_force = 1 WHERE study = ?", (study,))
    destroy(connection, study)


def retire_resharing(connection: sqlite3.Connection, study: bytes) -> None:
    """End a resharing: what an attempt has dealt goes, and with the sharing in force the key.

    A resharing that another one has superseded is not in force any more: its end takes nothing.
    """
    source = in_force(connection, study)
    if source:
        retire_data_key(connection, source)
    destroy(connection, study)
    connection.execute("DELETE FROM resharings WHERE study = ?", (study,))


def retire_data_key(connection: sqlite3.Connection, data_key: bytes) -> None:
    """End a data key: its share, its enrolments and the lists of its columns go."""
    destroy(connection, data_key)
    forget_enrolments(connection, [data_key])
    forget_columns(connection, data_key)
    connection.execute("UPDATE resharings SET in_force = 0 WHERE source = ?", (data_key,))


def _supersede(connection: sqlite3.Connection, source: bytes) -> None:
    earlier = connection.execute(
        "DELETE FROM resharings WHERE source = ? AND in_force RETURNING study", (source,)
    ).fetchall()
    connection.executemany(
        "UPDATE studies SET stage = ?, ended = 1 WHERE study = ?",
        [(SUPERSEDED, study) for (study,) in earlier],
    )


def _leave(connection: sqlite3.Connection, study: bytes, source: bytes) -> None:
    """Hold a data key no more. Its first members keep what they know of it until it ends."""
    destroy(connection, source)
    if find_study(connection, source) is None:  # it was handed to this member: no end will come
        retire_data_key(connection, source)
        connection.execute("DELETE FROM data_keys WHERE study = ?", (source,))
    connection.execute("DELETE FROM resharings WHERE study = ?", (study,))
    connection.execute(
        "UPDATE studies SET stage = ?, ended = 1 WHERE study = ?", (HANDED_OVER, study)
    )


def _hold(
    connection: sqlite3.Connection, study: bytes, source: bytes, made: tuple[bytes, ...]
) -> None:
    key_share, noise_salt, *key = made
    held = connection.execute(
        "UPDATE ceremonies SET key_share = ?, noise_salt = ? WHERE study = ?",
        (key_share, noise_salt, source),
    )
    if not held.rowcount:
        connection.execute(
            "INSERT INTO ceremonies (study, secret_salt, key_share, noise_salt, profile,"
            " public_key, evaluation_key) VALUES (?, x'', ?, ?, ?, ?, ?)",
            (source, key_share, noise_salt, *key),
        )


def _take_columns(connection: sqlite3.Connection, study: bytes, source: bytes, height: int) -> None:
    """Know the columns of a data key as a dealer has handed them over; they were checked then."""
    row: tuple[bytes] | None = connection.execute(
        "SELECT octets FROM ceremony_messages WHERE study = ? AND kind = 'columns'", (study,)
    ).fetchone()
    if row is None:  # this member held the key before
        return
    handed = HandedColumns.parse(row[0])
    text = parse_column_text(handed.text)
    connection.execute(
        "INSERT OR REPLACE INTO data_keys VALUES (?, ?, ?, ?, ?, ?)",
        (source, text.data_set, 0, text.digest, handed.text, height),
    )
    connection.execute("DELETE FROM registrations WHERE study = ?", (source,))
    connection.executemany(
        "INSERT INTO registrations VALUES (?, ?, ?)",
        [(source, pseudonym, height) for pseudonym in handed.pseudonyms],
    )
    connection.executemany(  # a list that this member has verified before stays verified
        "INSERT OR IGNORE INTO column_manifests VALUES (?, ?, ?, 1)",
        [(source, member, octets) for member, octets in handed.lists.items()],
    )
