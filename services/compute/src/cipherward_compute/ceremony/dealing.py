"""The first three steps of a ceremony: commit, reveal, confirm. No member ever holds the key.

Commit: each member makes its share of the public key, proves it, deals its secret with a mask, and
commits to all of it; nobody can choose a share that cancels the others', or change a deal later.
Reveal: all is shown, each deal to its receiver; proofs are verified, and each receiver answers a
challenge that follows from all commitments. Confirm: the answers show whether every deal is of the
secret behind its dealer's share; if one is not, its dealer opens all its deals, whoever is at fault
is named, and the ceremony is over.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import NoReturn

from cipherward_compute.arithmetic import keys
from cipherward_compute.arithmetic.keys import Checks, Form, KeyParts
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.ceremony.messages import (
    Revealed,
    challenge_of,
    commitment_to,
    opened_deals,
    opening_of,
)
from cipherward_compute.ceremony.participant import Participant
from cipherward_compute.errors import StepFailed
from cipherward_compute.instructions import KeyCeremony
from cipherward_compute.key_effects import begun, completed, exchanged, secret_destroyed
from cipherward_compute.keyring import Ceremony, KeyMissing, Message
from cipherward_compute.peers import from_all
from cipherward_compute.steps import Done, all_of
from cipherward_compute.vault import SALT_BYTES
from cipherward_threshold.errors import ThresholdError
from cipherward_threshold.keys import public_key_digest

# A disputed dealer answers as soon as it has seen the dispute itself; its silence is not waited
# for until the step's end, since the ceremony is over anyway.
OPENING_SECONDS = 10.0
# The others fetch what is opened in this time, before a report of this member's ends the ceremony.
OPEN_SECONDS = 2.0
# Profiles under which ciphertexts are multiplied: a member's secret is needed for two more steps.
MULTIPLYING = frozenset(("product-1",))


class AnsweredBefore(StepFailed):
    """This member has answered another challenge for its deals; two answers give secrets away."""

    reason = "CHALLENGE_ANSWERED"


class DealingSteps:
    """Carries out this member's part in making and dealing a key."""

    def __init__(self, participant: Participant) -> None:
        self._me = participant

    async def commit(self, order: KeyCeremony) -> Done:
        """Make this member's parts; report the commitment to them."""
        study, mine, form = order.shared.study, self._me.id, self._me.form(order)
        salt, noise_salt = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(SALT_BYTES)
        seed = self._me.seed(form, study, salt)
        parts = await self._me.member.pool.run(keys.make_parts, form, seed, mine)
        shown = Revealed(parts.share, parts.proof, parts.mask_share, parts.digests).to_bytes()
        sealed = await asyncio.to_thread(self._sealed, study, {mine: parts.deals})
        ceremony = Ceremony(study, order.profile, salt, noise_salt)
        write = begun(ceremony, (Message("reveal", mine, shown), *sealed))
        digest = await asyncio.to_thread(commitment_to, study, "reveal", mine, shown)
        return Done(digest, write)

    async def reveal(self, order: KeyCeremony) -> Done:
        """Verify what the others reveal and deal; report the commitment to this member's answer.

        Raises:
            PeerWrong: a peer reveals or deals something else than it committed to, or without
                proof.
            AnsweredBefore: this step was taken before, for other commitments.
        """
        study, members, mine = order.shared.study, order.shared.members, self._me.id
        await self._me.begun(order)
        form = self._me.form(order)
        messages = await self._me.shown(order, "reveal", order.commitments)
        others = self._me.member.others(members)
        dealt = await from_all(
            others, lambda name: self._me.peers.ceremony_message(name, study, "deal")
        )
        await from_all(
            others, lambda name: self._check(form, name, messages[name], dealt[name], members)
        )
        own = await self._me.keyring.message(study, "deal", dealer=mine, receiver=mine)
        if not own:
            raise KeyMissing("this member's deals are gone")
        challenge = await asyncio.to_thread(challenge_of, study, order.seed, messages)
        answer = await self._me.member.pool.run(
            keys.answer, form.profile, [own, *dealt.values()], challenge
        )
        kept = await self._me.keyring.message(study, "check", dealer=mine, receiver=mine)
        if kept not in (b"", answer):
            raise AnsweredBefore("this member has answered another challenge for its deals")
        sealed = await asyncio.to_thread(
            self._sealed, study, {name: {mine: deal} for name, deal in dealt.items()}
        )
        seen = tuple(Message("reveal", name, messages[name]) for name in others)
        write = exchanged(study, (*seen, *sealed, Message("check", mine, answer)))
        digest = await asyncio.to_thread(commitment_to, study, "check", mine, answer)
        return Done(digest, write)

    async def confirm(self, order: KeyCeremony) -> Done:
        """Verify all deals by all answers; report the key.

        Raises:
            PeerWrong: a dealer, or a receiver that accuses one falsely, or answers nothing.
        """
        study, members, mine = order.shared.study, order.shared.members, self._me.id
        ceremony, form = await self._me.begun(order), self._me.form(order)
        messages = await self._me.keyring.messages(study, "reveal")
        if sorted(messages) != list(members):
            raise KeyMissing("this member has not seen every member's message")
        revealed = {name: Revealed.parse(name, messages[name], members) for name in members}
        answers = await self._me.shown(order, "check", order.reveals)
        challenge = await asyncio.to_thread(challenge_of, study, order.seed, messages)
        checks = Checks(challenge, answers)
        published = {name: (one.public_key_share, one.mask_share) for name, one in revealed.items()}
        pool = self._me.member.pool
        try:
            faulty = await pool.run(keys.disputed, form, published, checks)
            if faulty:
                await self._dispute(order, form, revealed, checks, faulty)
            deals = await self._me.keyring.deals(study)
            public_key, key_share = await pool.run(
                keys.make_key,
                form,
                [revealed[name].public_key_share for name in members],
                [deals[name, mine] for name in members],
            )
        except ThresholdError as error:
            raise StepFailed(f"the members' shares make no key: {error}") from None
        sealed = self._me.keyring.seal_key_share(ceremony.study, key_share)
        write = completed(study, public_key, sealed)
        if form.profile not in MULTIPLYING:
            write = all_of(write, secret_destroyed(study))
        return Done(public_key_digest(public_key), write)

    async def _check(
        self, form: Form, dealer: str, message: bytes, deal: bytes, members: tuple[str, ...]
    ) -> None:
        found, mine = Revealed.parse(dealer, message, members), self._me.id
        parts = KeyParts(
            found.public_key_share, found.proof, found.mask_share, {mine: deal}, found.deal_digests
        )
        await self._me.member.pool.run(keys.check_parts, form, dealer, mine, parts)

    async def _dispute(
        self,
        order: KeyCeremony,
        form: Form,
        revealed: Mapping[str, Revealed],
        checks: Checks,
        faulty: tuple[str, ...],
    ) -> NoReturn:
        """Name who is at fault. The key is dead: no honest member goes on, whatever is opened."""
        study, members = order.shared.study, order.shared.members
        dealer = faulty[0]
        if self._me.id in faulty:
            await self._open_own(study)
            await asyncio.sleep(OPEN_SECONDS)
        try:
            opened = await self._opening(study, dealer, members)
        except TimeoutError:
            raise PeerWrong(dealer, "its deals do not fit its public-key share") from None
        raise await self._me.member.pool.run(
            keys.culprit,
            form,
            dealer,
            revealed[dealer].public_key_share,
            opened,
            revealed[dealer].deal_digests,
            checks,
        )

    async def _open_own(self, study: bytes) -> None:
        mine = self._me.id
        deals = await self._me.keyring.deals(study)
        own = {receiver: deal for (dealer, receiver), deal in deals.items() if dealer == mine}
        await self._me.keyring.put_once(study, Message("opening", mine, opening_of(own)))

    async def _opening(
        self, study: bytes, dealer: str, members: tuple[str, ...]
    ) -> dict[str, bytes]:
        if dealer == self._me.id:
            octets = await self._me.keyring.message(
                study, "opening", dealer=dealer, receiver=dealer
            )
        else:
            async with asyncio.timeout(OPENING_SECONDS):
                octets = await self._me.peers.ceremony_message(dealer, study, "opening")
        return opened_deals(dealer, octets, members)

    def _sealed(
        self, study: bytes, dealt: Mapping[str, Mapping[str, bytes]]
    ) -> tuple[Message, ...]:
        """Return deals, by dealer and receiver, as they are stored."""
        return tuple(
            self._me.keyring.seal_deal(study, dealer, receiver, deal)
            for dealer, deals in dealt.items()
            for receiver, deal in deals.items()
        )
