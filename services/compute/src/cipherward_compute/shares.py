"""The log of shares: of one key and one c1 at most one share ever leaves this member.

The shares of a batch are in the log before anybody can fetch them, together with what they were
made for: the order, the set, the recipient and the circuit. The same question is answered with the
same bytes; every other one about any of the same c1 is refused for ever, whoever orders it: two
answers would cost the flooding.

A log that came out of a backup lacks the newest shares. Orders up to the height at which it was put
back may have been answered: they get what is in the log or nothing, and what they ask for is taken
down as given, so that no later order gets it either.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from cipherward_compute.failures import OrderBeforeRestore, ShareAlreadyGiven, StudyIsOver
from cipherward_compute.studies import find_study
from cipherward_compute.vault import Vault
from cipherward_kit.database import Database
from cipherward_member.reports import OrderKey

PLACE = b"shares"


@dataclass(frozen=True, slots=True)
class ShareQuestion:
    """What the shares of a batch are asked for.

    c1_digests: of the ciphertexts in their order. online: the points of the set, ascending.
    recipient: digest of the requester's key, or empty for the guardians themselves.
    """

    key_digest: bytes
    c1_digests: tuple[bytes, ...]
    study: bytes
    order: OrderKey
    online: tuple[int, ...]
    recipient: bytes
    circuit: str

    def rows(self) -> list[tuple[object, ...]]:
        """Return what stands in the log about each ciphertext, in the order of its columns."""
        order, online = self.order, bytes(self.online)
        return [
            (self.study, order.height, order.index, place, online, self.recipient, self.circuit)
            for place in range(len(self.c1_digests))
        ]


class ShareLog:
    """Answers questions for shares, each once; they are sealed at rest, the counts' above all."""

    def __init__(self, database: Database, vault: Vault, restored: int = 0) -> None:
        """Describe the log; `restored` is the chain's height when it was put back, 0: never."""
        self._database = database
        self._vault = vault
        self._restored = restored

    async def give(
        self, question: ShareQuestion, make: Callable[[], Awaitable[Sequence[bytes]]]
    ) -> list[bytes]:
        """Return the share of each ciphertext: those in the log, or ones made and logged now.

        Args:
            question: what they are for.
            make: makes them; the same bytes every time for the same question.

        Raises:
            ShareAlreadyGiven: the log has one of them for another question.
            OrderBeforeRestore: the log was restored since the order, and does not have them.
            StudyIsOver: the study has ended.
            VaultCorrupt: what is in the log is not what was put there.
        """
        found = await self._database.read(lambda connection: _logged(connection, question))
        if not found:
            if question.order.height <= self._restored:
                await self._take_down(question)
                raise OrderBeforeRestore("the share may have been given before the restore")
            made = await make()
            named = zip(question.c1_digests, made, strict=True)
            sealed = [self._seal(question.key_digest, digest, share) for digest, share in named]
            found = await self._database.write(
                lambda connection: _log(connection, question, sealed)
            )
        named = zip(question.c1_digests, found, strict=True)
        return [self._open(question.key_digest, digest, share) for digest, share in named]

    async def _take_down(self, question: ShareQuestion) -> None:
        """Log shares that may be out already, without the bytes, which are lost."""
        rows = zip(question.c1_digests, question.rows(), strict=True)
        await self._database.write(
            lambda connection: connection.executemany(
                "INSERT INTO shares VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, x'')",
                [(question.key_digest, digest, *row) for digest, row in rows],
            )
        )

    async def of_order(self, study: bytes, order: OrderKey) -> list[bytes]:
        """Return the shares that an order of a study made here, in the batch's order; or none.

        Raises:
            VaultCorrupt: what is in the log is not what was put there.
        """

        def work(connection: sqlite3.Connection) -> list[tuple[bytes, bytes, bytes]]:
            return connection.execute(
                "SELECT key_digest, c1_digest, share FROM shares"
                " WHERE study = ? AND height = ? AND number = ? AND share <> x'' ORDER BY place",
                (study, order.height, order.index),
            ).fetchall()

        return [self._open(*row) for row in await self._database.read(work)]

    def _seal(self, key_digest: bytes, c1_digest: bytes, share: bytes) -> bytes:
        return self._vault.seal(share, PLACE, key_digest, c1_digest)

    def _open(self, key_digest: bytes, c1_digest: bytes, sealed: bytes) -> bytes:
        return self._vault.open(sealed, PLACE, key_digest, c1_digest)


def _logged(connection: sqlite3.Connection, question: ShareQuestion) -> list[bytes]:
    """Return the sealed shares, or an empty list if none of the batch was ever given."""
    rows = [
        connection.execute(
            "SELECT study, height, number, place, online, recipient, circuit, share FROM shares"
            " WHERE key_digest = ? AND c1_digest = ?",
            (question.key_digest, digest),
        ).fetchone()
        for digest in question.c1_digests
    ]
    if not any(rows):
        return []
    if [row and row[:-1] for row in rows] != question.rows():
        raise ShareAlreadyGiven("a share of this sum was given for another order")
    if any(row and not row[-1] for row in rows):  # of a use that is over, or before a restore
        raise ShareAlreadyGiven("the share was given, and is not kept any more")
    return [row[-1] for row in rows]


def _log(
    connection: sqlite3.Connection, question: ShareQuestion, sealed: Sequence[bytes]
) -> list[bytes]:
    found = _logged(connection, question)
    if found:
        return found
    study = find_study(connection, question.study)
    if study is None or study.ended:  # it ended while the shares were being made
        raise StudyIsOver("the study has ended")
    named = zip(question.c1_digests, question.rows(), sealed, strict=True)
    connection.executemany(
        "INSERT INTO shares VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(question.key_digest, digest, *row, share) for digest, row, share in named],
    )
    return list(sealed)
