"""Encrypting this member's sums, and adding what all members have encrypted.

Commit before fetch: a member's ciphertext is served only when all digests stand on the chain, so
that nobody chooses its own after it has seen another's. Two members with one digest are refused:
the second has copied the first's, to have it counted twice.

A commitment is to the ciphertext and to the block before which opt-outs count: the one that ordered
the study's counts. A contribution that names another block is refused by everybody who adds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from cipherward_compute import arithmetic
from cipherward_compute.ceremony import PROFILE
from cipherward_compute.ciphertexts import (
    Ciphertexts,
    Contribution,
    added,
    contributed,
    counted,
)
from cipherward_compute.commitments import Contributed
from cipherward_compute.datasets import DataSet, DataSets
from cipherward_compute.errors import StepFailed, StudySpecMalformed
from cipherward_compute.instructions import StartStudy
from cipherward_compute.keyring import Ceremony, Keyring
from cipherward_compute.member import Member
from cipherward_compute.peers import Peers, from_all
from cipherward_compute.spec import StudySpec, parse_spec
from cipherward_compute.specs import Specs
from cipherward_compute.steps import Done
from cipherward_compute.studies import Studies, Study
from cipherward_threshold.errors import ThresholdError
from cipherward_threshold.keys import public_key_digest
from cipherward_threshold.parameters import profile
from cipherward_threshold.study import CONTRIBUTORS_MIN, Rows


class ContributionSteps:
    """Carries out the start orders of studies."""

    def __init__(
        self,
        member: Member,
        studies: Studies,
        specs: Specs,
        data_sets: DataSets,
        keys: tuple[Keyring, Ciphertexts],
        peers: Peers,
    ) -> None:
        self._member = member
        self._studies = studies
        self._specs = specs
        self._data_sets = data_sets
        self._keyring, self._ciphertexts = keys
        self._peers = peers

    async def carry_out(self, order: StartStudy) -> Done:
        """Take the step that an order asks for.

        Raises:
            StepFailed: it cannot be taken.
            arithmetic.PeerWrong: a peer's ciphertext is not what it committed to.
        """
        if len(order.shared.members) < CONTRIBUTORS_MIN:
            raise StepFailed(f"a sum of fewer than {CONTRIBUTORS_MIN} members shows their parts")
        ceremony = await self._keyring.ceremony(order.shared.study)
        if public_key_digest(ceremony.public_key) != order.key_digest:
            raise StepFailed("the order names another key than the ceremony made")
        if order.step == "verify":
            return await self._add(order)
        if order.stage == "counts":
            return await self._encrypt_counts(order, ceremony)
        return await self._encrypt_values(order, ceremony)

    async def _encrypt_counts(self, order: StartStudy, ceremony: Ceremony) -> Done:
        octets = await self._specs.find(order.spec_digest)
        if octets is None:
            raise StepFailed("the text of the study was not handed to this member")
        spec = await self._checked(octets, order)
        study = await self._studies.known(order.shared.study)
        data_set, rows = await self._rows(spec, study)
        slots = await asyncio.to_thread(spec.plan.counts, rows)
        made = await self._encrypted(ceremony, slots, slots[0])
        write = counted(order.shared.study, made, octets, spec.digest, data_set.version)
        return Done(_commitment(study, made.own), write)

    async def _encrypt_values(self, order: StartStudy, ceremony: Ceremony) -> Done:
        study = await self._studies.known(order.shared.study)
        spec = await self._checked(study.spec, order)
        counts = await self._ciphertexts.contributed(study.id, "counts")
        data_set, rows = await self._rows(spec, study)
        if data_set.version != study.version:
            raise StepFailed("this member's rows have changed since they were counted")
        try:
            slots = await asyncio.to_thread(
                spec.plan.sums,
                rows,
                contributors=len(order.shared.members),
                modulus=profile(PROFILE).plain_modulus,
            )
        except ThresholdError as error:
            raise StepFailed(f"this member's sums do not fit: {error}") from None
        made = await self._encrypted(ceremony, slots, counts.own_patients)
        write = contributed(study.id, "values", made)
        return Done(_commitment(study, made.own), write)

    async def _add(self, order: StartStudy) -> Done:
        members = order.shared.members
        study = await self._studies.known(order.shared.study)
        own = (await self._ciphertexts.contributed(study.id, order.stage)).own
        commitments = order.commitments
        if sorted(commitments) != list(members):
            raise StepFailed("the order does not have a commitment of every member")
        if len(set(commitments.values())) != len(members):
            raise StepFailed("two members committed to the same ciphertext")
        if _commitment(study, own) != commitments[self._member.id]:
            raise StepFailed("this member committed to another ciphertext: an old backup?")
        fetched = await from_all(
            self._member.others(members),
            lambda name: self._peers.contribution(name, study.id, order.stage),
        )
        await asyncio.to_thread(_check_fetched, study, fetched, commitments)
        added_up = {name: found.ciphertext for name, found in fetched.items()}
        try:
            total, digest = await self._member.pool.run(
                arithmetic.total_of, PROFILE, {**added_up, self._member.id: own}
            )
        except ThresholdError as error:
            raise StepFailed(f"the contributions do not add up: {error}") from None
        return Done(digest, added(study.id, order.stage, total, digest))

    async def _checked(self, octets: bytes, order: StartStudy) -> StudySpec:
        """Return the study's text, compared with what the chain says about it."""
        try:
            spec = await asyncio.to_thread(parse_spec, octets)
        except StudySpecMalformed as error:
            raise StepFailed(str(error)) from None
        if spec.digest != order.spec_digest:
            raise StepFailed("the order names another text")
        if spec.requester_key_digest != order.requester_key_digest:
            raise StepFailed("the text has another requester's key than the order")
        if spec.profile != PROFILE:
            raise StepFailed(f"the text asks for other parameters than {PROFILE}")
        if spec.minimum != order.minimum:
            raise StepFailed("the text has another minimum than the order")
        if spec.data_set != order.data_set:
            raise StepFailed("the text has another data set than the order")
        if not set(spec.plan.statistics) <= set(order.outputs):
            raise StepFailed("the text asks for statistics that the order does not name")
        return spec

    async def _rows(self, spec: StudySpec, study: Study) -> tuple[DataSet, Rows]:
        """Return the rows of all patients who take part: those who are out were never there."""
        data_set = await self._data_sets.taking_part(spec.data_set, study.opt_outs_height)
        if data_set is None:
            raise StepFailed(f"this member has no data set {spec.data_set}")
        try:
            return data_set, data_set.columns(spec.plan.names)
        except KeyError as error:
            raise StepFailed(f"{spec.data_set} has no variable {error.args[0]} here") from None

    async def _encrypted(self, ceremony: Ceremony, slots: list[int], patients: int) -> Contribution:
        own = await self._member.pool.run(arithmetic.encrypted, PROFILE, ceremony.public_key, slots)
        return Contribution(own, patients)


def _commitment(study: Study, ciphertext: bytes) -> bytes:
    return Contributed(ciphertext, study.opt_outs_height).commitment


def _check_fetched(
    study: Study, fetched: Mapping[str, Contributed], commitments: Mapping[str, bytes]
) -> None:
    """Return if each is what its member committed to, with the opt-outs that must be in it."""
    for name, found in fetched.items():
        if found.commitment != commitments[name]:
            raise arithmetic.PeerWrong(name, "its contribution is not the one that it committed to")
        if found.opt_outs_height != study.opt_outs_height:
            raise arithmetic.PeerWrong(name, "its contribution has opt-outs up to another block")
