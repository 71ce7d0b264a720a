"""Arithmetic without secrets, wherever it runs: typed here, octets on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Protocol

from cipherward_chain.canonical import NotCanonical, Value, decode, encode
from cipherward_chain.fields import Fields
from cipherward_compute.arithmetic.evaluations import Evaluation, ProductTerm
from cipherward_compute.arithmetic.inputs import ContributionRefused, Expected
from cipherward_compute.jobs.kinds import Kind
from cipherward_threshold.errors import ThresholdError


class JobRunner(Protocol):
    """Where jobs run. Adapters: `PoolRunner` (this process's workers), `KafkaRunner` (a queue that
    worker replicas share).
    """

    async def run(self, kind: Kind, arguments: bytes) -> bytes:
        """Return what `run_job(kind, arguments)` returns, from whichever worker.

        Raises:
            WorkersBusy: as many jobs as the bound allows are running or waiting.
            WorkerLost: no worker has done it; it may be tried again.
            JobCrashed: it fails wherever it runs.
        """
        ...


class JobCrashed(Exception):
    """A job fails wherever it runs, or ends its worker each time: a fault of the software."""


class CircuitRefused(ThresholdError):
    """What a circuit or a sum was to be made of is refused; the text says why."""


class PublicArithmetic:
    """The jobs by their names; each may run in another process, or on another machine."""

    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner

    async def verify_batch(self, expected: Expected, batch: bytes) -> None:
        """Accept a member's batch if its proof holds, as `inputs.verify_batch`; about 0.1 s.

        Raises:
            ContributionRefused: it does not, or the batch is none.
        """
        encryption = expected.encryption
        arguments = {
            "member": expected.member,
            "profile": encryption.profile,
            "public_key": encryption.public_key,
            "context": encryption.context,
            "ciphertexts": expected.ciphertexts,
            "zeros": expected.zeros,
            "batch": batch,
        }
        if await self._given(Kind.VERIFY_BATCH, arguments) is not True:
            raise JobCrashed("a worker neither accepts nor refuses a batch")

    async def sums_of(self, profile: str, batches: Sequence[bytes]) -> tuple[bytes, bytes]:
        """Return packed sums and the digest that names them, as `inputs.sums_of`.

        Raises:
            CircuitRefused: together they are no sum.
        """
        arguments = {"profile": profile, "batches": list(batches)}
        return _pair(await self._given(Kind.ADD_BATCHES, arguments))

    async def refreshed(
        self, profile: str, total: bytes, zeros: Sequence[bytes]
    ) -> tuple[bytes, bytes]:
        """Return sums with encryptions of zero added and their name, as `inputs.refreshed`.

        Raises:
            CircuitRefused: together they are no sum.
        """
        arguments = {"profile": profile, "total": total, "zeros": list(zeros)}
        return _pair(await self._given(Kind.REFRESH_SUMS, arguments))

    async def products_of(
        self, evaluation: Evaluation, terms: Sequence[ProductTerm]
    ) -> tuple[bytes, bytes]:
        """Return packed products of columns and the digest that names them, as
        `evaluations.products_of`; about 0.1 s a block each.

        Raises:
            CircuitRefused: a column is not of this key, or encrypts nothing.
        """
        arguments = {
            "profile": evaluation.profile,
            "evaluation_key": evaluation.relin_key,
            "columns": [list(column) for column in evaluation.columns],
            "terms": [asdict(term) for term in terms],
        }
        return _pair(await self._given(Kind.MULTIPLY_COLUMNS, arguments))

    async def _given(self, kind: Kind, arguments: Value) -> Value:
        # Some tens of megabytes are copied: not on the loop.
        octets = await asyncio.to_thread(encode, arguments)
        result = await self._runner.run(kind, octets)
        del octets
        try:
            return _opened(await asyncio.to_thread(decode, result))
        except NotCanonical as error:
            raise JobCrashed(f"{kind}: a worker gave no result: {error}") from None


def _opened(result: Value) -> Value:
    """Return what a job gave, or raise what it refused."""
    if isinstance(result, dict) and result.keys() == {"given"}:
        return result["given"]
    fields = Fields(result)
    if fields.has("threshold"):
        why = fields.text("threshold")
        fields.end()
        raise CircuitRefused(why)
    member, why = fields.text("member"), fields.text("why")
    fields.end()
    raise ContributionRefused(member, why)


def _pair(given: Value) -> tuple[bytes, bytes]:
    match given:
        case [bytes() as octets, bytes() as digest]:
            return octets, digest
        case _:
            raise JobCrashed("a worker gave something else than a sum and its digest")
