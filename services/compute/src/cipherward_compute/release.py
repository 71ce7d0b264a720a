"""Releasing: the counts to the members, who judge them; the values to the requester's own key.

The counts are opened to the members only. A guardian passes if every published cell, *minus its own
part*, reaches the minimum, and at least three members have patients in the study: so no member, and
no requester, learns the sum of fewer. Cells that do not reach it are left out of what is encrypted.
"""

from __future__ import annotations

import hashlib

from cipherward_chain.batches import packed
from cipherward_chain.domains import STUDY_WITHOUT_KEY, verdict_digest
from cipherward_compute.ciphertexts import Ciphertexts, forgotten
from cipherward_compute.cohorts import cohort_settled
from cipherward_compute.failures import (
    CohortTooSmall,
    ContributorsTooFew,
    CountsMalformed,
    ShareRefused,
)
from cipherward_compute.framing import digest_of
from cipherward_compute.guardian import Guardian
from cipherward_compute.instructions import ReleaseCounts, ReleaseResult, RetireKey
from cipherward_compute.key_effects import destroyed
from cipherward_compute.keyring import Keyring
from cipherward_compute.member import Member
from cipherward_compute.opening import Opened, Opening
from cipherward_compute.steps import Done, all_of
from cipherward_compute.studies import Studies
from cipherward_compute.study_texts import planned
from cipherward_compute.verdicts import judged
from cipherward_studies import errors as study_errors
from cipherward_studies.spec import StudySpec
from cipherward_studies.verdict import verdict_octets
from cipherward_threshold.keys import public_key_digest

# What a sum of proven contributions is called in the reviewed table, by the profile of its key.
SUM_CIRCUITS = {"additive-1": "sum", "product-1": "column-sum"}


async def switched(
    guardian: Guardian, order: ReleaseResult, total: bytes, spec: StudySpec, circuit: str
) -> Done:
    """Give a guardian's part of a result, of which `total` is the sum, to the requester of a study.

    Raises:
        StepFailed: it cannot be given.
    """
    if spec.requester_key_digest != order.requester_key_digest:
        raise ShareRefused("the order names another requester's key than the study's text")
    shares = await guardian.share_result(order, total, spec.requester_public_key, circuit)
    return Done(hashlib.sha256(packed(shares)).digest())


class ReleaseSteps:
    """Carries out the release orders of studies, and their end."""

    def __init__(
        self,
        member: Member,
        studies: Studies,
        guardian: Guardian,
        keys: tuple[Keyring, Ciphertexts],
        opening: Opening,
    ) -> None:
        self._member = member
        self._studies = studies
        self._guardian = guardian
        self._keyring, self._ciphertexts = keys
        self._opening = opening

    async def open_counts(self, order: ReleaseCounts) -> Done:
        """Give this member's shares if it is in the set, open the counts, and judge them.

        Raises:
            CohortTooSmall, ContributorsTooFew: they do not pass.
            StepFailed: they cannot be opened.
            PeerWrong: a peer's share is none.
        """
        study, mine = order.shared.study, self._member.id
        found = await planned((await self._studies.known(study)).spec)
        _, total = await self._ciphertexts.total(study, "counts", order.digest)
        profile, slots = found.spec.profile, found.slots(found.plan.count_slots)
        counts = await self._opening.open(
            order, total, Opened(profile, slots, SUM_CIRCUITS[profile])
        )
        own = await self._ciphertexts.own_counts(study)
        try:
            failed = found.plan.verdict(counts, own)
        except study_errors.CohortTooSmall as error:
            raise CohortTooSmall(str(error)) from None
        except study_errors.ContributorsTooFew as error:
            raise ContributorsTooFew(str(error)) from None
        except study_errors.CountsMalformed as error:
            raise CountsMalformed(str(error)) from None
        verdict = verdict_octets(failed)
        return Done(verdict_digest(study, mine, verdict), judged(study, {mine: verdict}))

    async def switch_result(self, order: ReleaseResult) -> Done:
        """Give this member's part of a round's result if it is in the set.

        Raises:
            StepFailed: it cannot be given.
        """
        study = order.shared.study
        _, total = await self._ciphertexts.total(study, "values", order.digest)
        if self._member.id not in order.online:
            return Done(order.digest, reported=False)
        spec = (await planned((await self._studies.known(study)).spec)).spec
        return await switched(self._guardian, order, total, spec, SUM_CIRCUITS[spec.profile])

    async def retire(self, order: RetireKey) -> Done:
        """Destroy what this member holds of the study's key, and what it contributed."""
        study = order.shared.study
        ceremony = await self._keyring.find(study)
        if ceremony is not None and ceremony.public_key:
            digest = public_key_digest(ceremony.public_key)
        else:
            digest = digest_of(STUDY_WITHOUT_KEY, study)
        return Done(digest, all_of(destroyed(study), forgotten(study), cohort_settled(study)))
