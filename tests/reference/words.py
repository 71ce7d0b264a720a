"""What histories are made of, in plain values: who says what to the chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cipherward_chain.canonical import Value


@dataclass(frozen=True, slots=True)
class ByMember:
    """Signed with a member's key, or with what claims to be one."""

    member: str
    public_key: bytes


@dataclass(frozen=True, slots=True)
class ByKey:
    """Signed with a pseudonym's key."""

    public_key: bytes


@dataclass(frozen=True, slots=True)
class ByShown:
    """Authorised by a presentation: what it shows of a credential, and to which scope."""

    issuer_key: bytes
    issuer: str
    schema: str
    epoch: int
    role: str
    scope: str
    pseudonym: bytes


By: TypeAlias = ByMember | ByKey | ByShown


@dataclass(frozen=True, slots=True)
class Register:
    """Put a key behind the pseudonym that is shown."""

    public_key: bytes


@dataclass(frozen=True, slots=True)
class Anchor:
    """Anchor a record, or claim it; `anchor` is the serialised message."""

    anchor: bytes
    slot_digest: bytes
    owner: bytes


@dataclass(frozen=True, slots=True)
class Instantiate:
    """Start a contract."""

    template: str
    version: int
    instance: bytes
    terms: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Move:
    """Take a transition of a contract."""

    instance: bytes
    name: str
    arguments: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Vote:
    """Vote on a transition."""

    instance: bytes
    name: str
    approve: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Report an order."""

    height: int
    index: int
    done: bool
    digest: bytes


@dataclass(frozen=True, slots=True)
class Propose:
    """Propose a template; `sound` says whether its document can be deployed at all."""

    template: str
    version: int
    document: bytes
    sound: bool
    instance: bytes
    vote_seconds: int


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Move a contract to another version."""

    instance: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Allow:
    """Let one more template release a record."""

    record: bytes
    template: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Let time be seen."""


Act: TypeAlias = (
    Register | Anchor | Instantiate | Move | Vote | Report | Propose | Upgrade | Allow | Tick
)


@dataclass(frozen=True, slots=True)
class Said:
    """A transaction. `fault` is what its bytes alone are refused for, or ""."""

    id: bytes
    chain_id: str
    expires_at: int
    by: By
    acts: tuple[Act, ...]
    fault: str = ""
