"""Who has reported about the newest order of a study: what readers see of the other members."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from cipherward_chain.canonical import encode
from cipherward_member.reports import OrderKey


@dataclass(frozen=True, slots=True)
class Answer:
    """A member's report about an order, as a block holds it."""

    order: OrderKey
    member: str
    failed: bool


def await_answers(
    connection: sqlite3.Connection, study: bytes, order: OrderKey, members: Sequence[str]
) -> None:
    """Begin to wait for the reports about a study's newest order."""
    connection.execute(
        "UPDATE studies SET order_height = ?, order_number = ?, awaited = ? WHERE study = ?",
        (order.height, order.index, encode(list(members)), study),
    )
    connection.execute("DELETE FROM answers WHERE study = ?", (study,))


def take_answers(connection: sqlite3.Connection, answers: Sequence[Answer]) -> list[bytes]:
    """Keep the reports about newest orders; return the studies that they are about."""
    studies: list[bytes] = []
    for answer in answers:
        rows = connection.execute(
            "INSERT OR IGNORE INTO answers SELECT study, ?, ? FROM studies"
            " WHERE order_height = ? AND order_number = ? AND NOT ended RETURNING study",
            (answer.member, int(answer.failed), answer.order.height, answer.order.index),
        )
        studies += [study for (study,) in rows.fetchall()]
    return studies
