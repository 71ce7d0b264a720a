"""This member in a resharing: the key that it is about, and what all messages are bound to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from cipherward_chain.domains import RESHARING
from cipherward_compute.arithmetic.resharing import ReshareForm
from cipherward_compute.ceremony.messages import commitment_to
from cipherward_compute.ceremony.participant import Participant
from cipherward_compute.column_keys import PROFILE
from cipherward_compute.errors import StepFailed
from cipherward_compute.failures import KeyDiffers
from cipherward_compute.framing import framed
from cipherward_compute.instructions import ReshareKey
from cipherward_compute.keyring import Ceremony, MessageKind
from cipherward_threshold.dealing.resharing import Resharing
from cipherward_threshold.errors import ThresholdError
from cipherward_threshold.keys import public_key_digest
from cipherward_threshold.shamir import sharing

P = ParamSpec("P")
R = TypeVar("R")


class ResharingRefused(StepFailed):
    """What was dealt is not the secret of the key, or does not open it: the old shares stay."""

    reason = "RESHARING_REFUSED"


@dataclass(frozen=True, slots=True)
class Resharer:
    """This member in resharings."""

    me: Participant

    async def held(self, order: ReshareKey) -> Ceremony:
        """Return the data key as this member holds it.

        Raises:
            KeyMissing: it holds none.
            KeyDiffers: it holds another one than the order names.
        """
        held = await self.me.keyring.ceremony(order.resharing.source)
        if public_key_digest(held.public_key) != order.resharing.key_digest:
            raise KeyDiffers("the order names another key than this member holds")
        return held

    async def public_key(self, order: ReshareKey) -> bytes:
        """Return the data key's public key, as this member holds it or was handed it.

        Raises:
            as `held`.
        """
        handed = await self.me.keyring.messages(order.shared.study, "public_key")
        if handed:
            return next(iter(handed.values()))
        return (await self.held(order)).public_key

    def form(self, order: ReshareKey, public_key: bytes) -> ReshareForm:
        """Return what all messages of the order's resharing are about, from its deals on.

        Raises:
            StepFailed: the order names a member that the alliance does not have.
        """
        points, about = self.me.member.points, order.resharing
        dealers, new = points(order.dealers), points(about.new)
        chain_id = self.me.member.chain_id.encode()
        resharing = Resharing(
            PROFILE,
            public_key,
            tuple(sorted(dealers.values())),
            sharing(list(new.values()), about.threshold),
            framed(RESHARING, chain_id, order.shared.study, about.source),
        )
        return ReshareForm(resharing, dealers, new)

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what arithmetic beside the event loop answers.

        Raises:
            ResharingRefused: it refuses, and nobody is named.
            PeerWrong: a member's message is not what it should be.
        """
        try:
            return await self.me.member.pool.run(function, *args, **kwargs)
        except ThresholdError as error:
            raise ResharingRefused(f"the resharing: {error}") from None

    async def commitment(self, study: bytes, kind: MessageKind, message: bytes) -> bytes:
        """Return the commitment to a message of this member's."""
        return await asyncio.to_thread(commitment_to, study, kind, self.me.id, message)
