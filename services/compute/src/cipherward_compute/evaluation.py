"""Studies of stored columns: every member computes the same ciphertexts from what all have proven.

Nobody encrypts anything anew. The counts are the patients of whom both members have a value; they
are opened to the members, and only when they reach the minimum is the result switched to the
researcher's key. A ciphertext opens as one integer, the sum of its slots: no patient's value is in
any share.

The same two columns give the same ciphertext, of which a key gives one share ever: a product is
released once in the life of a data key.
"""

from __future__ import annotations

from collections.abc import Sequence

from cipherward_chain.batches import CIPHERTEXTS_MAX
from cipherward_chain.domains import verdict_digest
from cipherward_compute.arithmetic.evaluations import (
    PRODUCT_CIRCUIT,
    Evaluation,
    ProductTerm,
)
from cipherward_compute.ciphertexts import CountedText, added, texted
from cipherward_compute.columns import Layout, Manifest, ManifestMalformed, parse_manifest
from cipherward_compute.columns_proofs import ColumnProofs
from cipherward_compute.columns_steps import ColumnSources
from cipherward_compute.contributions import Inputs
from cipherward_compute.failures import (
    CohortTooSmall,
    ColumnsDiffer,
    ColumnsUnverified,
    CommitmentsIncomplete,
    CountsMalformed,
    SpecNotHandedOver,
    SumDiffers,
)
from cipherward_compute.guardian import Guardian
from cipherward_compute.instructions import ReleaseCounts, ReleaseResult, StartStudy
from cipherward_compute.jobs.public import PublicArithmetic
from cipherward_compute.member import Member
from cipherward_compute.opening import Opened, Opening
from cipherward_compute.release import switched
from cipherward_compute.steps import Done, all_of, nothing
from cipherward_compute.studies import Studies
from cipherward_compute.study_texts import columns_asked_for, planned_columns
from cipherward_compute.verdicts import judged
from cipherward_studies import errors as study_errors
from cipherward_studies.column_plan import ColumnPlan, Factor
from cipherward_studies.columns import Column
from cipherward_studies.verdict import verdict_octets
from cipherward_threshold.errors import ThresholdError

COLUMN_STUDY = "column-study"  # the template
# A storage that restarts is there again long before; one whose member has left may never be.
AWAY_SECONDS = 300.0


class StoredColumns:
    """Finds the columns of a data key that this member has verified, and multiplies them."""

    def __init__(self, sources: ColumnSources, arithmetic: PublicArithmetic, chain_id: str) -> None:
        self._from = sources
        self._arithmetic = arithmetic
        self._proofs = ColumnProofs(chain_id, sources.store, arithmetic)

    async def layout(self, data_key: bytes) -> Layout:
        """Return which columns a data key has, or raise what `ColumnSources.layout` does."""
        return await self._from.layout(data_key)

    async def members(self, data_key: bytes) -> tuple[str, ...]:
        """Return the members that store columns under a data key, whoever holds it now; sorted."""
        return tuple(sorted(await self._from.manifests.all(data_key)))

    async def evaluation_key(self, data_key: bytes) -> bytes:
        """Return what multiplies under a data key, or raise `KeyMissing`."""
        return await self._from.keyring.evaluation_key(data_key)

    async def products_of(
        self, evaluation: Evaluation, terms: Sequence[ProductTerm]
    ) -> tuple[bytes, bytes]:
        """Return products and their name, as `PublicArithmetic.products_of`."""
        return await self._arithmetic.products_of(evaluation, terms)

    async def blocks(self, layout: Layout, factor: Factor) -> list[bytes]:
        """Return a member's column, block by block: contributions whose proofs were verified here.

        Raises:
            as `block`.
        """
        return [await self.block(layout, factor, n) for n in range(layout.slots.blocks)]

    async def block(self, layout: Layout, factor: Factor, block: int) -> bytes:
        """Return one block of a member's column.

        Raises:
            ColumnsUnverified: its proof was not verified here.
            ColumnsAway: its member's storage does not answer.
            PeerWrong: the member's storage has another column than was verified, or one of a handed
                list without proof.
            StepFailed: its storage refuses it.
        """
        data_key = layout.data_key.id
        octets = await self._from.manifests.find(data_key, factor.at)
        if not octets:
            raise ColumnsUnverified(f"this member has not verified the columns of {factor.at}")
        try:
            manifest = parse_manifest(octets, layout, factor.at)
        except ManifestMalformed as error:
            raise ColumnsUnverified(f"the columns of {factor.at}: {error}") from None
        column = Column(factor.variable, block, factor.kind)
        digest = manifest.of(layout, column)
        octets = await self._from.store.get(factor.at, data_key, digest, AWAY_SECONDS)
        await self._proven(layout, manifest, layout.columns.index(column))
        return octets

    async def _proven(self, layout: Layout, manifest: Manifest, place: int) -> None:
        """Return once the batch of a column is verified: of a list that a resharing has handed to
        this member when a column of it is used first, for its storage may have been away then."""
        data_key, member, batch = manifest.study, manifest.member, place // CIPHERTEXTS_MAX
        if await self._from.manifests.is_proven(data_key, member, batch):
            return
        ceremony = await self._from.keyring.ceremony(data_key)
        await self._proofs.verify(ceremony, layout, manifest, layout.batches[batch])
        await self._from.manifests.proven(data_key, member, batch)


class EvaluationSteps:
    """Carries out what the contract of a study of stored columns orders."""

    def __init__(
        self,
        member: Member,
        studies: Studies,
        inputs: Inputs,
        columns: StoredColumns,
        opening: Opening,
        guardian: Guardian,
    ) -> None:
        self._member = member
        self._studies = studies
        self._inputs = inputs
        self._columns = columns
        self._opening = opening
        self._guardian = guardian

    async def evaluate(self, order: StartStudy) -> Done:
        """Compute the ciphertexts of a stage.

        Raises:
            StepFailed: one of its subclasses says why it cannot be done.
            PeerWrong: a member's storage has another column than it committed to.
        """
        if order.commitments:
            raise CommitmentsIncomplete("nothing is committed to in a study of stored columns")
        ceremony = await self._inputs.key(order)
        study = await self._studies.known(order.shared.study)
        octets = study.spec or await self._inputs.specs.find(order.asked.spec_digest)
        if not octets:
            raise SpecNotHandedOver("the text of the study was not handed to this member")
        plan = await columns_asked_for(octets, order.asked, ceremony.profile)
        layout = await self._columns.layout(order.asked.source)
        try:
            plan.check_columns(
                layout.data_key.text, await self._columns.members(order.asked.source)
            )
        except study_errors.ColumnsDiffer as error:
            raise ColumnsDiffer(str(error)) from None
        total, digest = await self._products(order, plan, layout, ceremony.profile)
        effect = added(order.sum, total, digest)
        if order.stage == "counts":
            text = texted(study.id, CountedText(octets, order.asked.spec_digest, b""))
            return Done(digest, all_of(effect, text))
        return Done(digest, all_of(effect, judged(study.id, _passed(order))))

    async def open_counts(self, order: ReleaseCounts) -> Done:
        """Open the counts with the set, and judge them.

        Raises:
            CohortTooSmall: too few patients are at both members.
            StepFailed: they cannot be opened.
            PeerWrong: a peer's share is none.
        """
        study, mine = order.shared.study, self._member.id
        plan = await planned_columns((await self._studies.known(study)).spec)
        slots = len((await self._columns.layout(order.source)).slots.pseudonyms)
        _, total = await self._inputs.ciphertexts.total(study, "counts", order.digest)
        ones = (1,) * len(plan.terms("counts"))
        opened = Opened(plan.spec.profile, ones, PRODUCT_CIRCUIT, slots)
        counts = await self._opening.open(order, total, opened)
        try:
            verdict = verdict_octets(plan.verdict(counts, slots))
        except study_errors.CohortTooSmall as error:
            raise CohortTooSmall(str(error)) from None
        except study_errors.CountsMalformed as error:
            raise CountsMalformed(str(error)) from None
        return Done(verdict_digest(study, mine, verdict), judged(study, {mine: verdict}))

    async def switch_result(self, order: ReleaseResult) -> Done:
        """Give this member's part of the result if it is in the set.

        Raises:
            StepFailed: it cannot be given.
        """
        study = order.shared.study
        _, total = await self._inputs.ciphertexts.total(study, "values", order.digest)
        if self._member.id not in order.online:
            return Done(order.digest, nothing, reported=False)
        spec = (await planned_columns((await self._studies.known(study)).spec)).spec
        return await switched(self._guardian, order, total, spec, PRODUCT_CIRCUIT)

    async def _products(
        self, order: StartStudy, plan: ColumnPlan, layout: Layout, profile: str
    ) -> tuple[bytes, bytes]:
        terms = plan.terms(order.stage)
        factors = tuple(dict.fromkeys(one for term in terms for one in (term.first, term.second)))
        columns = [await self._columns.blocks(layout, factor) for factor in factors]
        evaluation = Evaluation(
            profile, await self._columns.evaluation_key(layout.data_key.id), columns
        )
        places = [
            ProductTerm(factors.index(term.first), factors.index(term.second), term.times)
            for term in terms
        ]
        try:
            return await self._columns.products_of(evaluation, places)
        except ThresholdError as error:
            raise SumDiffers(f"the columns cannot be multiplied: {error}") from None


def _passed(order: StartStudy) -> dict[str, bytes]:
    """Return the verdicts that the order of the values names: each lets everything pass.

    Raises:
        CommitmentsIncomplete: one does not, or is no member's.
    """
    verdict = verdict_octets(())
    if not order.verdicts or not set(order.verdicts) <= set(order.shared.members):
        raise CommitmentsIncomplete("the order names no verdicts of members")
    for name, digest in order.verdicts.items():
        if digest != verdict_digest(order.shared.study, name, verdict):
            raise CommitmentsIncomplete(f"the verdict of {name} is none of a study that passes")
    return dict.fromkeys(order.verdicts, verdict)
