"""What a key ceremony leaves here: salts, messages, deals, and at last the key and a share of it.

A ceremony is kept under the id of the contract that ordered it: a study, or a data key that lives
longer than any study. Everything secret is sealed. `key_effects` says what a step leaves behind.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from cipherward_compute.errors import StepFailed
from cipherward_compute.key_rows import in_force, source_of
from cipherward_compute.vault import Vault
from cipherward_kit.database import Database

DEAL, KEY_SHARE = b"deals", b"ceremonies/key_share"

MessageKind: TypeAlias = Literal[
    "reveal",
    "deal",
    "check",
    "opening",
    "relin_first",
    "relin_second",
    "test",
    "test_share",
    "reshare_mask",  # from here on: of the resharing of a data key
    "reshare_deal",
    "reshare_check",
    "reshare_share",
    "public_key",  # what dealers hand to a new holder, here and below
    "evaluation_key",
    "columns",
]
DealKind: TypeAlias = Literal["deal", "reshare_deal"]
SEALED: frozenset[MessageKind] = frozenset(("deal", "reshare_deal"))  # for one receiver each
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

    async def source(self, study: bytes) -> bytes:
        """Return the data key that a resharing is of, or b"" if it is none that runs here."""
        return await self._database.read(lambda connection: source_of(connection, study))

    async def in_force(self, study: bytes) -> bytes:
        """Return the data key of which a resharing has made this member's share, or b""."""
        return await self._database.read(lambda connection: in_force(connection, study))

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
        to = receiver if kind in SEALED else TO_ALL

        def work(connection: sqlite3.Connection) -> bytes:
            row = connection.execute(
                "SELECT octets FROM ceremony_messages"
                " WHERE study = ? AND kind = ? AND sender = ? AND receiver = ?",
                (study, kind, dealer, to),
            ).fetchone()
            if row is None:
                return b""
            return self.open_deal(study, dealer, to, row[0]) if kind in SEALED else row[0]

        return await self._database.read(work)  # on its own thread: opening a deal costs 1 ms

    async def messages(self, study: bytes, kind: MessageKind) -> dict[str, bytes]:
        """Return the stored messages of a kind to all, by sender."""
        return await self._database.read(
            lambda connection: {
                sender: octets for sender, _, octets in _messages(connection, study, kind)
            }
        )

    async def deals(self, study: bytes, kind: DealKind = "deal") -> dict[tuple[str, str], bytes]:
        """Return the stored deals of a study, opened, by (dealer, receiver).

        Raises:
            VaultCorrupt: one is not what was stored.
        """
        return await self._database.read(
            lambda connection: {
                (dealer, receiver): self.open_deal(study, dealer, receiver, sealed)
                for dealer, receiver, sealed in _messages(connection, study, kind)
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

    def seal_deal(
        self, study: bytes, dealer: str, receiver: str, deal: bytes, kind: DealKind = "deal"
    ) -> Message:
        """Return a deal as it is stored."""
        sealed = self._vault.seal(deal, DEAL, study, dealer.encode(), receiver.encode())
        return Message(kind, dealer, sealed, receiver)

    def open_deal(self, study: bytes, dealer: str, receiver: str, sealed: bytes) -> bytes:
        """Return a stored deal, or raise `VaultCorrupt`."""
        return self._vault.open(sealed, DEAL, study, dealer.encode(), receiver.encode())

    def seal_key_share(self, study: bytes, key_share: bytes) -> bytes:
        """Return a share of a study's key as it is stored."""
        return self._vault.seal(key_share, KEY_SHARE, study)

    def open_key_share(self, ceremony: Ceremony, source: bytes = b"") -> bytes:
        """Return this member's share of the study's key.

        Args:
            source: the data key, if the ceremony is a resharing of it.

        Raises:
            KeyMissing: the ceremony has not come so far.
            VaultCorrupt: it is not what was stored.
        """
        if not ceremony.sealed_key_share:
            raise KeyMissing("this member has no share of the study's key")
        return self._vault.open(ceremony.sealed_key_share, KEY_SHARE, source or ceremony.study)


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
