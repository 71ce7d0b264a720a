"""What a step of a ceremony or resharing leaves in the keyring, as the effect that ends its order.

What a step no longer needs goes in the step's own transaction; retirement takes the rest.
"""

from __future__ import annotations

import sqlite3

from cipherward_compute.key_rows import destroy
from cipherward_compute.keyring import Ceremony, Message, MessageKind
from cipherward_compute.store import Write


def begun(ceremony: Ceremony, messages: tuple[Message, ...]) -> Write:
    """Return the effect of the first step: secrets, and what is revealed and dealt, are kept."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT INTO ceremonies (study, profile, secret_salt, noise_salt) VALUES (?, ?, ?, ?)",
            (ceremony.study, ceremony.profile, ceremony.secret_salt, ceremony.noise_salt),
        )
        _put(connection, ceremony.study, messages)

    return write


def exchanged(study: bytes, messages: tuple[Message, ...], *over: MessageKind) -> Write:
    """Return the effect of a step: messages are kept, and those of kinds that are over go."""

    def write(connection: sqlite3.Connection) -> None:
        _drop(connection, study, over)
        _put(connection, study, messages)

    return write


def completed(study: bytes, public_key: bytes, sealed_key_share: bytes) -> Write:
    """Return the effect of having verified all deals: the key is there, the deals go.

    This member's answer about them stays: a slower peer has yet to fetch it.
    """

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE ceremonies SET public_key = ?, key_share = ? WHERE study = ?",
            (public_key, sealed_key_share, study),
        )
        _drop(connection, study, ("reveal", "deal"))

    return write


def secret_destroyed(study: bytes) -> Write:
    """Return the effect of a member's own secret having done its job: its seed is gone."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE ceremonies SET secret_salt = x'' WHERE study = ?", (study,))

    return write


def evaluation_key_made(study: bytes, evaluation_key: bytes) -> Write:
    """Return the effect of having combined the evaluation key."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE ceremonies SET evaluation_key = ? WHERE study = ?", (evaluation_key, study)
        )
        _drop(connection, study, ("check", "relin_first"))

    return write


def destroyed(study: bytes) -> Write:
    """Return the effect of retirement: no key, no part of one and no message is left."""

    def write(connection: sqlite3.Connection) -> None:
        destroy(connection, study)

    return write


def _put(connection: sqlite3.Connection, study: bytes, messages: tuple[Message, ...]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO ceremony_messages VALUES (?, ?, ?, ?, ?)",
        [(study, one.kind, one.sender, one.receiver, one.octets) for one in messages],
    )


def _drop(connection: sqlite3.Connection, study: bytes, kinds: tuple[MessageKind, ...]) -> None:
    connection.executemany(
        "DELETE FROM ceremony_messages WHERE study = ? AND kind = ?",
        [(study, kind) for kind in kinds],
    )
