"""Who belongs to the alliance now: the genesis, and what proven orders have changed since.

The services that follow the chain keep it beside their own state. It is written before the rest of
a block takes effect, so that nothing is done for a member whom the block has removed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import structlog

from cipherward_chain.admission import INSTRUCTION as ADMIT_MEMBER
from cipherward_chain.admission import admitted_by
from cipherward_chain.authorities import INSTRUCTION as SET_AUTHORITIES
from cipherward_chain.authorities import authorities_set_by, members_authorities
from cipherward_chain.canonical import NotCanonical
from cipherward_chain.genesis import Genesis, Issuer, Member
from cipherward_chain.json_fields import JsonFields, JsonMalformed
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.members import (
    AuthoritiesSet,
    issuer_document,
    member_document,
    parse_issuers,
    parse_members,
)
from cipherward_chain.orders import Order
from cipherward_kit.datafolder import write_atomically
from cipherward_kit.tls import TrustRegistry
from cipherward_member.errors import RegistryUnusable

Handler: TypeAlias = Callable[[VerifiedBlock], Awaitable[None]]

log: structlog.stdlib.BoundLogger = structlog.get_logger()

REGISTRY_FILE: Final = "registry.json"  # in a service's data folder
REMOVE_MEMBER: Final = "remove_member"


class RegistryNotEmpty(ValueError):
    """The registry has followed orders already: it goes on from those."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """The registry after block `height`; 0 is the genesis. `members` is by id, by index."""

    height: int
    members: Mapping[str, Member]
    issuers: tuple[Issuer, ...]

    def admitting(self, member: Member, issuer: Issuer) -> _Listed:
        others = [one for one in self.members.values() if one.id != member.id]
        kept = [one for one in self.issuers if one.member != member.id]
        return _listed(self.height, [*others, member], [*kept, issuer])

    def changing(self, change: AuthoritiesSet) -> _Listed:
        member = self.members.get(change.member)
        if member is None:  # removed in the same block
            return self
        changed = replace(member, ca_certificate=change.authorities)
        return _Listed(self.height, {**self.members, member.id: changed}, self.issuers)

    def removing(self, member_id: str) -> _Listed:
        return _listed(
            self.height,
            [one for one in self.members.values() if one.id != member_id],
            [one for one in self.issuers if one.member != member_id],
        )


def _listed(height: int, members: Iterable[Member], issuers: Iterable[Issuer]) -> _Listed:
    ordered = sorted(members, key=lambda member: member.index)
    return _Listed(height, {member.id: member for member in ordered}, tuple(issuers))


class MemberRegistry:
    """The alliance's members, changed by proven orders only; `trust` follows it. On one event loop.

    Args:
        genesis: where the registry begins.
        path: the file of what has changed since; read here if it is there, which blocks shortly.

    Raises:
        RegistryUnusable: the file is damaged, or of another genesis.
        CertificateUnreadable: an authority in the genesis cannot be used.
    """

    def __init__(self, genesis: Genesis, path: Path) -> None:
        self._genesis = genesis
        self._path = path
        self._listed = _listed(0, genesis.members.values(), genesis.issuers)
        self.trust: Final = TrustRegistry(self._authorities(self._listed))
        try:
            self._take(_parse(path.read_bytes(), genesis))
        except FileNotFoundError:
            return
        except OSError as error:
            raise RegistryUnusable(
                f"the registry {path} cannot be read ({error.strerror}); make it readable"
            ) from None
        except JsonMalformed as error:
            raise RegistryUnusable(
                f"the registry {path} is refused: {error}; restore this service's data folder from "
                "a backup, or give the genesis file that it was made with"
            ) from None

    @property
    def members(self) -> Mapping[str, Member]:
        """The members by id, in the order of their indexes."""
        return self._listed.members

    @property
    def issuers(self) -> tuple[Issuer, ...]:
        """The issuing keys that are current."""
        return self._listed.issuers

    @property
    def height(self) -> int:
        """The block that changed the registry last; 0 if none has."""
        return self._listed.height

    async def apply(self, block: VerifiedBlock) -> bool:
        """Take what a block orders, durably; return whether it changed the registry just now.

        Applied again, also after a restart, it changes nothing.
        """
        if block.height <= self._listed.height:
            return False
        changed = self._listed
        for order in block.orders:
            changed = _carried_out(changed, order)
        if changed == self._listed:
            return False
        await self._store(_Listed(block.height, changed.members, changed.issuers))
        return True

    def ahead_of(self, handler: Handler) -> Handler:
        """Return a handler of blocks that applies each to the registry, and then to `handler`."""

        async def handle(block: VerifiedBlock) -> None:
            await self.apply(block)
            await handler(block)

        return handle

    async def begin_at(
        self, height: int, members: Iterable[Member], issuers: Iterable[Issuer]
    ) -> None:
        """Begin with the registry after block `height`: of who follows from there, not from 1.

        Args:
            height: orders of this block and of those before it are in `members` already.
            members: who belonged to the alliance then.
            issuers: their current issuing keys.

        Raises:
            RegistryNotEmpty: orders were followed before.
        """
        if self._listed.height:
            raise RegistryNotEmpty(f"the registry was changed at height {self._listed.height}")
        await self._store(_listed(height, members, issuers))

    async def _store(self, listed: _Listed) -> None:
        await asyncio.to_thread(write_atomically, self._path, _to_bytes(listed, self._genesis))
        log.info("registry_changed", height=listed.height, members=len(listed.members))
        self._take(listed)

    def _take(self, listed: _Listed) -> None:
        self._listed = listed
        for member, why in self.trust.replace(self._authorities(listed)).items():
            log.error("authority_left_out", member=member, why=why)

    def _authorities(self, listed: _Listed) -> dict[str, bytes]:
        """Return the members' authorities, the oldest member's first: its name counts."""
        members, proven = listed.members.values(), self._genesis.authorities
        return members_authorities(members, listed.height, proven)


def _carried_out(listed: _Listed, order: Order) -> _Listed:
    try:
        if order.instruction == ADMIT_MEMBER:
            admitted = admitted_by(order)
            return listed.admitting(admitted.member, admitted.issuer)
        if order.instruction == REMOVE_MEMBER:
            return listed.removing(order.fields().text("member"))
        if order.instruction == SET_AUTHORITIES:
            return listed.changing(authorities_set_by(order))
    except NotCanonical as error:  # the chain checks them: a release that knows another form
        log.error("order_malformed", height=order.height, index=order.index, why=str(error))
    return listed


def _to_bytes(listed: _Listed, genesis: Genesis) -> bytes:
    document = {
        "chain_id": genesis.chain_id,
        "genesis": genesis.digest.hex(),
        "height": listed.height,
        "members": [member_document(member) for member in listed.members.values()],
        "issuers": [issuer_document(issuer) for issuer in listed.issuers],
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _parse(raw: bytes, genesis: Genesis) -> _Listed:
    fields = JsonFields.parse(raw, "registry")
    chain = fields.text("chain_id"), fields.hexadecimal("genesis", length=32)
    if chain != (genesis.chain_id, genesis.digest):
        raise JsonMalformed("registry is of another genesis")
    height = fields.integer("height", minimum=1)
    members = parse_members(fields)
    issuers = parse_issuers(fields, members)
    fields.end()
    return _Listed(height, members, issuers)
