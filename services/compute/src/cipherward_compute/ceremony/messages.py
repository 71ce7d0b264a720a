"""What members of a key ceremony say to each other, and how they commit to it before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cipherward_chain.acts import DIGEST_BYTES
from cipherward_chain.canonical import NotCanonical, decode_map, encode
from cipherward_chain.domains import STUDY_COMMITMENT, STUDY_TRANSCRIPT
from cipherward_chain.fields import Fields
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.framing import digest_of
from cipherward_compute.keyring import MessageKind


def commitment_to(study: bytes, kind: MessageKind, member: str, message: bytes) -> bytes:
    """Return the digest by which a member commits to its message before others see it.

    It names the sender and the kind: nobody can show another's message as its own.
    """
    return digest_of(STUDY_COMMITMENT, study, kind.encode(), member.encode(), message)


def challenge_of(study: bytes, seed: bytes, messages: Mapping[str, bytes]) -> bytes:
    """Return the challenge for all deals: nobody knows it before everybody has committed.

    Args:
        seed: of the ceremony, from the chain.
        messages: what each member reveals; all deals are committed to in it.
    """
    parts = [commitment_to(study, "reveal", name, messages[name]) for name in sorted(messages)]
    return digest_of(STUDY_TRANSCRIPT, study, seed, *parts)


@dataclass(frozen=True, slots=True)
class Revealed:
    """What a member shows to all: its public-key share with its proof, its mask's share, and the
    digest of its deal to each."""

    public_key_share: bytes
    proof: bytes
    mask_share: bytes
    deal_digests: Mapping[str, bytes]

    def to_bytes(self) -> bytes:
        """Return the message."""
        return encode(
            {
                "public_key_share": self.public_key_share,
                "proof": self.proof,
                "mask_share": self.mask_share,
                "deal_digests": self.deal_digests,
            }
        )

    @classmethod
    def parse(cls, member: str, octets: bytes, members: tuple[str, ...]) -> Revealed:
        """Return what `member` reveals to `members`.

        Raises:
            PeerWrong: it is out of form.
        """
        try:
            fields = Fields(decode_map(octets))
            share, proof = fields.octets("public_key_share"), fields.octets("proof")
            mask, digests = fields.octets("mask_share"), fields.mapping("deal_digests")
            fields.end()
        except NotCanonical as error:
            raise PeerWrong(member, f"its message: {error}") from None
        return cls(share, proof, mask, _octets_by_member(member, digests, members, DIGEST_BYTES))


@dataclass(frozen=True, slots=True)
class Redealt:
    """What a dealer of a resharing shows to all: its mask's share, and the digest of each deal."""

    mask_share: bytes
    deal_digests: Mapping[str, bytes]

    def to_bytes(self) -> bytes:
        """Return the message."""
        return encode({"mask_share": self.mask_share, "deal_digests": self.deal_digests})

    @classmethod
    def parse(cls, member: str, octets: bytes, receivers: tuple[str, ...]) -> Redealt:
        """Return what `member` shows of its deals to `receivers`.

        Raises:
            PeerWrong: it is out of form.
        """
        try:
            fields = Fields(decode_map(octets))
            mask, digests = fields.octets("mask_share"), fields.mapping("deal_digests")
            fields.end()
        except NotCanonical as error:
            raise PeerWrong(member, f"its message: {error}") from None
        return cls(mask, _octets_by_member(member, digests, receivers, DIGEST_BYTES))


def opening_of(deals: Mapping[str, bytes]) -> bytes:
    """Return the message in which a dealer opens its deals, by receiver."""
    return encode({"deals": dict(deals)})


def opened_deals(member: str, octets: bytes, members: tuple[str, ...]) -> dict[str, bytes]:
    """Return the deals that a dealer opens, by receiver.

    Raises:
        PeerWrong: it is out of form.
    """
    try:
        fields = Fields(decode_map(octets))
        deals = fields.mapping("deals")
        fields.end()
    except NotCanonical as error:
        raise PeerWrong(member, f"its opened deals: {error}") from None
    return _octets_by_member(member, deals, members, None)


def _octets_by_member(
    member: str, values: Mapping[str, object], members: tuple[str, ...], length: int | None
) -> dict[str, bytes]:
    found = {
        name: value
        for name, value in values.items()
        if isinstance(value, bytes) and length in (None, len(value))
    }
    if len(found) != len(values) or sorted(found) != list(members):
        raise PeerWrong(member, "its message names other deals")
    return found
