"""Releasing: the counts to the members, who judge them; the values to the requester's own key.

The counts are opened to the members only. A guardian passes if every published cell, *minus its own
part*, reaches the minimum, and at least three members have patients in the study: so no member, and
no requester, learns the sum of fewer.
"""

from __future__ import annotations

import asyncio
import hashlib

from cipherward_chain.domains import STUDY_WITHOUT_KEY
from cipherward_compute import arithmetic
from cipherward_compute.ceremony import PROFILE
from cipherward_compute.ciphertexts import Ciphertexts, Contribution
from cipherward_compute.errors import StepFailed
from cipherward_compute.framing import digest_of
from cipherward_compute.guardian import Guardian
from cipherward_compute.instructions import ReleaseCounts, ReleaseResult, RetireKey
from cipherward_compute.keyring import Keyring, destroyed
from cipherward_compute.member import Member
from cipherward_compute.peers import Peers, from_all
from cipherward_compute.spec import parse_spec
from cipherward_compute.steps import Done
from cipherward_compute.studies import Studies
from cipherward_threshold.errors import ThresholdError
from cipherward_threshold.keys import public_key_digest
from cipherward_threshold.study import CONTRIBUTORS_MIN, COUNT_SLOTS


class CohortTooSmall(StepFailed):
    """Too few patients, or members with patients, beside this member's own."""


class ReleaseSteps:
    """Carries out the release orders of studies, and their end."""

    def __init__(
        self,
        member: Member,
        studies: Studies,
        guardian: Guardian,
        keys: tuple[Keyring, Ciphertexts],
        peers: Peers,
    ) -> None:
        self._member = member
        self._studies = studies
        self._guardian = guardian
        self._keyring, self._ciphertexts = keys
        self._peers = peers

    async def open_counts(self, order: ReleaseCounts) -> Done:
        """Give this member's share if it is in the set, open the counts, and judge them.

        Raises:
            CohortTooSmall: they do not pass.
            StepFailed: they cannot be opened.
            arithmetic.PeerWrong: a peer's share is none.
        """
        study, key = order.shared.study, order.shared.key
        summed = await self._ciphertexts.total(study, "counts", order.c1_digest)
        shares: dict[str, bytes] = {}
        if self._member.id in order.online:
            shares[self._member.id] = await self._guardian.share_counts(order, summed)
            self._studies.news.tell(study)  # a peer may be waiting for it
        shares |= await from_all(
            self._member.others(order.online),
            lambda name: self._peers.decryption_share(name, study, key),
        )
        points = self._member.points(order.online)
        try:
            counts = await self._member.pool.run(
                arithmetic.opened_counts,
                PROFILE,
                summed.total,
                {name: (points[name], share) for name, share in shares.items()},
                COUNT_SLOTS,
            )
        except ThresholdError as error:
            raise StepFailed(f"the counts do not open: {error}") from None
        _judge(counts, summed, order.minimum)
        return Done(order.c1_digest)

    async def switch_result(self, order: ReleaseResult) -> Done:
        """Give this member's part of the result if it is in the set.

        Raises:
            StepFailed: it cannot be given.
        """
        study = order.shared.study
        summed = await self._ciphertexts.total(study, "values", order.c1_digest)
        if self._member.id not in order.online:
            return Done(order.c1_digest, reported=False)
        found = await self._studies.known(study)
        spec = await asyncio.to_thread(parse_spec, found.spec)
        share = await self._guardian.share_result(order, summed, spec.requester_public_key)
        return Done(hashlib.sha256(share).digest())

    async def retire(self, order: RetireKey) -> Done:
        """Destroy what this member holds of the study's key, and what it contributed."""
        study = order.shared.study
        ceremony = await self._keyring.find(study)
        if ceremony is not None and ceremony.public_key:
            digest = public_key_digest(ceremony.public_key)
        else:
            digest = digest_of(STUDY_WITHOUT_KEY, study)
        return Done(digest, destroyed(study))


def _judge(counts: list[int], summed: Contribution, minimum: int) -> None:
    patients, contributors = counts
    if patients - summed.own_patients < minimum:
        raise CohortTooSmall("the cohort is below the minimum without this member's own part")
    if contributors < CONTRIBUTORS_MIN:
        raise CohortTooSmall(f"fewer than {CONTRIBUTORS_MIN} members have patients in the study")
