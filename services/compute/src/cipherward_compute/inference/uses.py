"""This member's own uses of risk scores: what is asked, with which key, and what came of it.

Whom a use is about, and the scores, are sealed; the key that only this member has is gone as soon
as the use is settled.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence

from cipherward_chain.acts import ID_BYTES
from cipherward_chain.domains import INFERENCE_REQUEST
from cipherward_compute.errors import InferenceUnknown, RequestIdReused, RiskScoreNotReady
from cipherward_compute.inference.rows import ASKED, RELEASED, fail_use
from cipherward_compute.inference.use import Asking, Contract, Due, Score, Secret, Use
from cipherward_compute.vault import Vault
from cipherward_kit.database import Database
from cipherward_member.reports import OrderKey

SECRET, SCORES = b"inferences/secret", b"inferences/scores"
_SCORE = struct.Struct("<16sBdd")  # reference, known, linear, probability


class Uses:
    """Keeps uses, and finds risk scores."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def name(self, study: bytes, references: Sequence[bytes]) -> bytes:
        """Return 32 bytes that name what is asked, and say nothing about whom without the key."""
        return self._vault.keyed_name(INFERENCE_REQUEST, study, *references)

    async def contract(self, study: bytes) -> Contract | None:
        """Return a risk score, or None."""

        def work(connection: sqlite3.Connection) -> Contract | None:
            row = connection.execute(
                "SELECT hospital, source, model FROM risk_scores WHERE study = ?", (study,)
            ).fetchone()
            return None if row is None else Contract(study, *row)

        return await self._database.read(work)

    async def reader(self, study: bytes, order: OrderKey) -> str:
        """Return who alone may fetch the shares of an order; "" if all members may."""

        def work(connection: sqlite3.Connection) -> str:
            row = connection.execute(
                "SELECT hospital FROM risk_scores JOIN releases USING (study)"
                " WHERE study = ? AND height = ? AND number = ?",
                (study, order.height, order.index),
            ).fetchone()
            return "" if row is None else row[0]

        return await self._database.read(work)

    async def of_request_id(self, request_id: str, name: bytes) -> bytes:
        """Return the use that was begun with a request id, or b"".

        Raises:
            RequestIdReused: it was for something else.
        """

        def work(connection: sqlite3.Connection) -> tuple[bytes, bytes] | None:
            return connection.execute(
                "SELECT inference, name FROM inferences WHERE request_id = ?", (request_id,)
            ).fetchone()

        return _same(await self._database.read(work), name)

    async def begin(self, asking: Asking, secret: Secret) -> bytes:
        """Keep a use that is to begin; return its id, or that of the one with its request id.

        Raises:
            RequestIdReused: the request id was for something else.
            RiskScoreNotReady: another use of the same contract is under way.
        """
        sealed = self._vault.seal(secret.to_bytes(), SECRET, asking.id)

        def work(connection: sqlite3.Connection) -> bytes:
            row = connection.execute(
                "SELECT inference, name FROM inferences WHERE request_id = ?", (asking.request_id,)
            ).fetchone()
            if row is not None:
                return _same(row, asking.name)
            under_way = connection.execute(
                "SELECT 1 FROM inferences WHERE study = ? AND state = ?", (asking.study, ASKED)
            )
            if under_way.fetchone() is not None:
                raise RiskScoreNotReady("another use is under way: wait until it is answered")
            connection.execute(
                "INSERT INTO inferences (inference, request_id, name, study, request, state,"
                " variables, transaction_id, octets, expires, secret)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    asking.id,
                    asking.request_id,
                    asking.name,
                    asking.study,
                    asking.request,
                    ASKED,
                    asking.variables,
                    asking.transaction_id,
                    asking.transaction,
                    asking.expires,
                    sealed,
                ),
            )
            return asking.id

        return await self._database.write(work)

    async def unsent(self) -> list[bytes]:
        """Return the transactions of uses that no block has ordered yet."""

        def work(connection: sqlite3.Connection) -> list[bytes]:
            rows = connection.execute(
                "SELECT octets FROM inferences WHERE state = ? AND NOT number", (ASKED,)
            )
            return [octets for (octets,) in rows]

        return await self._database.read(work)

    async def secret_of(self, study: bytes, request: bytes) -> Secret | None:
        """Return the secret of the use that an order names, or None: it is not ours, or settled.

        Raises:
            VaultCorrupt: it is not what was stored.
        """

        def work(connection: sqlite3.Connection) -> tuple[bytes, bytes] | None:
            return connection.execute(
                "SELECT inference, secret FROM inferences"
                " WHERE study = ? AND request = ? AND state = ?",
                (study, request, ASKED),
            ).fetchone()

        row = await self._database.read(work)
        return None if row is None else self._open(*row)

    async def due(self) -> list[Due]:
        """Return the uses whose scores are released and not read yet."""

        def work(connection: sqlite3.Connection) -> list[Due]:
            rows = connection.execute(
                "SELECT inference, height, place, study, hospital, source, model FROM inferences"
                " JOIN risk_scores USING (study) WHERE state = ? AND height",
                (ASKED,),
            )
            return [
                Due(inference, Contract(*contract), OrderKey(height, place))
                for inference, height, place, *contract in rows
            ]

        return await self._database.read(work)

    async def secret(self, inference: bytes) -> Secret | None:
        """Return the secret of a use that is under way, or None; raises as `secret_of`."""

        def work(connection: sqlite3.Connection) -> tuple[bytes] | None:
            return connection.execute(
                "SELECT secret FROM inferences WHERE inference = ? AND state = ?",
                (inference, ASKED),
            ).fetchone()

        row = await self._database.read(work)
        return None if row is None else self._open(inference, row[0])

    async def answered(self, due: Due, scores: Sequence[Score], block_seconds: int) -> None:
        """Keep the scores of a use, and destroy its key; nothing if it has ended meanwhile."""
        octets = b"".join(
            _SCORE.pack(one.reference, one.known, one.linear, one.probability) for one in scores
        )
        sealed = self._vault.seal(octets, SCORES, due.id)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE inferences SET state = ?, scores = ?, settled_at = ?, secret = x'',"
                " octets = x'' WHERE inference = ? AND state = ?",
                (RELEASED, sealed, block_seconds, due.id, ASKED),
            )

        await self._database.write(work)

    async def fail(self, due: Due, why: tuple[str, str], block_seconds: int) -> None:
        """Fail a use whose scores cannot be read: the word for it, and a text without data."""
        study = due.contract.id
        await self._database.write(
            lambda connection: fail_use(connection, study, why, block_seconds)
        )

    async def find(self, inference: bytes) -> Use:
        """Return a use.

        Raises:
            InferenceUnknown: there is none, or it was settled more than a day ago.
            VaultCorrupt: its scores are not what was stored.
        """

        def work(connection: sqlite3.Connection) -> tuple[str, str, str, int, int, int, bytes]:
            row = connection.execute(
                "SELECT state, failure_reason, failure, variables, height, place, scores"
                " FROM inferences WHERE inference = ?",
                (inference,),
            ).fetchone()
            if row is None:
                raise InferenceUnknown("no such use is known here; scores are kept for a day")
            return row

        state, reason, text, variables, height, place, sealed = await self._database.read(work)
        octets = self._vault.open(sealed, SCORES, inference) if sealed else b""
        scores = tuple(Score(*one) for one in _SCORE.iter_unpack(octets))
        release = OrderKey(height, place) if height else None
        return Use(state, reason, text, variables, release, scores)

    def _open(self, inference: bytes, sealed: bytes) -> Secret:
        return Secret.parse(self._vault.open(sealed, SECRET, inference))


def _same(row: tuple[bytes, bytes] | None, name: bytes) -> bytes:
    if row is None:
        return b""
    inference, known = row
    if known != name:
        raise RequestIdReused("the request id belongs to a use for something else")
    assert len(inference) == ID_BYTES
    return inference
