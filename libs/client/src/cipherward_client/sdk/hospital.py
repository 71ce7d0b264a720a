"""A member's own system: its connection, and the key that it signs with as a member."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cipherward_chain.authorization import MemberSigner
from cipherward_client.alliance.layout import CLIENT, MEMBER_KEY, AllianceFolder
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_kit.own_identity import FollowedIdentity, following


class HospitalUnknown(CheckFailed):
    """The connection has no member's certificate, or that of no member."""

    reason = "CALLER_REFUSED"


@dataclass(frozen=True, slots=True)
class Hospital:
    """A member that acts: `alliance` was opened with its certificate, `signer` has its key."""

    alliance: Alliance
    member: str
    signer: MemberSigner

    @classmethod
    def of(cls, alliance: Alliance, member_seed: bytes) -> Hospital:
        """Return the member whose certificate the connection shows.

        Args:
            member_seed: the 32 bytes of its member key.

        Raises:
            HospitalUnknown: the connection shows no certificate, or that of no member.
        """
        if alliance.identity is None:
            raise HospitalUnknown("the connection shows no certificate")
        member = alliance.identity.current.caller().member
        if member not in alliance.members:
            raise HospitalUnknown(f"{member} is no member")
        return cls(alliance, member, MemberSigner(member, member_seed))


@asynccontextmanager
async def open_hospital(
    folder: AllianceFolder, member: str, asked: str = ""
) -> AsyncGenerator[Hospital]:
    """Open the own system of a member whose keys lie in the folder.

    It may stay open for as long as one likes: a renewed certificate is taken from its files.

    Args:
        asked: whose ledger and contract are asked; by default the member's own.

    Raises:
        ClientError: the folder has no such member, or its alliance does not fit.
    """
    home = folder.member(member)
    with explaining():
        identity = await asyncio.to_thread(FollowedIdentity, *home.certificate(CLIENT))
        seed = await asyncio.to_thread(home.key(MEMBER_KEY).read_bytes)
    files = folder.endpoints_file, folder.genesis_file
    opened = Alliance.open(*files, member_identity=identity, home=asked)
    async with following(identity), opened as alliance:
        with explaining():
            hospital = Hospital.of(alliance, seed)
        yield hospital
