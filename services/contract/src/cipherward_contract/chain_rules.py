"""What is fixed for a chain and every block needs: its name, times, bounds and registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cipherward_chain.canonical import decode
from cipherward_chain.fields import Fields
from cipherward_chain.wire import NANOS
from cipherward_contract.entries import MEMBER, MEMBER_END, PARAMETERS
from cipherward_contract.templates.values import LIST_MAX


class Readable(Protocol):
    """What the rules are loaded from: a block's state, or the committed one."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None."""
        ...

    def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` pairs from `start` up to, not including, `end`."""
        ...


@dataclass(frozen=True, slots=True)
class ChainRules:
    """The parameters of the state; `members` maps a member's id to its Ed25519 key."""

    chain_id: str
    genesis_ns: int
    epoch_seconds: int
    expiry_seconds_max: int
    block_bytes_max: int
    machine_version: int
    members: dict[str, bytes]

    @classmethod
    def load(cls, state: Readable) -> ChainRules | None:
        """Return the rules of an initialised chain, else None."""
        raw = state.get(PARAMETERS)
        if raw is None:
            return None
        fields = Fields(decode(raw))
        members = state.scan(MEMBER, MEMBER_END, LIST_MAX + 1)
        return cls(
            chain_id=fields.text("chain_id"),
            genesis_ns=fields.integer("genesis_ns"),
            epoch_seconds=fields.integer("epoch_seconds"),
            expiry_seconds_max=fields.integer("expiry_seconds_max"),
            block_bytes_max=fields.integer("block_bytes_max"),
            machine_version=fields.integer("machine_version"),
            members={
                key.removeprefix(MEMBER).decode(): Fields(decode(value)).octets("public_key")
                for key, value in members
            },
        )

    def epoch_at(self, time_ns: int) -> int:
        """Return the credential epoch of a block time, from 1, as `Genesis.epoch_at`."""
        return max(0, time_ns - self.genesis_ns) // (self.epoch_seconds * NANOS) + 1
