"""The registry: who belongs to the alliance, as the state holds it, and how it changes.

| key | value |
|---|---|
| member/ID | Registered |
| issuer/PUBLIC_KEY | {member, schemas} |
| registry | {next_index}: a member's number is never given twice |
| gone/id/ID, gone/key/SHA256 | the ids and keys of members that were removed: never used again |

The validators are the members with voting power; what a block changes of them is the difference
between the registry before and after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from cipherward_chain.canonical import decode, encode
from cipherward_chain.certificates import split_certificates
from cipherward_chain.fields import Fields
from cipherward_chain.genesis import MEMBERS_MAX, SCHEMAS, Member
from cipherward_chain.registry_entry import MEMBER, described_member, member_key
from cipherward_contract.entries import ISSUER
from cipherward_contract.refusals import Reason, Refused

MEMBER_END = b"member0"
REGISTRY = b"registry"
GONE_ID, GONE_KEY = b"gone/id/", b"gone/key/"
GONE = b"\x01"  # the value under a `gone` key: that it is there says everything

# Every validator has the same power: an alliance's members have equal votes.
SEATED_POWER = 10


class ReadableState(Protocol):
    """What the registry is read from: a block's state, or the committed one."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None."""
        ...

    def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` pairs from `start` up to, not including, `end`."""
        ...


class WritableState(ReadableState, Protocol):
    """What the registry is changed in: a block's state."""

    def put(self, key: bytes, value: bytes) -> None:
        """Write a pair."""
        ...

    def delete(self, key: bytes) -> None:
        """Remove a pair, if it is there."""
        ...


@dataclass(frozen=True, slots=True)
class Registered:
    """A member of the registry.

    issuers: its current issuing keys. power: the voting power that goes with its node's seat, 0
    while it has none. suspended: it has no say, and its seat no power, until it is reinstated.
    """

    member: Member
    issuers: tuple[bytes, ...] = ()
    power: int = 0
    suspended: bool = False

    @property
    def voting_power(self) -> int:
        """Its node's voting power now."""
        return 0 if self.suspended else self.power

    def to_bytes(self) -> bytes:
        """Return the canonical value."""
        member = self.member
        return encode(
            {
                "name": member.name,
                "index": member.index,
                "public_key": member.public_key,
                "custodian_public_key": member.custodian_public_key,
                "ca_certificate": member.ca_certificate,
                "consensus_public_key": member.consensus_public_key,
                "node_id": member.node_id,
                "issuers": self.issuers,
                "power": self.power,
                "suspended": self.suspended,
            }
        )

    @staticmethod
    @lru_cache(MEMBERS_MAX * 2)
    def from_bytes(member_id: str, raw: bytes) -> Registered:
        """Return the member that `raw` holds."""
        fields = Fields(decode(raw))
        member = described_member(member_id, fields)
        issuers = tuple(key for key in fields.items("issuers") if isinstance(key, bytes))
        power, suspended = fields.integer("power"), fields.flag("suspended")
        return Registered(member, issuers, power, suspended)

    def unique_octets(self) -> Iterator[bytes]:
        """Yield every key and certificate that no other member may have."""
        member = self.member
        yield member.public_key
        yield member.custodian_public_key
        certificates = split_certificates(member.ca_certificate)
        yield from (one.encode() for one in certificates or (member.ca_certificate,))
        yield from (key for key in (member.consensus_public_key, member.node_id) if key)
        yield from self.issuers


def load_registry(state: ReadableState) -> dict[str, Registered]:
    """Return the members by id, in the order of their index."""
    pairs = state.scan(MEMBER, MEMBER_END, MEMBERS_MAX)
    found = [
        Registered.from_bytes(key.removeprefix(MEMBER).decode(), value) for key, value in pairs
    ]
    found.sort(key=lambda one: one.member.index)
    return {one.member.id: one for one in found}


def registry_entry(following: int) -> bytes:
    """Return the value under `registry`: the number that the next member gets."""
    return encode({"next_index": following})


def issuer_entry(member_id: str, schemas: Sequence[str]) -> bytes:
    """Return the value under an issuing key."""
    return encode({"member": member_id, "schemas": schemas})


def next_index(state: ReadableState) -> int:
    """Return the number that the next member gets."""
    raw = state.get(REGISTRY)
    return 0 if raw is None else Fields(decode(raw)).integer("next_index")


def admit(state: WritableState, registered: Registered, *, runs_node: bool) -> None:
    """Enter a newcomer, without a seat.

    Args:
        registered: its form was checked with the terms that it comes from.
        runs_node: this chain's members run consensus nodes; else none but the first does.

    Raises:
        Refused: its id, its number or one of its keys is or was another's, or the registry is full.
    """
    present, member = load_registry(state), registered.member
    if len(present) >= MEMBERS_MAX:
        raise _refused(f"an alliance has at most {MEMBERS_MAX} members")
    if member.id in present or state.get(GONE_ID + member.id.encode()) is not None:
        raise _refused("the id is or was another member's")
    if member.index != next_index(state):
        raise _refused("the number is not the next one")
    has_node = bool(member.consensus_public_key), bool(member.node_id)
    if has_node != (runs_node, runs_node):
        raise _refused(
            "on this chain " + ("every" if runs_node else "no further") + " member has a node"
        )
    keys = list(registered.unique_octets())
    used = {key for other in present.values() for key in other.unique_octets()}
    if len(set(keys)) != len(keys) or not used.isdisjoint(keys):
        raise _refused("a key or certificate is another member's, or serves twice")
    if any(state.get(GONE_KEY + hashlib.sha256(key).digest()) is not None for key in keys):
        raise _refused("a key or certificate was a removed member's")
    state.put(member_key(member.id), registered.to_bytes())
    state.put(REGISTRY, registry_entry(member.index + 1))
    for key in registered.issuers:
        state.put(ISSUER + key, issuer_entry(member.id, SCHEMAS))


def _refused(why: str) -> Refused:
    return Refused(Reason.REGISTRATION_REFUSED, why)


def seat(state: WritableState, member_id: str) -> None:
    """Give an admitted member's node its voting power, or refuse."""
    found = load_registry(state).get(member_id)
    if found is None or found.power or found.suspended:
        raise Refused(Reason.REGISTRATION_REFUSED, "no admitted member waits for that seat")
    if found.member.consensus_public_key:
        entered = replace(found, power=SEATED_POWER)
        state.put(member_key(member_id), entered.to_bytes())


def remove(state: WritableState, member_id: str) -> None:
    """Remove a member for ever, with its issuers and its seat.

    Raises:
        Refused: it is no member, or nobody would be left to make blocks.
    """
    present = load_registry(state)
    found = present.pop(member_id, None)
    if found is None:
        raise Refused(Reason.REMOVAL_REFUSED, "the registry has no such member")
    _require_others(found, present)
    state.delete(member_key(member_id))
    state.put(GONE_ID + member_id.encode(), GONE)
    for key in found.unique_octets():
        state.put(GONE_KEY + hashlib.sha256(key).digest(), GONE)
    for key in found.issuers:
        state.delete(ISSUER + key)


def suspend(state: WritableState, member_id: str) -> None:
    """Take a member's say and its seat's power until it is reinstated.

    Raises:
        Refused: it is no member; it is suspended already, whose end would be this one's too; or
            nobody would be left to make blocks.
    """
    others = load_registry(state)
    found = others.pop(member_id, None)
    if found is None or found.suspended:
        raise Refused(Reason.REMOVAL_REFUSED, "the registry has no such active member")
    _require_others(found, others)
    state.put(member_key(member_id), replace(found, suspended=True).to_bytes())


def reinstate(state: WritableState, member_id: str) -> None:
    """Give a suspended member back what it had, or refuse."""
    found = load_registry(state).get(member_id)
    if found is None or not found.suspended:
        raise Refused(Reason.REGISTRATION_REFUSED, "the registry has no such suspended member")
    state.put(member_key(member_id), replace(found, suspended=False).to_bytes())


def _require_others(leaving: Registered, others: Mapping[str, Registered]) -> None:
    if leaving.voting_power and not any(other.voting_power for other in others.values()):
        raise Refused(Reason.REMOVAL_REFUSED, "nobody would be left to make blocks")


def power_changes(
    before: Mapping[str, Registered], after: Mapping[str, Registered]
) -> list[tuple[bytes, int]]:
    """Return (consensus key, new power) of every validator that changed, by key; 0 removes it."""
    old, new = _powers(before), _powers(after)
    return [
        (key, new.get(key, 0))
        for key in sorted(old.keys() | new.keys())
        if new.get(key, 0) != old.get(key, 0)
    ]


def _powers(registry: Mapping[str, Registered]) -> dict[bytes, int]:
    seats = (one for one in registry.values() if one.voting_power)
    return {one.member.consensus_public_key: one.voting_power for one in seats}
