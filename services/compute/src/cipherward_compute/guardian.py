"""This member as a guardian: its one share of a sum, weighted for the set that will open it.

The noise of a share follows from a secret seed and from everything the share is made for, so that a
crash before the log is written, or a restored backup, repeats the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from cipherward_chain.domains import STUDY_SHARE
from cipherward_compute import arithmetic
from cipherward_compute.ceremony import PROFILE
from cipherward_compute.ciphertexts import Contribution
from cipherward_compute.errors import StepFailed
from cipherward_compute.framing import framed
from cipherward_compute.instructions import ReleaseCounts, ReleaseResult
from cipherward_compute.keyring import Ceremony, Keyring
from cipherward_compute.member import Member
from cipherward_compute.shares import ShareLog, ShareQuestion
from cipherward_compute.vault import CeremonyRoot
from cipherward_member.reports import OrderKey
from cipherward_threshold.errors import ThresholdError
from cipherward_threshold.keys import public_key_digest


class Guardian:
    """Makes this member's shares of what a proven order releases."""

    def __init__(self, member: Member, root: CeremonyRoot, keyring: Keyring, log: ShareLog) -> None:
        self._member = member
        self._root = root
        self._keyring = keyring
        self._log = log

    async def share_counts(self, order: ReleaseCounts, summed: Contribution) -> bytes:
        """Return this member's share of the counts, from the log if it is there.

        Args:
            order: names this member in its set, and the sum.
            summed: the sum as this member made it from the committed contributions.

        Raises:
            ShareAlreadyGiven: a share of this sum was given for another order.
            StepFailed: this member cannot make one.
        """
        ceremony, question = await self._question(order, b"")

        async def make() -> bytes:
            key_share, seed, context = self._secrets(ceremony, order.shared.key, b"")
            points, total = self._points(order), (summed.total, order.c1_digest)
            return await self._member.pool.run(
                arithmetic.counts_share, PROFILE, key_share, total, points, seed, context
            )

        return await self._made(question, make)

    async def share_result(
        self, order: ReleaseResult, summed: Contribution, requester_public_key: bytes
    ) -> bytes:
        """Return this member's part of the switch to the requester's key, as `share_counts`."""
        recipient = hashlib.sha256(requester_public_key).digest()
        if recipient != order.requester_key_digest:
            raise StepFailed("the order names another requester's key than the study's text")
        ceremony, question = await self._question(order, recipient)

        async def make() -> bytes:
            key_share, seed, context = self._secrets(ceremony, order.shared.key, recipient)
            points, total = self._points(order), (summed.total, order.c1_digest)
            return await self._member.pool.run(
                arithmetic.result_share,
                PROFILE,
                key_share,
                total,
                requester_public_key,
                points,
                seed,
                context,
            )

        return await self._made(question, make)

    async def _made(self, question: ShareQuestion, make: Callable[[], Awaitable[bytes]]) -> bytes:
        try:
            return await self._log.give(question, make)
        except (ThresholdError, arithmetic.SumDiffers) as error:
            raise StepFailed(f"no share can be made: {error}") from None

    async def _question(
        self, order: ReleaseCounts | ReleaseResult, recipient: bytes
    ) -> tuple[Ceremony, ShareQuestion]:
        if self._member.id not in order.online:
            raise StepFailed("this member is not in the set")
        ceremony = await self._keyring.ceremony(order.shared.study)
        key_digest = public_key_digest(ceremony.public_key)
        if key_digest != order.key_digest:
            raise StepFailed("the order names another key than the ceremony made")
        online = self._points(order)[1]
        question = ShareQuestion(
            key_digest, order.c1_digest, order.shared.study, order.shared.key, online, recipient
        )
        return ceremony, question

    def _points(self, order: ReleaseCounts | ReleaseResult) -> tuple[int, tuple[int, ...]]:
        points = self._member.points(order.online)
        return points[self._member.id], tuple(sorted(points.values()))

    def _secrets(
        self, ceremony: Ceremony, order: OrderKey, recipient: bytes
    ) -> tuple[bytes, bytes, bytes]:
        """Return the key share, the seed of its noise, and what the share is bound to."""
        context = framed(
            STUDY_SHARE,
            self._member.chain_id.encode(),
            ceremony.study,
            order.height.to_bytes(8, "big"),
            order.index.to_bytes(4, "big"),
            recipient,
        )
        seed = self._root.noise_seed(ceremony.study, ceremony.noise_salt)
        return self._keyring.open_key_share(ceremony), seed, context
