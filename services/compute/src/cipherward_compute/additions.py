"""Adding what all members have encrypted, once every proof of correct encryption is verified.

Everybody verifies every other member's proof before it says so to the chain: one ciphertext that is
not an honest encryption would give the key away to whoever reads the result. Two members with one
digest are refused: the second has copied the first's, to have it counted twice.

A release that a member of the set does not carry out is dead: its shares are not asked for again.
The next attempt is about the same sum with proven encryptions of zero added, another c1.
"""

from __future__ import annotations

from dataclasses import dataclass

from cipherward_chain.batches import unpacked
from cipherward_compute.arithmetic.inputs import (
    Encryption,
    Expected,
    proven_zeros,
)
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.ciphertexts import added, contributed
from cipherward_compute.commitments import commitment_to, proof_context
from cipherward_compute.contributions import Inputs
from cipherward_compute.failures import CommitmentsIncomplete, OldBackup, SumDiffers
from cipherward_compute.instructions import StartStudy
from cipherward_compute.jobs.public import PublicArithmetic
from cipherward_compute.keyring import Ceremony
from cipherward_compute.member import Member
from cipherward_compute.peers import Peers, from_all
from cipherward_compute.steps import Done
from cipherward_compute.studies import Studies, Study
from cipherward_compute.study_texts import planned
from cipherward_threshold.errors import ThresholdError


@dataclass(frozen=True, slots=True)
class _Adding:
    """What is known while the inputs of one sum are fetched and checked."""

    order: StartStudy
    study: Study
    ceremony: Ceremony
    ciphertexts: int  # of each batch


class AdditionSteps:
    """Adds the contributions of all, and refreshes sums whose release is dead."""

    def __init__(
        self,
        member: Member,
        studies: Studies,
        inputs: Inputs,
        peers: Peers,
        arithmetic: PublicArithmetic,
    ) -> None:
        self._member = member
        self._studies = studies
        self._inputs = inputs
        self._peers = peers
        self._arithmetic = arithmetic

    async def verify(self, order: StartStudy) -> Done:
        """Fetch and verify what all have encrypted, and add it.

        Raises:
            StepFailed: one of its subclasses says why it cannot be done.
            PeerWrong: a peer's contribution is not what it committed to, or not proven.
        """
        if sorted(order.commitments) != list(order.shared.members):
            raise CommitmentsIncomplete("the order does not have a commitment of every member")
        study = await self._studies.known(order.shared.study)
        plan = (await planned(study.spec)).plan
        slots = plan.count_slots if order.stage == "counts" else plan.value_slots
        ceremony = await self._inputs.key(order)
        adding = _Adding(order, study, ceremony, plan.ciphertexts(slots))
        batches = await self._verified(adding)
        try:
            total, digest = await self._arithmetic.sums_of(ceremony.profile, batches)
        except ThresholdError as error:
            raise SumDiffers(f"the contributions do not add up: {error}") from None
        return Done(digest, added(order.sum, total, digest))

    async def refresh(self, order: StartStudy) -> Done:
        """Encrypt zeros for every ciphertext of a sum whose release is dead.

        Raises:
            SumDiffers: this member has made no such sum.
            StepFailed: it has no such key.
        """
        study = await self._studies.known(order.shared.study)
        ceremony = await self._inputs.key(order)
        _, total = await self._inputs.ciphertexts.total(study.id, order.stage, order.refreshed)
        own = await self._member.pool.run(
            proven_zeros,
            self._encryption(order, ceremony, self._member.id),
            len(unpacked(total)[0]),
        )
        commitment = await commitment_to(own, study.opt_outs_height)
        return Done(commitment, contributed(order.sum, own))

    async def add(self, order: StartStudy) -> Done:
        """Fetch and verify the set's zeros, and add them to the sum that they refresh.

        Raises:
            as `verify`.
        """
        if not order.commitments or not set(order.commitments) <= set(order.shared.members):
            raise CommitmentsIncomplete("the order names no encryptions of zero by members")
        study = await self._studies.known(order.shared.study)
        ceremony = await self._inputs.key(order)
        _, total = await self._inputs.ciphertexts.total(study.id, order.stage, order.refreshed)
        zeros = await self._verified(_Adding(order, study, ceremony, len(unpacked(total)[0])))
        try:
            again, digest = await self._arithmetic.refreshed(ceremony.profile, total, zeros)
        except ThresholdError as error:
            raise SumDiffers(f"the zeros do not add up: {error}") from None
        return Done(digest, added(order.sum, again, digest))

    async def _verified(self, adding: _Adding) -> list[bytes]:
        """Return the batches of all who committed, in the order of their names: each is what its
        member committed to, with the opt-outs that must be in it, and is proven."""
        order, mine = adding.order, self._member.id
        if len(set(order.commitments.values())) != len(order.commitments):
            raise CommitmentsIncomplete("two members committed to the same ciphertexts")
        found: dict[str, bytes] = {}
        if mine in order.commitments:
            own = (await self._inputs.ciphertexts.contributed(order.sum)).own
            if await commitment_to(own, adding.study.opt_outs_height) != order.commitments[mine]:
                raise OldBackup("this member committed to other ciphertexts: an old backup?")
            found[mine] = own
        others = self._member.others(tuple(sorted(order.commitments)))
        found |= await from_all(others, lambda name: self._verified_of(adding, name))
        return [found[name] for name in sorted(found)]

    async def _verified_of(self, adding: _Adding, member: str) -> bytes:
        order = adding.order
        fetched = await self._peers.contribution(member, order.sum)
        commitment = await commitment_to(fetched.batch, fetched.opt_outs_height)
        if commitment != order.commitments[member]:
            raise PeerWrong(member, "its contribution is not the one that it committed to")
        if fetched.opt_outs_height != adding.study.opt_outs_height:
            raise PeerWrong(member, "its contribution has opt-outs up to another block")
        expected = Expected(
            member,
            self._encryption(order, adding.ceremony, member),
            adding.ciphertexts,
            zeros=bool(order.refreshed),
        )
        await self._arithmetic.verify_batch(expected, fetched.batch)
        return fetched.batch

    def _encryption(self, order: StartStudy, ceremony: Ceremony, member: str) -> Encryption:
        context = proof_context(self._member.chain_id, member, order.sum, order.asked.spec_digest)
        return Encryption(ceremony.profile, ceremony.public_key, context)
