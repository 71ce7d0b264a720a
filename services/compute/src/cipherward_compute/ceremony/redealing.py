"""The first four steps of a resharing: ready, deal, answer, confirm.

Ready: holders say that they have the key. Deal: those whom the contract has chosen deal their parts
of the secret to the new holders, and commit to it. Answer: each new holder is handed what it lacks,
and answers a challenge about its deals. Confirm: the answers show whether what was dealt is the
secret of the public key.

Nobody opens deals in a dispute: they are parts of a living key.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping

from cipherward_chain.domains import RESHARING_CONFIRMED, STUDY_TRANSCRIPT
from cipherward_compute.arithmetic import keys
from cipherward_compute.arithmetic import resharing as arithmetic
from cipherward_compute.arithmetic.resharing import ReshareForm
from cipherward_compute.ceremony.dealing import AnsweredBefore
from cipherward_compute.ceremony.handing import handed_by
from cipherward_compute.ceremony.messages import Redealt
from cipherward_compute.ceremony.resharer import Resharer
from cipherward_compute.column_keys import PROFILE
from cipherward_compute.failures import KeyDiffers, OldBackup
from cipherward_compute.framing import digest_of
from cipherward_compute.instructions import ReshareKey
from cipherward_compute.key_effects import begun, completed, evaluation_key_made, exchanged
from cipherward_compute.keyring import Ceremony, KeyMissing, Message
from cipherward_compute.peers import from_all
from cipherward_compute.steps import Done, all_of
from cipherward_compute.vault import SALT_BYTES
from cipherward_threshold.evaluation.relinearisation import relin_key_digest


class RedealingSteps:
    """Carries out this member's part in dealing a data key anew."""

    def __init__(self, resharer: Resharer) -> None:
        self._about = resharer
        self._me = resharer.me

    async def ready(self, order: ReshareKey) -> Done:
        """Say that this member holds the key, and can hand over what belongs to it."""
        held, source = await self._about.held(order), order.resharing.source
        evaluation_key = await self._me.keyring.evaluation_key(source)
        if await asyncio.to_thread(relin_key_digest, evaluation_key) != order.evaluation_digest:
            raise KeyDiffers("this member has another evaluation key")
        await self._about.run(
            arithmetic.check_held,
            held.profile,
            self._me.keyring.open_key_share(held),
            held.public_key,
            self._me.member.points(order.resharing.holders),
        )
        return Done(order.resharing.key_digest)

    async def deal(self, order: ReshareKey) -> Done:
        """Deal this member's part of the secret; report the commitment to it.

        Raises:
            AnsweredBefore: it has dealt in this resharing.
        """
        study, mine = order.shared.study, self._me.id
        if await self._me.keyring.find(study) is not None:
            raise AnsweredBefore("this member has dealt in this resharing before")
        held = await self._about.held(order)
        form = self._about.form(order, held.public_key)
        # The salt is not kept: what is dealt is, and nothing is dealt twice.
        salt, noise_salt = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(SALT_BYTES)
        seed = self._me.root.secret_seed(study, form.resharing.context, salt)
        key_share = self._me.keyring.open_key_share(held)
        dealt = await self._about.run(arithmetic.deal_anew, form, key_share, seed)
        shown = Redealt(dealt.mask_share, dealt.digests).to_bytes()
        sealed = await asyncio.to_thread(self._sealed, study, {mine: dealt.deals})
        attempt = Ceremony(study, PROFILE, b"", noise_salt)
        write = begun(attempt, (Message("reshare_mask", mine, shown), *sealed))
        return Done(await self._about.commitment(study, "reshare_mask", shown), write)

    async def answer(self, order: ReshareKey) -> Done:
        """Take the deals, and what a new holder lacks; report the commitment to the answer.

        Raises:
            PeerWrong: a dealer shows, deals or hands over something else than it should.
            AnsweredBefore: this member has answered another challenge for its deals.
        """
        study, mine = order.shared.study, self._me.id
        held = await self._me.keyring.find(order.resharing.source)
        lacking: tuple[Message, ...] = ()
        evaluation_key = b""
        if held is None:
            dealer = order.dealers[0]
            handed = await handed_by(self._me.peers, dealer, order)
            public_key, evaluation_key = handed.public_key, handed.evaluation_key
            lacking = (
                Message("public_key", dealer, public_key),
                Message("columns", dealer, handed.columns),
            )
        else:
            public_key = (await self._about.held(order)).public_key
        form = self._about.form(order, public_key)
        shown = await self._me.shown_by(study, "reshare_mask", order.commitments)
        dealt = await self._deals(order, form, shown)
        challenge = challenge_of(order)
        answer = await self._me.member.pool.run(
            keys.answer, PROFILE, list(dealt.values()), challenge
        )
        kept = await self._me.keyring.put_once(study, Message("reshare_check", mine, answer))
        if kept != answer:
            raise AnsweredBefore("this member has answered another challenge for its deals")
        others = self._me.member.others(order.dealers)
        sealed = await asyncio.to_thread(
            self._sealed, study, {name: {mine: dealt[name]} for name in others}
        )
        seen = tuple(Message("reshare_mask", name, shown[name]) for name in others)
        write = exchanged(study, (*seen, *sealed, *lacking))
        if mine not in order.dealers:
            attempt = Ceremony(study, PROFILE, b"", secrets.token_bytes(SALT_BYTES))
            write = all_of(begun(attempt, ()), write)
        if evaluation_key:
            write = all_of(write, evaluation_key_made(study, evaluation_key))
        return Done(await self._about.commitment(study, "reshare_check", answer), write)

    async def confirm(self, order: ReshareKey) -> Done:
        """Verify all deals by all answers; report the new sharing.

        Raises:
            PeerWrong: a dealer, or a new holder that accuses one falsely, or answers nothing.
            ResharingRefused: together the deals are not the secret of the key.
        """
        study, mine, source = order.shared.study, self._me.id, order.resharing.source
        public_key = await self._about.public_key(order)
        form = self._about.form(order, public_key)
        shown = await self._me.keyring.messages(study, "reshare_mask")
        if sorted(shown) != list(order.dealers):
            raise KeyMissing("this member has not seen every dealer's message")
        new = order.resharing.new
        masks = {name: Redealt.parse(name, shown[name], new).mask_share for name in shown}
        checks = await self._me.shown_by(study, "reshare_check", order.reveals)
        await self._about.run(arithmetic.verify, form, masks, checks, challenge_of(order))
        deals = await self._me.keyring.deals(study, "reshare_deal")
        key_share = await self._about.run(
            arithmetic.new_share, form, [deals[name, mine] for name in order.dealers]
        )
        sealed = self._me.keyring.seal_key_share(source, key_share)
        write = all_of(
            completed(study, public_key, sealed),
            exchanged(study, (), "reshare_deal", "reshare_mask"),
        )
        whole = form.resharing.new.to_bytes()
        return Done(digest_of(RESHARING_CONFIRMED, order.resharing.key_digest, whole), write)

    async def _deals(
        self, order: ReshareKey, form: ReshareForm, shown: Mapping[str, bytes]
    ) -> dict[str, bytes]:
        """Return the deals to this member, by dealer: each is what its dealer committed to."""
        study, mine = order.shared.study, self._me.id

        async def deal(name: str) -> bytes:
            if name == mine:
                octets = await self._me.keyring.message(
                    study, "reshare_deal", dealer=mine, receiver=mine
                )
                if not octets:
                    raise OldBackup("this member has dealt, and has not what it dealt")
                return octets
            octets = await self._me.peers.ceremony_message(name, study, "reshare_deal")
            found = Redealt.parse(name, shown[name], order.resharing.new)
            await self._about.run(
                arithmetic.check_dealt,
                form,
                name,
                mine,
                (found.mask_share, octets),
                found.deal_digests[mine],
            )
            return octets

        return await from_all(order.dealers, deal)

    def _sealed(
        self, study: bytes, dealt: Mapping[str, Mapping[str, bytes]]
    ) -> tuple[Message, ...]:
        """Return deals, by dealer and receiver, as they are stored."""
        return tuple(
            self._me.keyring.seal_deal(study, dealer, receiver, deal, "reshare_deal")
            for dealer, deals in dealt.items()
            for receiver, deal in deals.items()
        )


def challenge_of(order: ReshareKey) -> bytes:
    """Return the challenge for all deals: everybody's commitments are in it."""
    parts = (part for name in order.dealers for part in (name.encode(), order.commitments[name]))
    return digest_of(STUDY_TRANSCRIPT, order.shared.study, *parts)
