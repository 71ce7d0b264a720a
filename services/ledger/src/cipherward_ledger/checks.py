"""The stateless checks of a transaction: what needs the transaction and the genesis only.

In this order, cheap before dear: size, form, chain, expiry if a time is given, signatures. A
presentation is handed back as a claim that identity must verify. Pure functions; they run in
threads of `Verifier`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cipherward_chain import authorization, transactions
from cipherward_kit.errors import ServiceError
from cipherward_ledger.clock import NANOSECONDS
from cipherward_ledger.errors import (
    AuthorizationRejected,
    ExpiryTooFar,
    TransactionExpired,
    TransactionMalformed,
    TransactionTooLarge,
    WrongChain,
)
from cipherward_ledger.mempool import Entry

# One text for every failed authorization, whoever found it: no oracle.
REJECTED = "the authorization does not authorise this transaction"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the genesis allows."""

    chain_id: str
    transaction_bytes_max: int
    acts_max: int
    expiry_seconds_max: int


@dataclass(frozen=True, slots=True)
class Malformed:
    """Bytes that are no transaction."""

    refusal: ServiceError


@dataclass(frozen=True, slots=True)
class InForm:
    """A transaction in form.

    refusal: why it is refused; None if it is not, or not yet.
    claim: the presentation that must still be verified, if that is its authorization.
    """

    entry: Entry
    refusal: ServiceError | None = None
    claim: authorization.PresentationClaim | None = None


Checked: TypeAlias = Malformed | InForm


def check_all(contents: Sequence[bytes], rules: Rules, now_ns: int | None) -> list[Checked]:
    """Check transactions; with `now_ns` also what they say about time."""
    return [check(content, rules, now_ns) for content in contents]


def check(content: bytes, rules: Rules, now_ns: int | None) -> Checked:
    """Check one transaction. Cost: about 0.1 ms, most of it one signature outside the GIL."""
    if len(content) > rules.transaction_bytes_max:
        return Malformed(_too_large(rules))
    try:
        parsed = transactions.parse_transaction(content)
    except transactions.TransactionTooLarge:
        return Malformed(_too_large(rules))
    except transactions.TransactionMalformed as error:
        return Malformed(TransactionMalformed(str(error)))
    if len(parsed.body.acts) > rules.acts_max:
        return Malformed(TransactionMalformed(f"more than {rules.acts_max} acts"))
    entry = Entry(parsed.id, parsed.hash, content, parsed.expires_at * NANOSECONDS)
    if parsed.body.chain_id != rules.chain_id:
        return InForm(
            entry,
            WrongChain(f"the transaction is not for {rules.chain_id}", chain_id=rules.chain_id),
        )
    refusal = None if now_ns is None else refuse_time(entry.expires_ns, rules, now_ns)
    if refusal is not None:
        return InForm(entry, refusal)
    try:
        claim = transactions.check_authorization(parsed, rules.chain_id)
    except authorization.AuthorizationRejected:
        return InForm(entry, AuthorizationRejected(REJECTED))
    return InForm(entry, None, claim)


def refuse_time(expires_ns: int, rules: Rules, now_ns: int) -> ServiceError | None:
    """Refuse what has expired at `now_ns`, and what expires too long after."""
    left_ns = expires_ns - now_ns
    if left_ns < 0:
        return TransactionExpired("the transaction has expired")
    if left_ns > rules.expiry_seconds_max * NANOSECONDS:
        most = rules.expiry_seconds_max
        return ExpiryTooFar(f"it expires more than {most} s ahead", expiry_seconds_max=most)
    return None


def _too_large(rules: Rules) -> TransactionTooLarge:
    most = rules.transaction_bytes_max
    return TransactionTooLarge(f"a transaction has at most {most} bytes", bytes_max=most)
