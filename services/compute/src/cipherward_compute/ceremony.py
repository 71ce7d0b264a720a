"""The key ceremony of a study: commit, reveal, confirm. No member ever holds the key.

Commit before reveal: nobody can choose a share that cancels the others'. The commitment covers the
public-key share and the digest of every deal, so that a deal cannot be changed either; what a peer
reveals is compared with what the chain says it committed to, and a wrong one names its sender.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from cipherward_chain.acts import DIGEST_BYTES
from cipherward_chain.canonical import NotCanonical, decode_map, encode
from cipherward_chain.domains import STUDY_CEREMONY, STUDY_COMMITMENT, STUDY_TRANSCRIPT
from cipherward_chain.fields import Fields
from cipherward_compute import arithmetic
from cipherward_compute.errors import StepFailed
from cipherward_compute.framing import digest_of, framed
from cipherward_compute.instructions import KeyCeremony
from cipherward_compute.keyring import Ceremony, Keyring, begun, completed, received
from cipherward_compute.member import Member
from cipherward_compute.peers import Peers, from_all
from cipherward_compute.steps import Done
from cipherward_compute.vault import SALT_BYTES, CeremonyRoot
from cipherward_threshold.keys import public_key_digest

PROFILE = "additive-1"  # of every study's key: the only reviewed one for sums


@dataclass(frozen=True, slots=True)
class Revealed:
    """What a member shows to all: its public-key share, and the digest of its deal to each."""

    public_key_share: bytes
    deal_digests: Mapping[str, bytes]

    def to_bytes(self) -> bytes:
        """Return the message."""
        return encode(
            {"public_key_share": self.public_key_share, "deal_digests": self.deal_digests}
        )

    @classmethod
    def parse(cls, member: str, octets: bytes, members: tuple[str, ...]) -> Revealed:
        """Return what `member` reveals to `members`.

        Raises:
            arithmetic.PeerWrong: it is out of form.
        """
        try:
            fields = Fields(decode_map(octets))
            share, digests = fields.octets("public_key_share"), fields.mapping("deal_digests")
            fields.end()
        except NotCanonical as error:
            raise arithmetic.PeerWrong(member, f"its message: {error}") from None
        found = {
            name: digest
            for name, digest in digests.items()
            if isinstance(digest, bytes) and len(digest) == DIGEST_BYTES
        }
        if len(found) != len(digests) or sorted(found) != list(members):
            raise arithmetic.PeerWrong(member, "its message names other deals")
        return cls(share, found)


def commitment_to(study: bytes, member: str, message: bytes) -> bytes:
    """Return the digest by which a member commits to its message before it reveals it."""
    return digest_of(STUDY_COMMITMENT, study, member.encode(), message)


class CeremonySteps:
    """Carries out this member's part of key ceremonies."""

    def __init__(self, member: Member, root: CeremonyRoot, keyring: Keyring, peers: Peers) -> None:
        self._member = member
        self._root = root
        self._keyring = keyring
        self._peers = peers

    async def carry_out(self, order: KeyCeremony) -> Done:
        """Take the step that an order asks for.

        Raises:
            StepFailed: it cannot be taken.
            arithmetic.PeerWrong: a peer's message is not what it committed to.
        """
        match order.step:
            case "commit":
                return await self._commit(order)
            case "reveal":
                return await self._reveal(order)
            case "confirm":
                return await self._confirm(order)

    async def _commit(self, order: KeyCeremony) -> Done:
        study, members = order.shared.study, order.shared.members
        context = self._context(order)
        salt, noise_salt = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(SALT_BYTES)
        share, deals = await self._member.pool.run(
            arithmetic.make_keys,
            PROFILE,
            self._root.secret_seed(study, context, salt),
            context,
            self._member.points(members),
            order.threshold,
        )
        digests = {name: hashlib.sha256(deal).digest() for name, deal in deals.items()}
        message = Revealed(share, digests).to_bytes()
        mine = self._member.id
        sealed = {
            (mine, name): self._keyring.seal_deal(study, mine, name, deal)
            for name, deal in deals.items()
        }
        ceremony = Ceremony(study, salt, noise_salt, message, deals=sealed)
        return Done(commitment_to(study, mine, message), begun(ceremony))

    async def _reveal(self, order: KeyCeremony) -> Done:
        study, members, mine = order.shared.study, order.shared.members, self._member.id
        ceremony = await self._keyring.ceremony(study)
        if sorted(order.commitments) != list(members):
            raise StepFailed("the order does not have a commitment of every member")
        if commitment_to(study, mine, ceremony.message) != order.commitments[mine]:
            raise StepFailed("this member committed to other keys: an old backup was restored")
        others = self._member.others(members)
        messages = await from_all(others, lambda m: self._peers.ceremony_message(m, study))
        deals = await from_all(others, lambda m: self._peers.deal(m, study))
        revealed: dict[str, tuple[bytes, bytes]] = {}
        for name in others:
            if commitment_to(study, name, messages[name]) != order.commitments[name]:
                raise arithmetic.PeerWrong(name, "its message is not what it committed to")
            found = Revealed.parse(name, messages[name], members)
            if hashlib.sha256(deals[name]).digest() != found.deal_digests[mine]:
                raise arithmetic.PeerWrong(name, "its deal is not what it committed to")
            revealed[name] = (found.public_key_share, deals[name])
        await self._member.pool.run(
            arithmetic.check_revealed,
            PROFILE,
            self._context(order),
            self._member.points(members),
            order.threshold,
            mine,
            revealed,
        )
        sealed = {
            (name, mine): self._keyring.seal_deal(study, name, mine, deal)
            for name, deal in deals.items()
        }
        digest = _transcript(study, {**messages, mine: ceremony.message})
        return Done(digest, received(study, messages, sealed))

    async def _confirm(self, order: KeyCeremony) -> Done:
        study, members, mine = order.shared.study, order.shared.members, self._member.id
        ceremony = await self._keyring.ceremony(study)
        messages = {**ceremony.revealed, mine: ceremony.message}
        if sorted(messages) != list(members) or sorted(order.reveals) != list(members):
            raise StepFailed("not every member has revealed its message")
        transcript = _transcript(study, messages)
        for name in members:
            if order.reveals[name] != transcript:
                raise arithmetic.PeerWrong(name, "it has seen other messages than this member")
        shares = [Revealed.parse(m, messages[m], members).public_key_share for m in members]
        deals = [self._keyring.open_deal(ceremony, name, mine) for name in members]
        public_key, key_share = await self._member.pool.run(
            arithmetic.make_key, PROFILE, self._context(order), shares, deals
        )
        sealed = self._keyring.seal_key_share(study, key_share)
        return Done(public_key_digest(public_key), completed(study, public_key, sealed))

    def _context(self, order: KeyCeremony) -> bytes:
        return framed(
            STUDY_CEREMONY,
            self._member.chain_id.encode(),
            order.shared.study,
            order.seed,
            bytes((order.threshold,)),
            *(name.encode() for name in order.shared.members),
        )


def _transcript(study: bytes, messages: Mapping[str, bytes]) -> bytes:
    parts = [commitment_to(study, name, messages[name]) for name in sorted(messages)]
    return digest_of(STUDY_TRANSCRIPT, study, *parts)
