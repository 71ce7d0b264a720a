"""Single facts that the state notes about somebody or something.

| key | value |
|---|---|
| suspended/SCOPE/PSEUDONYM | {until}: till that block time its keys only give up rights |
| raised/MEMBER | {epoch}: what its issuer vouched for up to that epoch counts no more |
| erased/RECORD | {height} of the block that ordered it: no key of it is released again |
| budget/NAME | {spent} |
| depends/PERMIT/INSTANCE | empty map: the instance ends when the permit does |
| proposal/SHA256 | the document of a template that was proposed and is not registered |
| active/NAME/VERSION | {from}: since when it may be instantiated; genesis templates have none |
"""

from __future__ import annotations

from cipherward_chain.canonical import decode, encode
from cipherward_chain.fields import Fields

RAISED, RAISED_END = b"raised/", b"raised0"
BUDGET, BUDGET_END = b"budget/", b"budget0"
NOTED = encode({})  # a value where that it is there says everything


def active_key(name: str, version: int) -> bytes:
    """Return the key under which it stands since when a voted template may be instantiated."""
    return f"active/{name}/{version}".encode()


def active_entry(since: int) -> bytes:
    """Return the value under `active_key`; `since` is in Unix seconds."""
    return encode({"from": since})


def active_from(raw: bytes) -> int:
    """Return since when, in Unix seconds, a template may be instantiated."""
    return Fields(decode(raw)).integer("from")


def proposal_key(digest: bytes) -> bytes:
    """Return the key of a proposed template's document."""
    return b"proposal/" + digest


def suspended_key(scope: str, pseudonym: bytes) -> bytes:
    """Return the key of a suspended pseudonym."""
    return b"suspended/" + scope.encode() + b"/" + pseudonym


def suspended_entry(until: int) -> bytes:
    """Return the value under `suspended_key`; `until` is in Unix seconds."""
    return encode({"until": until})


def suspended_until(raw: bytes) -> int:
    """Return until when, in Unix seconds, a pseudonym is suspended."""
    return Fields(decode(raw)).integer("until")


def raised_key(member: str) -> bytes:
    """Return the key of the epoch that a member has ended early."""
    return RAISED + member.encode()


def raised_entry(epoch: int) -> bytes:
    """Return the value under `raised_key`."""
    return encode({"epoch": epoch})


def raised_epoch(raw: bytes) -> int:
    """Return the last epoch whose credentials count no more."""
    return Fields(decode(raw)).integer("epoch")


def erased_key(record: bytes) -> bytes:
    """Return the key of an erased record."""
    return b"erased/" + record


def erased_entry(height: int) -> bytes:
    """Return the value under `erased_key`."""
    return encode({"height": height})


def budget_key(name: str) -> bytes:
    """Return the key of a budget."""
    return BUDGET + name.encode()


def budget_entry(spent: int) -> bytes:
    """Return the value under `budget_key`."""
    return encode({"spent": spent})


def budget_spent(raw: bytes) -> int:
    """Return what of a budget is spent."""
    return Fields(decode(raw)).integer("spent")


def depends_start(permit: bytes) -> bytes:
    """Return what the keys of the instances that depend on a permit begin with."""
    return b"depends/" + permit + b"/"


def depends_end(permit: bytes) -> bytes:
    """Return the first key behind those of the instances that depend on a permit."""
    return b"depends/" + permit + b"0"


def depends_key(permit: bytes, instance: bytes) -> bytes:
    """Return the key that says that an instance depends on a permit."""
    return depends_start(permit) + instance
