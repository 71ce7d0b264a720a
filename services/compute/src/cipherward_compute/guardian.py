"""This member as a guardian: its one share of each sum, weighted for the set that will open it.

The noise of a share follows from a secret seed and from everything the share is made for, so that a
crash before the log is written, or a restored backup, repeats the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from cipherward_chain.domains import STUDY_SHARE, batch_digest
from cipherward_compute.arithmetic.shares import (
    BatchDamaged,
    Sharing,
    c1_digests,
    counts_shares,
    result_shares,
)
from cipherward_compute.failures import KeyDiffers, ShareRefused, SumDiffers
from cipherward_compute.framing import framed
from cipherward_compute.instructions import Release
from cipherward_compute.keyring import Ceremony, Keyring
from cipherward_compute.member import Member
from cipherward_compute.metrics import SHARES
from cipherward_compute.shares import ShareLog, ShareQuestion
from cipherward_compute.vault import CeremonyRoot
from cipherward_threshold.errors import ThresholdError
from cipherward_threshold.keys import public_key_digest


class Guardian:
    """Makes this member's shares of what a proven order releases."""

    def __init__(self, member: Member, root: CeremonyRoot, keyring: Keyring, log: ShareLog) -> None:
        self._member = member
        self._root = root
        self._keyring = keyring
        self._log = log

    async def share_counts(self, order: Release, batch: bytes, circuit: str) -> list[bytes]:
        """Return this member's shares of the counts, from the log if they are there.

        Args:
            order: names this member in its set, and the sum.
            batch: the packed sums as this member made them of the committed contributions.
            circuit: what was computed.

        Raises:
            ShareAlreadyGiven: a share of one of the sums was given for another order.
            StepFailed: this member cannot make one.
        """
        ceremony, question = await self._question(order, batch, b"", circuit)

        async def make() -> list[bytes]:
            sharing = self._sharing(ceremony, question)
            return await self._member.pool.run(counts_shares, sharing, batch)

        return await self._made(question, make)

    async def share_result(
        self, order: Release, batch: bytes, requester_public_key: bytes, circuit: str
    ) -> list[bytes]:
        """Return this member's part of the switch to the requester's key, as `share_counts`."""
        recipient = hashlib.sha256(requester_public_key).digest()
        ceremony, question = await self._question(order, batch, recipient, circuit)

        async def make() -> list[bytes]:
            sharing = self._sharing(ceremony, question)
            return await self._member.pool.run(result_shares, sharing, batch, requester_public_key)

        return await self._made(question, make)

    async def _made(
        self, question: ShareQuestion, make: Callable[[], Awaitable[list[bytes]]]
    ) -> list[bytes]:
        outcome = "repeated"

        async def first() -> list[bytes]:
            nonlocal outcome
            outcome = "made"
            return await make()

        try:
            shares = await self._log.give(question, first)
        except ThresholdError as error:
            raise ShareRefused(f"no share can be made: {error}") from None
        SHARES.labels("result" if question.recipient else "counts", outcome).inc(len(shares))
        return shares

    async def _question(
        self, order: Release, batch: bytes, recipient: bytes, circuit: str
    ) -> tuple[Ceremony, ShareQuestion]:
        if self._member.id not in order.online:
            raise ShareRefused("this member is not in the set")
        ceremony = await self._keyring.ceremony(order.source or order.shared.study)
        key_digest = public_key_digest(ceremony.public_key)
        if key_digest != order.key_digest:
            raise KeyDiffers("the order names another key than the ceremony made")
        try:
            digests = await self._member.pool.run(c1_digests, ceremony.profile, batch)
        except BatchDamaged as error:
            raise SumDiffers(str(error)) from None
        if batch_digest(digests) != order.digest:  # a share of a chosen c1 gives the key away
            raise SumDiffers("the stored sum is damaged")
        question = ShareQuestion(
            key_digest,
            digests,
            order.shared.study,
            order.shared.key,
            tuple(sorted(self._member.points(order.online).values())),
            recipient,
            circuit,
        )
        return ceremony, question

    def _sharing(self, ceremony: Ceremony, question: ShareQuestion) -> Sharing:
        """Return the key share, the seed of its noise, and what the shares are bound to."""
        context = framed(
            STUDY_SHARE,
            self._member.chain_id.encode(),
            question.study,
            question.order.height.to_bytes(8, "big"),
            question.order.index.to_bytes(4, "big"),
            question.recipient,
        )
        return Sharing(
            ceremony.profile,
            self._keyring.open_key_share(ceremony),
            self._member.points([self._member.id])[self._member.id],
            question.online,
            self._root.noise_seed(ceremony.study, ceremony.noise_salt),
            context,
            question.circuit,
        )
