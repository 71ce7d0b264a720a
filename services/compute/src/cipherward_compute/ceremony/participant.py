"""This member in a ceremony: what it computes from, and what the others have shown it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from cipherward_chain.domains import STUDY_CEREMONY
from cipherward_compute.arithmetic.keys import Form
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.ceremony.messages import commitment_to
from cipherward_compute.failures import CommitmentsIncomplete, OldBackup
from cipherward_compute.framing import framed
from cipherward_compute.instructions import KeyCeremony
from cipherward_compute.keyring import Ceremony, Keyring, MessageKind
from cipherward_compute.member import Member
from cipherward_compute.peers import Peers, from_all
from cipherward_compute.vault import CeremonyRoot


@dataclass(frozen=True, slots=True)
class Participant:
    """This member, its stores and its peers, for every ceremony."""

    member: Member
    root: CeremonyRoot
    keyring: Keyring
    peers: Peers

    @property
    def id(self) -> str:
        """This member's id."""
        return self.member.id

    def form(self, order: KeyCeremony) -> Form:
        """Return what all messages of the order's ceremony are about.

        Raises:
            StepFailed: the order names a member that the alliance does not have.
        """
        points = self.member.points(order.shared.members)
        return Form(order.profile, self._context(order), points, order.threshold)

    def seed(self, form: Form, study: bytes, salt: bytes) -> bytes:
        """Return the seed of this member's secret of a ceremony."""
        return self.root.secret_seed(study, form.context, salt)

    async def begun(self, order: KeyCeremony) -> Ceremony:
        """Return the order's ceremony as it stands here.

        Raises:
            KeyMissing: there is none.
            OldBackup: its first step was taken for other parameters.
        """
        ceremony = await self.keyring.ceremony(order.shared.study)
        if ceremony.profile != order.profile:
            raise OldBackup("this member began the ceremony with other parameters")
        return ceremony

    async def shown(
        self, order: KeyCeremony, kind: MessageKind, digests: Mapping[str, bytes]
    ) -> dict[str, bytes]:
        """Return every member's message of a kind: this one's own, and what peers show.

        Args:
            digests: what each member committed to, from the chain.

        Raises:
            CommitmentsIncomplete: not every member did.
            OldBackup: this member committed to something else than it has.
            PeerWrong: so did a peer.
            StepFailed: a peer refuses for good.
        """
        if sorted(digests) != list(order.shared.members):
            raise CommitmentsIncomplete("the order does not have a commitment of every member")
        return await self.shown_by(order.shared.study, kind, digests)

    async def shown_by(
        self, study: bytes, kind: MessageKind, digests: Mapping[str, bytes]
    ) -> dict[str, bytes]:
        """Return the message of a kind of everybody who committed to one, as `shown`."""
        senders = tuple(sorted(digests))

        async def show(name: str) -> bytes:
            mine = name == self.id
            if mine:
                message = await self.keyring.message(study, kind, dealer=name, receiver=name)
            else:
                message = await self.peers.ceremony_message(name, study, kind)
            digest = await asyncio.to_thread(commitment_to, study, kind, name, message)
            if digest == digests[name]:
                return message
            if mine:
                raise OldBackup("this member committed to other keys: an old backup was restored")
            raise PeerWrong(name, "its message is not what it committed to")

        if self.id in digests:  # before anybody else is asked
            await show(self.id)
        return await from_all(senders, show)

    def _context(self, order: KeyCeremony) -> bytes:
        return framed(
            STUDY_CEREMONY,
            self.member.chain_id.encode(),
            order.shared.study,
            order.seed,
            bytes((order.threshold,)),
            *(name.encode() for name in order.shared.members),
        )
