"""This member's part of a resharing: a data key goes to new holders, and stays the same key.

It is dealt anew (`redealing`); then the new holders open one ciphertext together, each share of
which is committed to before any is shown. The hand-over itself is no step: it takes effect with its
block (`key_rows`). An attempt that fails leaves the old shares alone, and destroys what was dealt.
"""

from __future__ import annotations

from cipherward_chain.domains import RESHARING_TRIAL, STUDY_SHARE, STUDY_WITHOUT_KEY
from cipherward_compute.arithmetic import resharing as arithmetic
from cipherward_compute.arithmetic.resharing import Trial
from cipherward_compute.ceremony.dealing import AnsweredBefore
from cipherward_compute.ceremony.participant import Participant
from cipherward_compute.ceremony.redealing import RedealingSteps
from cipherward_compute.ceremony.resharer import Resharer
from cipherward_compute.framing import digest_of, framed
from cipherward_compute.instructions import HandOverKey, ReshareKey, RetireKey
from cipherward_compute.key_effects import exchanged
from cipherward_compute.key_rows import retire_resharing
from cipherward_compute.keyring import Ceremony, Keyring, Message
from cipherward_compute.member import Member
from cipherward_compute.peers import Peers
from cipherward_compute.steps import Done, nothing
from cipherward_compute.vault import CeremonyRoot
from cipherward_threshold.keys import public_key_digest


class ResharingSteps:
    """Carries out this member's part of resharings."""

    def __init__(self, member: Member, root: CeremonyRoot, keyring: Keyring, peers: Peers) -> None:
        self._me = Participant(member, root, keyring, peers)
        self._about = Resharer(self._me)
        self._redealing = RedealingSteps(self._about)

    async def carry_out(self, order: ReshareKey) -> Done:
        """Take the step that an order asks for, if it is this member's to take.

        Raises:
            StepFailed: it cannot be taken.
            PeerWrong: a member's message is not what it should be.
        """
        if self._me.id not in order.shared.members:  # a holder that leaves, or deals nothing
            over = exchanged(order.shared.study, (), "reshare_deal", "reshare_mask")
            return Done(b"", over if order.step == "confirm" else nothing, reported=False)
        match order.step:
            case "ready":
                return await self._redealing.ready(order)
            case "deal":
                return await self._redealing.deal(order)
            case "answer":
                return await self._redealing.answer(order)
            case "confirm":
                return await self._redealing.confirm(order)
            case "test":
                return await self._test(order)
            case "open":
                return await self._open(order)

    async def handed_over(self, order: HandOverKey) -> Done:
        """Say nothing: the block has handed the key over."""
        return Done(order.resharing.key_digest, reported=False)

    async def retire(self, order: RetireKey) -> Done:
        """Destroy what an attempt has left here, or the data key whose sharing it made."""
        study = order.shared.study
        source = await self._me.keyring.in_force(study)
        held = await self._me.keyring.find(source) if source else None
        digest = digest_of(STUDY_WITHOUT_KEY, study)
        if held is not None:
            digest = public_key_digest(held.public_key)
        return Done(digest, lambda connection: retire_resharing(connection, study))

    async def _test(self, order: ReshareKey) -> Done:
        """Make this member's one share of the trial; report the commitment to it.

        Raises:
            AnsweredBefore: it has made a share of another trial.
        """
        study, mine = order.shared.study, self._me.id
        attempt = await self._me.keyring.ceremony(study)
        trial = self._trial(order, attempt)
        key_share = self._me.keyring.open_key_share(attempt, order.resharing.source)
        noise = (
            self._me.root.noise_seed(study, attempt.noise_salt),
            framed(STUDY_SHARE, trial.form.resharing.context, b"trial"),
        )
        made = await self._about.run(arithmetic.trial_share, trial, key_share, mine, noise)
        kept = await self._me.keyring.put_once(study, Message("reshare_share", mine, made))
        if kept != made:
            raise AnsweredBefore("this member has opened another trial of this sharing")
        write = exchanged(study, (), "reshare_check")
        return Done(await self._about.commitment(study, "reshare_share", made), write)

    async def _open(self, order: ReshareKey) -> Done:
        """Open the trial with all new holders; report what was opened.

        Raises:
            PeerWrong: a new holder's share is none.
            ResharingRefused: it does not open to what everybody knows it to be.
        """
        trial = self._trial(order, await self._me.keyring.ceremony(order.shared.study))
        shares = await self._me.shown_by(order.shared.study, "reshare_share", order.reveals)
        return Done(await self._about.run(arithmetic.open_trial, trial, shares))

    def _trial(self, order: ReshareKey, attempt: Ceremony) -> Trial:
        form = self._about.form(order, attempt.public_key)
        parts = (
            part for name in order.dealers for part in (name.encode(), order.commitments[name])
        )
        return Trial(form, digest_of(RESHARING_TRIAL, form.resharing.context, order.seed, *parts))
