"""What a key ceremony leaves here: salts, messages, deals, and at last the key and a share of it.

Everything secret is sealed. What a step no longer needs goes in the step's own transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from cipherward_compute.errors import StepFailed
from cipherward_compute.store import Write
from cipherward_compute.vault import Vault
from cipherward_kit.database import Database

DEAL, KEY_SHARE = b"deals", b"ceremonies/key_share"


@dataclass(frozen=True, slots=True)
class Ceremony:
    """A ceremony as it stands here; a field is empty before its step, a secret also after its job.

    Attributes:
        message: what this member reveals to all.
        deals: sealed, by (dealer, receiver).
        revealed: the peers' messages.
    """

    study: bytes
    secret_salt: bytes = field(repr=False)
    noise_salt: bytes = field(repr=False)
    message: bytes
    public_key: bytes = b""
    sealed_key_share: bytes = field(default=b"", repr=False)
    deals: Mapping[tuple[str, str], bytes] = field(default_factory=dict[tuple[str, str], bytes])
    revealed: Mapping[str, bytes] = field(default_factory=dict[str, bytes])


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
            StepFailed: there is none here.
        """
        found = await self.find(study)
        if found is None:
            raise StepFailed("this member has no key of the study")
        return found

    def seal_deal(self, study: bytes, dealer: str, receiver: str, deal: bytes) -> bytes:
        """Return a deal as it is stored."""
        return self._vault.seal(deal, DEAL, study, dealer.encode(), receiver.encode())

    def open_deal(self, ceremony: Ceremony, dealer: str, receiver: str) -> bytes:
        """Return a stored deal.

        Raises:
            KeyError: there is none.
            VaultCorrupt: it is not what was stored.
        """
        sealed = ceremony.deals[dealer, receiver]
        return self._vault.open(sealed, DEAL, ceremony.study, dealer.encode(), receiver.encode())

    def seal_key_share(self, study: bytes, key_share: bytes) -> bytes:
        """Return a key share as it is stored."""
        return self._vault.seal(key_share, KEY_SHARE, study)

    def open_key_share(self, ceremony: Ceremony) -> bytes:
        """Return this member's share of the study's key.

        Raises:
            StepFailed: the ceremony has not come so far.
            VaultCorrupt: it is not what was stored.
        """
        if not ceremony.sealed_key_share:
            raise StepFailed("this member has no share of the study's key")
        return self._vault.open(ceremony.sealed_key_share, KEY_SHARE, ceremony.study)


def begun(ceremony: Ceremony) -> Write:
    """Return the effect of the commit step: secrets, message and own deals are kept."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT INTO ceremonies (study, secret_salt, noise_salt, message) VALUES (?, ?, ?, ?)",
            (ceremony.study, ceremony.secret_salt, ceremony.noise_salt, ceremony.message),
        )
        _put_deals(connection, ceremony.study, ceremony.deals)

    return write


def received(
    study: bytes, messages: Mapping[str, bytes], deals: Mapping[tuple[str, str], bytes]
) -> Write:
    """Return the effect of the reveal step: what the peers revealed is kept."""

    def write(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "INSERT OR REPLACE INTO revealed VALUES (?, ?, ?)",
            [(study, member, message) for member, message in messages.items()],
        )
        _put_deals(connection, study, deals)

    return write


def completed(study: bytes, public_key: bytes, sealed_key_share: bytes) -> Write:
    """Return the effect of the confirm step: the key stays, own secret and all deals go."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE ceremonies SET public_key = ?, key_share = ?, secret_salt = x''"
            " WHERE study = ?",
            (public_key, sealed_key_share, study),
        )
        connection.execute("DELETE FROM deals WHERE study = ?", (study,))
        connection.execute("DELETE FROM revealed WHERE study = ?", (study,))

    return write


def destroyed(study: bytes) -> Write:
    """Return the effect of retirement: no secret and no input of the study is left.

    The shares that were given stay, and the sum that the requester fetches.
    """

    def write(connection: sqlite3.Connection) -> None:
        for table in ("ceremonies", "deals", "revealed", "opened"):
            connection.execute(f"DELETE FROM {table} WHERE study = ?", (study,))
        connection.execute("DELETE FROM ciphertexts WHERE study = ? AND stage = 'counts'", (study,))
        connection.execute("UPDATE ciphertexts SET own = x'' WHERE study = ?", (study,))

    return write


def _put_deals(
    connection: sqlite3.Connection, study: bytes, deals: Mapping[tuple[str, str], bytes]
) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO deals VALUES (?, ?, ?, ?)",
        [(study, dealer, receiver, sealed) for (dealer, receiver), sealed in deals.items()],
    )


def _find(connection: sqlite3.Connection, study: bytes) -> Ceremony | None:
    row = connection.execute(
        "SELECT secret_salt, noise_salt, message, public_key, key_share FROM ceremonies"
        " WHERE study = ?",
        (study,),
    ).fetchone()
    if row is None:
        return None
    deals = connection.execute(
        "SELECT dealer, receiver, sealed FROM deals WHERE study = ?", (study,)
    )
    revealed = connection.execute("SELECT member, message FROM revealed WHERE study = ?", (study,))
    return Ceremony(
        study,
        *row,
        deals={(dealer, receiver): sealed for dealer, receiver, sealed in deals.fetchall()},
        revealed=dict(revealed.fetchall()),
    )
