"""Risk scores: what the contract orders of a use, from the hospital's mask to its scores.

The mask is checked before anything is weighed: it opens to nothing but whether it is one of the
hospital's own patients. The scores are switched to a key that the hospital made for this use alone.
No ciphertext of a use is like one of another, because each mask is encrypted anew.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

from cipherward_chain.batches import packed, unpacked
from cipherward_compute.arithmetic import inference as arithmetic
from cipherward_compute.arithmetic.columns import FLAGS_CIRCUIT
from cipherward_compute.arithmetic.inputs import Encryption, Expected, proven_batch
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.ciphertexts import added, contributed
from cipherward_compute.column_keys import BLOCK_SLOTS
from cipherward_compute.columns import Layout
from cipherward_compute.contributions import Inputs
from cipherward_compute.evaluation import StoredColumns
from cipherward_compute.failures import OldBackup, RequestUnknown, ShareRefused, SumDiffers
from cipherward_compute.guardian import Guardian
from cipherward_compute.inference.masks import (
    Mask,
    mask_commitment,
    mask_context,
    mask_weights,
    parse_mask,
)
from cipherward_compute.inference.models import Models
from cipherward_compute.inference.rows import forget_scores
from cipherward_compute.inference.uses import Uses
from cipherward_compute.instructions import ReleaseCounts, ReleaseResult, RetireKey, StartStudy
from cipherward_compute.jobs.public import PublicArithmetic
from cipherward_compute.keyring import Ceremony
from cipherward_compute.member import Member
from cipherward_compute.opening import Opened, Opening
from cipherward_compute.peers import Peers
from cipherward_compute.release import ReleaseSteps
from cipherward_compute.steps import Done, all_of, nothing
from cipherward_compute.studies import Studies
from cipherward_compute.sums import Sum
from cipherward_studies.column_plan import Factor
from cipherward_studies.columns import ColumnKind
from cipherward_studies.scores import ScorePlan
from cipherward_threshold.errors import ThresholdError


@dataclass(frozen=True, slots=True)
class ScoreSources:
    """What scores are made of."""

    studies: Studies
    inputs: Inputs
    columns: StoredColumns
    models: Models
    uses: Uses

    async def planned(self, data_key: bytes, model: bytes) -> tuple[Layout, ScorePlan]:
        """Return the columns of a data key, and how a risk score's model is computed on them.

        Raises:
            StepFailed: one of its subclasses says why it cannot be.
        """
        layout = await self.columns.layout(data_key)
        members = await self.columns.members(data_key)
        return layout, await self.models.plan(model, layout.data_key, members)


class InferenceSteps:
    """Carries out what the contract of a risk score orders."""

    def __init__(
        self,
        member: Member,
        sources: ScoreSources,
        peers: Peers,
        public: PublicArithmetic,
        opening: Opening,
        guardian: Guardian,
    ) -> None:
        self._member = member
        self._from = sources
        self._peers = peers
        self._public = public
        self._opening = opening
        self._guardian = guardian

    async def mask(self, order: StartStudy) -> Done:
        """Encrypt this hospital's mask of a use that it asked for itself.

        Raises:
            RequestUnknown: it did not, or the use has ended.
            StepFailed: it cannot be scored.
        """
        ceremony = await self._from.inputs.key(order)
        secret = await self._from.uses.secret_of(order.shared.study, order.iterate)
        if secret is None:
            raise RequestUnknown("this member has not asked for this use, or it is over")
        asked = order.asked
        layout, _ = await self._planned(order)
        public_key = await self._member.pool.run(
            arithmetic.public_key_of, ceremony.profile, secret.seed
        )
        if hashlib.sha256(public_key).digest() != asked.requester_key_digest:
            raise RequestUnknown("the order names another key than this member made for the use")
        chosen = frozenset(secret.slots)
        firsts = range(0, len(layout.slots.pseudonyms), BLOCK_SLOTS)
        blocks = [
            [int(first + slot in chosen) for slot in range(width)]
            for first, width in zip(firsts, layout.slots.widths, strict=True)
        ]
        encryption = self._encryption(order, ceremony, self._member.id)
        batch = await self._member.pool.run(proven_batch, encryption, blocks)
        ciphertexts, (proof,) = unpacked(batch)
        octets = Mask(ciphertexts, proof, public_key).to_bytes()
        return Done(await mask_commitment(order, octets), contributed(order.sum, octets))

    async def check(self, order: StartStudy) -> Done:
        """Verify the hospital's mask, and compute its checks.

        Raises:
            StepFailed: one of its subclasses says why it cannot be done.
            PeerWrong: the mask is not what the hospital committed to, or not proven.
        """
        ceremony = await self._from.inputs.key(order)
        layout, _ = await self._planned(order)
        ((hospital, commitment),) = order.commitments.items()
        mask = await self._mask(order, ceremony, layout)
        relin_key = await self._from.columns.evaluation_key(order.asked.source)
        flags = Factor(hospital, layout.data_key.text.names[0], "flag")
        checks: list[bytes] = []
        for block, ciphertext in enumerate(mask.ciphertexts):
            column = await self._from.columns.block(layout, flags, block)
            masked = arithmetic.Masked(ceremony.profile, relin_key, ciphertext, [column])
            weights = mask_weights(order, commitment, block)
            try:
                checks += await self._member.pool.run(arithmetic.mask_checks, masked, weights)
            except ThresholdError as error:
                raise PeerWrong(hospital, f"its mask cannot be checked: {error}") from None
        batch, digest = await self._member.pool.run(
            arithmetic.named_batch, ceremony.profile, checks
        )
        own = contributed(order.sum, mask.to_bytes())
        return Done(digest, all_of(own, added(order.sum, batch, digest)))

    async def open_mask(self, order: ReleaseCounts) -> Done:
        """Open the checks of a mask with the set: they must be zero everywhere.

        Raises:
            MaskRefused: they are not.
            StepFailed: they cannot be opened.
            PeerWrong: a peer's share is none.
        """
        contract = await self._from.uses.contract(order.shared.study)
        if contract is None:
            raise SumDiffers("this member does not know whose mask it is")
        _, batch = await self._from.inputs.ciphertexts.total(
            order.shared.study, "counts", order.digest
        )
        ceremony = await self._from.inputs.keyring.ceremony(order.source)
        widths = (BLOCK_SLOTS,) * len(unpacked(batch)[0])
        opened = await self._opening.open(
            order, batch, Opened(ceremony.profile, widths, FLAGS_CIRCUIT)
        )
        await asyncio.to_thread(arithmetic.require_zero, contract.hospital, opened)
        return Done(order.digest)

    async def score(self, order: StartStudy) -> Done:
        """Compute the scores under the mask, and of how many variables each patient has a value.

        Raises:
            StepFailed: one of its subclasses says why it cannot be done.
            PeerWrong: a member's storage has another column than it committed to.
        """
        ceremony = await self._from.inputs.key(order)
        layout, plan = await self._planned(order)
        mask = await self._mask(order, ceremony, layout)
        ones = (1,) * len(plan.terms)
        kinds: tuple[tuple[ColumnKind, tuple[int, ...]], ...] = (
            ("value", plan.weights),
            ("flag", ones),
        )
        relin_key = await self._from.columns.evaluation_key(order.asked.source)
        made: list[bytes] = []
        for kind, weights in kinds:
            for block, ciphertext in enumerate(mask.ciphertexts):
                columns = [
                    await self._from.columns.block(
                        layout, Factor(term.at, term.variable, kind), block
                    )
                    for term in plan.terms
                ]
                masked = arithmetic.Masked(ceremony.profile, relin_key, ciphertext, columns)
                try:
                    made.append(await self._member.pool.run(arithmetic.masked_sum, masked, weights))
                except ThresholdError as error:
                    raise SumDiffers(f"the columns cannot be weighed: {error}") from None
        batch, digest = await self._member.pool.run(arithmetic.named_batch, ceremony.profile, made)
        # Whoever was too late for the check keeps the mask now: its key is needed for the release.
        own = contributed(Sum(order.shared.study, "counts", order.round), mask.to_bytes())
        return Done(digest, all_of(own, added(order.sum, batch, digest)))

    async def switch(self, order: ReleaseResult) -> Done:
        """Give this member's part of the scores if it is in the set.

        Raises:
            StepFailed: it cannot be given.
        """
        study = order.shared.study
        _, batch = await self._from.inputs.ciphertexts.total(study, "values", order.digest)
        if self._member.id not in order.online:
            return Done(order.digest, nothing, reported=False)
        found = await self._from.inputs.ciphertexts.contributed(Sum(study, "counts", order.round))
        public_key = unpacked(found.own)[1][-1]
        if hashlib.sha256(public_key).digest() != order.requester_key_digest:
            raise ShareRefused("the order names another key than came with the mask")
        shares = await self._guardian.share_result(
            order, batch, public_key, arithmetic.MASKED_CIRCUIT
        )
        return Done(hashlib.sha256(packed(shares)).digest())

    async def _planned(self, order: StartStudy) -> tuple[Layout, ScorePlan]:
        asked = order.asked
        return await self._from.planned(asked.source, asked.spec_digest)

    async def _mask(self, order: StartStudy, ceremony: Ceremony, layout: Layout) -> Mask:
        """Return the mask that an order names, as it is kept here or its hospital sends it: it is
        what the hospital committed to, and proven."""
        ((hospital, commitment),) = order.commitments.items()
        wanted = Sum(order.shared.study, "counts", order.round)
        found = await self._from.inputs.ciphertexts.find(wanted)
        octets = found.own if found is not None else b""
        mine = hospital == self._member.id
        if mine and not octets:
            raise OldBackup("this member has no mask that it committed to: an old backup?")
        octets = octets or (await self._peers.contribution(hospital, wanted)).batch
        if await mask_commitment(order, octets) != commitment:
            if mine:
                raise OldBackup("this member committed to another mask: an old backup?")
            raise PeerWrong(hospital, "its mask is not the one that it committed to")
        mask = parse_mask(hospital, octets, order, layout.slots.blocks)
        try:
            await self._member.pool.run(
                arithmetic.check_requester_key, ceremony.profile, mask.public_key
            )
        except ThresholdError as error:
            raise PeerWrong(hospital, f"its key for the scores is none: {error}") from None
        encryption = self._encryption(order, ceremony, hospital)
        expected = Expected(hospital, encryption, layout.slots.blocks, zeros=False)
        await self._public.verify_batch(expected, mask.batch)
        return mask

    def _encryption(self, order: StartStudy, ceremony: Ceremony, hospital: str) -> Encryption:
        context = mask_context(self._member.chain_id, hospital, order)
        return Encryption(ceremony.profile, ceremony.public_key, context)


async def retire_scores(release: ReleaseSteps, order: RetireKey) -> Done:
    """End a risk score: what this member keeps of its uses is destroyed; the data key stays."""
    done = await release.retire(order)
    study = order.shared.study
    return Done(
        done.digest,
        all_of(done.write, lambda connection: forget_scores(connection, [study])),
    )
