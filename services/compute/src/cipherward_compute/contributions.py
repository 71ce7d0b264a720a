"""Encrypting what this member's patients add to a study: first their counts, then their values.

Commit before fetch: a member's ciphertexts are served only when all digests stand on the chain, so
that nobody chooses its own after it has seen another's. What was encrypted is stored with the step,
before the chain hears of it: a step that is taken again after a crash has shown nothing yet.

A commitment is to the ciphertexts, their proof, and the block before which opt-outs count: the one
that ordered the study's counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from cipherward_chain.domains import verdict_digest
from cipherward_compute.arithmetic.inputs import Encryption, proven_batch
from cipherward_compute.arithmetic.noise import noisy
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.ciphertexts import Ciphertexts, CountedText, contributed, counted
from cipherward_compute.cohorts import Cohort, Cohorts, CohortWatch
from cipherward_compute.commitments import commitment_to, proof_context
from cipherward_compute.datasets import DataSets
from cipherward_compute.failures import (
    CommitmentsIncomplete,
    DataSetUnknown,
    IterateRefused,
    KeyDiffers,
    RowsChanged,
    RowsRefused,
    SpecNotHandedOver,
    TooFewMembers,
    UnitMismatch,
    ValuesOutOfRange,
    VariableMissing,
)
from cipherward_compute.instructions import StartStudy
from cipherward_compute.iterates import Iterates
from cipherward_compute.keyring import Ceremony, Keyring
from cipherward_compute.member import Member
from cipherward_compute.peers import Peers, from_all
from cipherward_compute.rows import TakingPart
from cipherward_compute.specs import Specs
from cipherward_compute.steps import Done, all_of
from cipherward_compute.studies import Studies, Study
from cipherward_compute.study_texts import PlannedStudy, asked_for
from cipherward_compute.verdicts import Verdicts, judged
from cipherward_studies import errors as study_errors
from cipherward_studies.verdict import CONTRIBUTORS_MIN, left_out, parse_verdict
from cipherward_threshold.errors import ThresholdError
from cipherward_threshold.keys import public_key_digest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a contribution is made of: texts, parameters of rounds, rows, and keys."""

    specs: Specs
    iterates: Iterates
    data_sets: DataSets
    cohorts: Cohorts
    keyring: Keyring
    ciphertexts: Ciphertexts
    verdicts: Verdicts

    async def key(self, order: StartStudy) -> Ceremony:
        """Return the key that an order names.

        Raises:
            KeyDiffers: this member has another one.
            StepFailed: it has none.
        """
        ceremony = await self.keyring.ceremony(order.asked.source or order.shared.study)
        if public_key_digest(ceremony.public_key) != order.asked.key_digest:
            raise KeyDiffers("the order names another key than the ceremony made")
        return ceremony


class ContributionSteps:
    """Encrypts this member's part of the counts and of each round of values."""

    def __init__(self, member: Member, studies: Studies, inputs: Inputs, peers: Peers) -> None:
        self._member = member
        self._studies = studies
        self._inputs = inputs
        self._peers = peers

    async def commit(self, order: StartStudy) -> Done:
        """Encrypt what an order asks for.

        Raises:
            StepFailed: one of its subclasses says why it cannot be done.
            PeerWrong: a guardian's verdict is not what it committed to.
        """
        if len(order.shared.members) < CONTRIBUTORS_MIN:
            raise TooFewMembers(f"a sum of fewer than {CONTRIBUTORS_MIN} members shows their parts")
        ceremony = await self._inputs.key(order)
        study = await self._studies.known(order.shared.study)
        if order.stage == "counts":
            return await self._counts(order, study, ceremony)
        return await self._values(order, study, ceremony)

    async def _counts(self, order: StartStudy, study: Study, ceremony: Ceremony) -> Done:
        octets = study.spec or await self._inputs.specs.find(order.asked.spec_digest)
        if not octets:
            raise SpecNotHandedOver("the text of the study was not handed to this member")
        found = await asked_for(octets, order.asked, ceremony.profile)
        rows = await self._rows(found, study)
        watch = CohortWatch(found.plan)
        chunks = rows.chunks(found.spec.names)
        counts = await _computed(lambda: found.plan.count(watch.columns(chunks)))
        await self._admitted(study, found, watch)
        own = await self._encrypted(order, ceremony, found, counts)
        text = CountedText(octets, order.asked.spec_digest, rows.version)
        sealed = self._inputs.ciphertexts.seal_counts(study.id, counts)
        return Done(
            await commitment_to(own, study.opt_outs_height), counted(order.sum, own, sealed, text)
        )

    async def _values(self, order: StartStudy, study: Study, ceremony: Ceremony) -> Done:
        found = await asked_for(study.spec, order.asked, ceremony.profile)
        verdicts = await self._verdicts(order, study)
        failed = _left_out(verdicts, found)
        iterate = await self._inputs.iterates.of(order.iterate)
        rows = await self._rows(found, study)
        if rows.version != study.version:
            raise RowsChanged("this member's rows have changed since they were counted")
        chunks = (chunk.columns for chunk in rows.chunks(found.spec.names))
        values = await _computed(lambda: found.plan.local(chunks, failed, iterate))
        parts = len(order.shared.members), order.asked.threshold
        blocks = [
            (block.start, block.stop, block.contributor_sigma(*parts))
            for block in await _computed(lambda: found.plan.noise(iterate))
        ]
        if blocks:
            values = await self._member.pool.run(noisy, values, blocks)
        own = await self._encrypted(order, ceremony, found, values)
        write = all_of(contributed(order.sum, own), judged(study.id, verdicts))
        return Done(await commitment_to(own, study.opt_outs_height), write)

    async def _verdicts(self, order: StartStudy, study: Study) -> dict[str, bytes]:
        """Return the verdicts that the order names: those known here, the others fetched."""
        if not order.verdicts or not set(order.verdicts) <= set(order.shared.members):
            raise CommitmentsIncomplete("the order names no verdicts of members")
        known = await self._inputs.verdicts.all(study.id)
        missing = tuple(name for name in order.verdicts if name not in known)
        fetched = await from_all(missing, lambda name: self._peers.verdict(name, study.id))
        verdicts = {name: (known | fetched)[name] for name in order.verdicts}
        for name, verdict in verdicts.items():
            if verdict_digest(study.id, name, verdict) != order.verdicts[name]:
                raise PeerWrong(name, "its verdict is not the one that it committed to")
        return verdicts

    async def _rows(self, found: PlannedStudy, study: Study) -> TakingPart:
        """Return the rows of all patients who take part: those who are out were never there."""
        spec = found.spec
        rows = await self._inputs.data_sets.taking_part(spec.data_set, study.opt_outs_height)
        if rows is None:
            raise DataSetUnknown(f"this member has no data set {spec.data_set}")
        units = {column.name: column.unit for column in rows.columns}
        for variable in spec.variables:
            unit = units.get(variable.name)
            if unit is None:
                raise VariableMissing(f"{spec.data_set} has no variable {variable.name} here")
            if unit not in ("", variable.unit):
                raise UnitMismatch(f"{variable.name} is in another unit in {spec.data_set} here")
        return rows

    async def _admitted(self, study: Study, found: PlannedStudy, watch: CohortWatch) -> None:
        """Refuse an exact study whose patients here are nearly those of another one."""
        spec = found.spec
        if spec.rho_micro:
            return
        patients = await asyncio.to_thread(watch.fingerprints)
        await self._inputs.cohorts.admit(study.id, Cohort(spec.data_set, spec.minimum, patients))

    async def _encrypted(
        self, order: StartStudy, ceremony: Ceremony, found: PlannedStudy, values: list[int]
    ) -> bytes:
        context = proof_context(
            self._member.chain_id, self._member.id, order.sum, order.asked.spec_digest
        )
        encryption = Encryption(ceremony.profile, ceremony.public_key, context)
        try:
            return await self._member.pool.run(proven_batch, encryption, found.plan.batches(values))
        except ThresholdError as error:
            raise ValuesOutOfRange(f"this member's sums do not fit: {error}") from None


async def _computed(work: Callable[[], T]) -> T:
    """Return what a plan computes over rows, which takes as long as there are rows.

    Raises:
        RowsRefused: the rows are none that the study takes.
        IterateRefused: the round's parameters are none that the plan allows.
    """
    try:
        return await asyncio.to_thread(work)
    except study_errors.IterateRefused as error:
        raise IterateRefused(str(error)) from None
    except study_errors.StudyError as error:
        raise RowsRefused(str(error)) from None


def _left_out(verdicts: Mapping[str, bytes], found: PlannedStudy) -> tuple[int, ...]:
    parsed: list[tuple[int, ...]] = []
    for member, verdict in verdicts.items():
        try:
            parsed.append(parse_verdict(verdict, len(found.plan.cells)))
        except study_errors.VerdictMalformed as error:
            raise PeerWrong(member, str(error)) from None
    return left_out(parsed)
