"""The log of shares: of one key and one c1 at most one share ever leaves this member.

The share is in the log before anybody can fetch it, together with what it was made for: the order,
the set and the recipient. The same question is answered with the same bytes, every other one about
the same key and c1 is refused for ever, whoever orders it: two answers would cost the flooding.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cipherward_compute.errors import StepFailed
from cipherward_compute.studies import find_study
from cipherward_compute.vault import Vault
from cipherward_kit.database import Database
from cipherward_member.reports import OrderKey

PLACE = b"shares"


class ShareAlreadyGiven(StepFailed):
    """A share of this key and c1 was given for another order, set or recipient."""


@dataclass(frozen=True, slots=True)
class ShareQuestion:
    """What a share is asked for.

    online: the points of the set, ascending. recipient: digest of the requester's key, or empty
    for the guardians themselves.
    """

    key_digest: bytes
    c1_digest: bytes
    study: bytes
    order: OrderKey
    online: tuple[int, ...]
    recipient: bytes


class ShareLog:
    """Answers questions for shares, each once; they are sealed at rest, the counts' above all."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def give(self, question: ShareQuestion, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the share: the one in the log, or one that is made now and logged.

        Args:
            question: what it is for.
            make: makes it; the same bytes every time for the same question.

        Raises:
            ShareAlreadyGiven: the log has one for another question.
            StepFailed: the study has ended.
            VaultCorrupt: what is in the log is not what was put there.
        """
        place = (PLACE, question.key_digest, question.c1_digest)
        found = await self._database.read(lambda connection: _logged(connection, question))
        if found is None:
            sealed = self._vault.seal(await make(), *place)
            found = await self._database.write(
                lambda connection: _log(connection, question, sealed)
            )
        return self._vault.open(found, *place)

    async def of_order(self, study: bytes, order: OrderKey) -> bytes | None:
        """Return the share that an order of a study made here, or None.

        Raises:
            VaultCorrupt: what is in the log is not what was put there.
        """

        def work(connection: sqlite3.Connection) -> tuple[bytes, bytes, bytes] | None:
            return connection.execute(
                "SELECT key_digest, c1_digest, share FROM shares"
                " WHERE study = ? AND height = ? AND number = ?",
                (study, order.height, order.index),
            ).fetchone()

        row = await self._database.read(work)
        return None if row is None else self._vault.open(row[2], PLACE, row[0], row[1])


def _logged(connection: sqlite3.Connection, question: ShareQuestion) -> bytes | None:
    row = connection.execute(
        "SELECT study, height, number, online, recipient, share FROM shares"
        " WHERE key_digest = ? AND c1_digest = ?",
        (question.key_digest, question.c1_digest),
    ).fetchone()
    if row is None:
        return None
    asked = (
        question.study,
        question.order.height,
        question.order.index,
        bytes(question.online),
        question.recipient,
    )
    if row[:5] != asked:
        raise ShareAlreadyGiven("a share of this sum was given for another order")
    return row[5]


def _log(connection: sqlite3.Connection, question: ShareQuestion, sealed: bytes) -> bytes:
    found = _logged(connection, question)
    if found is not None:
        return found
    study = find_study(connection, question.study)
    if study is None or study.ended:  # it ended while the share was being made
        raise StepFailed("the study has ended")
    connection.execute(
        "INSERT INTO shares VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            question.key_digest,
            question.c1_digest,
            question.study,
            question.order.height,
            question.order.index,
            bytes(question.online),
            question.recipient,
            sealed,
        ),
    )
    return sealed
