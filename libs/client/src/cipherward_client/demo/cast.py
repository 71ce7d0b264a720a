"""Who takes part in the demonstration, and what each chapter leaves to the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cipherward_client.demo.patients import Patient
from cipherward_client.demo.report import Report
from cipherward_client.demo.teller import Teller
from cipherward_client.fhir import bundle
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct
from cipherward_client.sdk.records import RecordReceipt
from cipherward_client.sdk.study_requests import threshold_of
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.analysis import Result

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class Case:
    """A patient of the story: where they are treated, their wallet, and their stored record."""

    patient: Patient
    hospital: str
    wallet: Wallet
    stored: RecordReceipt | None = None

    @property
    def content(self) -> bytes:
        """The patient's measurements as a FHIR bundle: what the hospital stores."""
        return bundle(self.patient.values)

    @property
    def record(self) -> RecordReceipt:
        """The stored record; there is one once the chapter `store` has been told."""
        if self.stored is None:
            raise LookupError("this patient's record is not stored yet")
        return self.stored


@dataclass(slots=True)
class Cast:
    """The alliance, its hospitals and patients, and who tells and notes what happens.

    `pictures` are results of studies by the name of the file that they are drawn into at the end.

    `alliance` is a holder's connection: no certificate, so nobody learns who asks. `acts` are all
    acts whose receipts are verified again at the end.
    """

    folder: Path
    alliance: Alliance
    hospitals: dict[str, Hospital]
    cases: list[Case]
    teller: Teller
    report: Report
    pictures: dict[str, Result] = field(default_factory=dict[str, Result])
    acts: list[ProvenAct] = field(default_factory=list[ProvenAct])

    @property
    def threshold(self) -> int:
        """How many hospitals decrypt together."""
        return threshold_of(len(self.hospitals))

    def cases_of(self, hospital: str) -> list[Case]:
        """Return the patients of a hospital."""
        return [case for case in self.cases if case.hospital == hospital]


async def each(
    items: Sequence[T],
    work: Callable[[T], Awaitable[R]],
    *,
    at_once: int,
    told: Callable[[int], None],
) -> list[R]:
    """Return the work's result for each item, in order, `at_once` of them at a time."""
    places, done = asyncio.Semaphore(at_once), 0

    async def one(item: T) -> R:
        nonlocal done
        async with places:
            result = await work(item)
        done += 1
        told(done)
        return result

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    return [task.result() for task in tasks]
