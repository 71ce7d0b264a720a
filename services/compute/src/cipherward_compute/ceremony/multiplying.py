"""The further steps for a key under which ciphertexts are multiplied: an evaluation key, tested.

Two rounds make the relinearisation key; the member's secret is gone with the second, of which it
answers one first round only. Nobody proves that the key's error is small: the members encrypt dummy
values with proofs, multiply the sums, and open the products; a key with more noise than a good one
is never used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from cipherward_chain.domains import STUDY_PROOF, STUDY_SHARE
from cipherward_compute.arithmetic import evaluation_keys
from cipherward_compute.arithmetic.keys import Form
from cipherward_compute.ceremony.dealing import AnsweredBefore
from cipherward_compute.ceremony.messages import commitment_to
from cipherward_compute.ceremony.participant import Participant
from cipherward_compute.errors import StepFailed
from cipherward_compute.failures import ShareRefused
from cipherward_compute.framing import framed
from cipherward_compute.instructions import KeyCeremony
from cipherward_compute.key_effects import evaluation_key_made, exchanged, secret_destroyed
from cipherward_compute.keyring import Ceremony, KeyMissing, Message, MessageKind
from cipherward_compute.peers import from_all
from cipherward_compute.steps import Done, all_of
from cipherward_threshold.errors import ThresholdError
from cipherward_threshold.evaluation.relinearisation import relin_key_digest

P = ParamSpec("P")
R = TypeVar("R")


class EvaluationKeyRefused(StepFailed):
    """The evaluation key is none, or its test shows too much noise: another ceremony is needed."""

    reason = "EVALUATION_KEY_REFUSED"


class MultiplyingSteps:
    """Carries out this member's part in making and testing an evaluation key."""

    def __init__(self, participant: Participant) -> None:
        self._me = participant

    async def relin_first(self, order: KeyCeremony) -> Done:
        """Make this member's first message; report the commitment to it."""
        study, form = order.shared.study, self._me.form(order)
        seed = self._seed(form, await self._me.begun(order))
        message = await self._me.member.pool.run(evaluation_keys.first_message, form, seed)
        digest = await self._commitment(study, "relin_first", message)
        # Everybody has the key: nobody asks for the answers about deals any more.
        return Done(digest, exchanged(study, (self._own("relin_first", message),), "check"))

    async def relin_second(self, order: KeyCeremony) -> Done:
        """Answer all first messages, once; report the commitment to it. The secret is gone then.

        Raises:
            PeerWrong: a peer's first message is not what it committed to, or none.
            AnsweredBefore: this member has answered other first messages.
        """
        study, form, mine = order.shared.study, self._me.form(order), self._me.id
        ceremony = await self._me.begun(order)
        firsts = await self._me.shown(order, "relin_first", order.reveals)
        message = await self._run(
            evaluation_keys.second_message,
            form,
            self._seed(form, ceremony),
            ceremony.public_key,
            firsts,
        )
        kept = await self._me.keyring.put_once(study, self._own("relin_second", message))
        if kept != message:
            raise AnsweredBefore("this member has answered other first messages")
        digest = await self._commitment(study, "relin_second", message)
        seen = tuple(Message("relin_first", name, firsts[name]) for name in firsts if name != mine)
        return Done(digest, all_of(exchanged(study, seen), secret_destroyed(study)))

    async def relin_combine(self, order: KeyCeremony) -> Done:
        """Combine the evaluation key; report its digest.

        Raises:
            PeerWrong: a peer's second message is not what it committed to, or none.
            EvaluationKeyRefused: the messages make no key.
        """
        study, form = order.shared.study, self._me.form(order)
        ceremony = await self._me.begun(order)
        firsts = await self._me.keyring.messages(study, "relin_first")
        if sorted(firsts) != list(order.shared.members):
            raise KeyMissing("this member has not seen every first message")
        seconds = await self._me.shown(order, "relin_second", order.reveals)
        key = await self._run(
            evaluation_keys.combined_key, form, ceremony.public_key, firsts, seconds
        )
        digest = await asyncio.to_thread(relin_key_digest, key)
        return Done(digest, evaluation_key_made(study, key))

    async def test_commit(self, order: KeyCeremony) -> Done:
        """Encrypt dummy values; report the commitment to them."""
        study, form = order.shared.study, self._me.form(order)
        ceremony = await self._me.begun(order)
        batch = await self._run(
            evaluation_keys.dummy_batch,
            form,
            ceremony.public_key,
            self._me.id,
            _proof_context(form, self._me.id),
        )
        digest = await self._commitment(study, "test", batch)
        return Done(digest, exchanged(study, (self._own("test", batch),)))

    async def test_open(self, order: KeyCeremony) -> Done:
        """Open products of all dummies with the set that the order names; report what was tested.

        Raises:
            PeerWrong: a peer's dummies are without proof, or its shares are none.
            EvaluationKeyRefused: what opens is wrong, or too much noise.
        """
        study, form = order.shared.study, self._me.form(order)
        ceremony = await self._me.begun(order)
        online = {name: form.points[name] for name in order.online}
        if len(online) < order.threshold:
            raise ShareRefused("the set is smaller than the threshold")
        evaluation_key = await self._me.keyring.evaluation_key(study)
        batches = await self._me.shown(order, "test", order.reveals)
        await from_all(
            self._me.member.others(order.shared.members),
            lambda name: self._check(form, ceremony, name, batches[name]),
        )
        products = await self._run(evaluation_keys.products_of, form, evaluation_key, batches)
        shares = await self._shares(order, form, ceremony, products, online)
        await self._run(evaluation_keys.open_products, form, products, shares)
        digest = await self._run(evaluation_keys.products_digest, form, products)
        # The others may yet ask for what this member has shown in this step, and for nothing else.
        return Done(digest, exchanged(study, (), "relin_second"))

    async def _shares(
        self,
        order: KeyCeremony,
        form: Form,
        ceremony: Ceremony,
        products: tuple[bytes, ...],
        online: Mapping[str, int],
    ) -> dict[str, bytes]:
        study, mine = order.shared.study, self._me.id
        shares: dict[str, bytes] = {}
        if mine in online:
            seed = self._me.root.noise_seed(study, ceremony.noise_salt)
            made = await self._run(
                evaluation_keys.product_shares,
                form,
                self._me.keyring.open_key_share(ceremony),
                products,
                online,
                mine,
                (seed, framed(STUDY_SHARE, form.context, b"test")),
            )
            kept = await self._me.keyring.put_once(study, self._own("test_share", made))
            if kept != made:  # a second share of anything is never given, whatever is asked
                raise AnsweredBefore("this member has opened other products of this key")
            shares[mine] = kept
        others = self._me.member.others(order.online)
        return shares | await from_all(
            others, lambda name: self._me.peers.ceremony_message(name, study, "test_share")
        )

    async def _check(self, form: Form, ceremony: Ceremony, name: str, batch: bytes) -> None:
        await self._run(
            evaluation_keys.check_dummy_batch,
            form,
            ceremony.public_key,
            name,
            batch,
            _proof_context(form, name),
        )

    async def _run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await self._me.member.pool.run(function, *args, **kwargs)
        except ThresholdError as error:
            raise EvaluationKeyRefused(f"the evaluation key: {error}") from None

    def _seed(self, form: Form, ceremony: Ceremony) -> bytes:
        if not ceremony.secret_salt or not ceremony.sealed_key_share:
            raise KeyMissing("this member's secret of the key is gone, or not there yet")
        return self._me.seed(form, ceremony.study, ceremony.secret_salt)

    def _own(self, kind: MessageKind, octets: bytes) -> Message:
        return Message(kind, self._me.id, octets)

    async def _commitment(self, study: bytes, kind: MessageKind, message: bytes) -> bytes:
        return await asyncio.to_thread(commitment_to, study, kind, self._me.id, message)


def _proof_context(form: Form, member: str) -> bytes:
    return framed(STUDY_PROOF, form.context, member.encode())
