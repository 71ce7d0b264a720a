"""What a key ceremony leaves here: salts, messages, deals, and at last the key and a share of it.

A ceremony is kept under the id of the contract that ordered it: a study, or a data key that lives
longer than any study. Everything secret is sealed. What a step no longer needs goes in the step's
own transaction; retirement takes the rest.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from cipherward_compute.errors import StepFailed
from cipherward_compute.store import Write
from cipherward_compute.vault import Vault
from cipherward_kit.database import Database

DEAL, KEY_SHARE = b"deals", b"ceremonies/key_share"

MessageKind: TypeAlias = Literal[
    "reveal", "deal", "check", "opening", "relin_first", "relin_second", "test", "test_share"
]
TO_ALL = ""  # the receiver of what everybody may see


class KeyMissing(StepFailed):
    """This member has no such key, or no share of it: the ceremony has not come so far."""

    reason = "KEY_MISSING"


@dataclass(frozen=True, slots=True)
class Ceremony:
    """A ceremony as it stands here; a field is empty before its step, a secret also after its job.

    Attributes:
        profile: name of the parameters of its key.
    """

    study: bytes
    profile: str
    secret_salt: bytes = field(repr=False)
    noise_salt: bytes = field(repr=False)
    public_key: bytes = b""
    sealed_key_share: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a ceremony as it is stored: a deal is sealed."""

    kind: MessageKind
    sender: str
    octets: bytes = field(repr=False)
    receiver: str = TO_ALL


class Keyring:
    """Keeps and finds ceremonies."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def find(self, study: bytes) -> Ceremony | None:
        """Return the ceremony of a study, or None: before it, or after its key was destroyed."""
        return await self._database.read(lambda connection: _find(connection, study))

    async def ceremony(self, study: bytes) -> Ceremony:
        """Return the ceremony of a study.

        Raises:
            KeyMissing: there is none here.
        """
        found = await self.find(study)
        if found is None:
            raise KeyMissing("this member has no key of the study")
        return found

    async def evaluation_key(self, study: bytes) -> bytes:
        """Return the key by which ciphertexts of a data key are multiplied.

        Raises:
            KeyMissing: there is none here.
        """

        def work(connection: sqlite3.Connection) -> bytes:
            query = "SELECT evaluation_key FROM ceremonies WHERE study = ?"
            row = connection.execute(query, (study,)).fetchone()
            return b"" if row is None else row[0]

        found = await self._database.read(work)
        if not found:
            raise KeyMissing("this member has no evaluation key of the study")
        return found

    async def message(
        self, study: bytes, kind: MessageKind, *, dealer: str, receiver: str
    ) -> bytes:
        """Return a stored message of `dealer` to `receiver`, or to all; b"" if there is none.

        Raises:
            VaultCorrupt: a deal is not what was stored.
        """
        to = receiver if kind == "deal" else TO_ALL

        def work(connection: sqlite3.Connection) -> bytes:
            row = connection.execute(
                "SELECT octets FROM ceremony_messages"
                " WHERE study = ? AND kind = ? AND sender = ? AND receiver = ?",
                (study, kind, dealer, to),
            ).fetchone()
            if row is None:
                return b""
            return self.open_deal(study, dealer, to, row[0]) if kind == "deal" else row[0]

        return await self._database.read(work)  # on its own thread: opening a deal costs 1 ms

    async def messages(self, study: bytes, kind: MessageKind) -> dict[str, bytes]:
        """Return the stored messages of a kind to all, by sender."""
        return await self._database.read(
            lambda connection: {
                sender: octets for sender, _, octets in _messages(connection, study, kind)
            }
        )

    async def deals(self, study: bytes) -> dict[tuple[str, str], bytes]:
        """Return the stored deals of a study, opened, by (dealer, receiver).

        Raises:
            VaultCorrupt: one is not what was stored.
        """
        return await self._database.read(
            lambda connection: {
                (dealer, receiver): self.open_deal(study, dealer, receiver, sealed)
                for dealer, receiver, sealed in _messages(connection, study, "deal")
            }
        )

    async def put_once(self, study: bytes, message: Message) -> bytes:
        """Keep a message unless there is one of its kind and sender; return what is kept.

        Durable before it returns: whoever restarts gives the same answer again.
        """

        def work(connection: sqlite3.Connection) -> bytes:
            connection.execute(
                "INSERT OR IGNORE INTO ceremony_messages VALUES (?, ?, ?, ?, ?)",
                (study, message.kind, message.sender, message.receiver, message.octets),
            )
            row = connection.execute(
                "SELECT octets FROM ceremony_messages"
                " WHERE study = ? AND kind = ? AND sender = ? AND receiver = ?",
                (study, message.kind, message.sender, message.receiver),
            ).fetchone()
            return row[0]

        return await self._database.write(work)

    def seal_deal(self, study: bytes, dealer: str, receiver: str, deal: bytes) -> Message:
        """Return a deal as it is stored."""
        sealed = self._vault.seal(deal, DEAL, study, dealer.encode(), receiver.encode())
        return Message("deal", dealer, sealed, receiver)

    def open_deal(self, study: bytes, dealer: str, receiver: str, sealed: bytes) -> bytes:
        """Return a stored deal, or raise `VaultCorrupt`."""
        return self._vault.open(sealed, DEAL, study, dealer.encode(), receiver.encode())

    def seal_key_share(self, study: bytes, key_share: bytes) -> bytes:
        """Return a key share as it is stored."""
        return self._vault.seal(key_share, KEY_SHARE, study)

    def open_key_share(self, ceremony: Ceremony) -> bytes:
        """Return this member's share of the study's key.

        Raises:
            KeyMissing: the ceremony has not come so far.
            VaultCorrupt: it is not what was stored.
        """
        if not ceremony.sealed_key_share:
            raise KeyMissing("this member has no share of the study's key")
        return self._vault.open(ceremony.sealed_key_share, KEY_SHARE, ceremony.study)


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
        for table in ("ceremonies", "ceremony_messages", "opened"):
            connection.execute(f"DELETE FROM {table} WHERE study = ?", (study,))

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


def _messages(
    connection: sqlite3.Connection, study: bytes, kind: MessageKind
) -> list[tuple[str, str, bytes]]:
    return connection.execute(
        "SELECT sender, receiver, octets FROM ceremony_messages WHERE study = ? AND kind = ?",
        (study, kind),
    ).fetchall()


def _find(connection: sqlite3.Connection, study: bytes) -> Ceremony | None:
    row: tuple[str, bytes, bytes, bytes, bytes] | None = connection.execute(
        "SELECT profile, secret_salt, noise_salt, public_key, key_share FROM ceremonies"
        " WHERE study = ?",
        (study,),
    ).fetchone()
    return None if row is None else Ceremony(study, *row)
