"""Transactions: the one form of their bytes, their names, and what is checked without the state."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import (
    DIGEST_BYTES,
    ID_BYTES,
    ActMalformed,
    check_act,
    parse_anchor,
)
from cipherward_chain.authorization import (
    AuthorizationMalformed,
    AuthorizationRejected,
    PresentationClaim,
    Signer,
    authorizer_of,
    check_signature,
    check_signed,
    parse_authorization,
)
from cipherward_chain.domains import owner_octets, possession_octets, transaction_context
from cipherward_chain.errors import ChainError
from cipherward_chain.wire import NotExact, exact_bytes, parse_exact, timestamp_ns

TRANSACTION_BYTES_MAX: Final = 65_536  # 32 of the largest fill a block of 2 MiB
ACTS_MAX: Final = 64  # succeed or fail together, so it bounds what one refusal undoes
CHAIN_ID_CHARACTERS_MAX: Final = 50  # CometBFT's own bound


class TransactionMalformed(ChainError):
    """Bytes are not the one form of a transaction, or a part of it is out of form."""

    reason = "TRANSACTION_MALFORMED"


class TransactionTooLarge(ChainError):
    """A transaction is longer than 64 KiB."""

    reason = "TRANSACTION_TOO_LARGE"


class WrongChain(ChainError):
    """A transaction is for another chain."""

    reason = "WRONG_CHAIN"


@dataclass(frozen=True, slots=True)
class ParsedTransaction:
    """A transaction in form. The messages are read-only by agreement; `raw` is what was sent.

    `id` is the SHA-256 of the body (what is deduplicated), `hash` that of the whole (what is
    proven). The body names its authorizer, so one id is one authorizer's; only that one can make
    several authorizations, and so hashes, of it.
    """

    id: bytes
    hash: bytes
    body: pb.TransactionBody
    authorization: pb.Authorization
    body_bytes: bytes
    raw: bytes

    @property
    def expires_at(self) -> int:
        """The block time, in Unix seconds, after which the transaction is refused."""
        return self.body.expires_at.seconds


def transaction_id(body: bytes) -> bytes:
    """Return the name (32 bytes) under which a transaction with this body is deduplicated."""
    return hashlib.sha256(body).digest()


def transaction_hash(transaction: bytes) -> bytes:
    """Return the SHA-256 of the whole transaction: what the Merkle leaf of the data hash holds."""
    return hashlib.sha256(transaction).digest()


def context_of(body: bytes) -> bytes:
    """Return the octets that are signed or that a presentation is bound to: tag and body."""
    return transaction_context(body)


def build_transaction(
    acts: Sequence[pb.Act],
    *,
    chain_id: str,
    expires_at: int,
    signer: Signer,
    nonce: bytes | None = None,
) -> bytes:
    """Return a serialised transaction.

    Args:
        acts: 1 to 64, carried out in order, all or none.
        expires_at: block time in Unix seconds, at most 10 minutes ahead.
        signer: authorises the body, which names it.
        nonce: 16 random bytes; drawn here unless given.

    Raises:
        TransactionMalformed, TransactionTooLarge: what is asked for has no valid form.
    """
    body = exact_bytes(
        pb.TransactionBody(
            chain_id=chain_id,
            expires_at=Timestamp(seconds=expires_at),
            nonce=secrets.token_bytes(ID_BYTES) if nonce is None else nonce,
            acts=acts,
            authorizer=signer.authorizer,
        )
    )
    _parse_body(body)
    authorization = signer.authorize(context_of(body))
    raw = exact_bytes(pb.Transaction(body=body, authorization=authorization))
    _check_size(raw)
    return raw


def _check_size(raw: bytes) -> None:
    if len(raw) > TRANSACTION_BYTES_MAX:
        raise TransactionTooLarge(f"a transaction has at most {TRANSACTION_BYTES_MAX} bytes")


def _parse_body(raw: bytes) -> pb.TransactionBody:
    try:
        body = parse_exact(pb.TransactionBody, raw)
        timestamp_ns(body.expires_at)
        for act in body.acts:
            check_act(act)
    except (NotExact, ActMalformed) as error:
        raise TransactionMalformed(str(error)) from error
    if not 0 < len(body.chain_id) <= CHAIN_ID_CHARACTERS_MAX:
        raise TransactionMalformed("a transaction names its chain")
    if not body.HasField("expires_at") or body.expires_at.nanos:
        raise TransactionMalformed("a transaction expires at a whole second")
    if len(body.nonce) != ID_BYTES:
        raise TransactionMalformed(f"a nonce has {ID_BYTES} bytes")
    if len(body.authorizer) != DIGEST_BYTES:
        raise TransactionMalformed(f"an authorizer is named by {DIGEST_BYTES} bytes")
    if not 0 < len(body.acts) <= ACTS_MAX:
        raise TransactionMalformed(f"a transaction has 1 to {ACTS_MAX} acts")
    return body


def parse_transaction(raw: bytes) -> ParsedTransaction:
    """Return the transaction whose one form is `raw`; no signature is checked.

    Raises:
        TransactionTooLarge: more than 64 KiB.
        TransactionMalformed: unknown fields, another spelling, or a part out of form.
    """
    _check_size(raw)
    try:
        message = parse_exact(pb.Transaction, raw)
        authorization = parse_authorization(message.authorization)
    except (NotExact, AuthorizationMalformed) as error:
        raise TransactionMalformed(str(error)) from error
    body = _parse_body(message.body)
    return ParsedTransaction(
        id=transaction_id(message.body),
        hash=transaction_hash(raw),
        body=body,
        authorization=authorization,
        body_bytes=message.body,
        raw=raw,
    )


def check_authorization(transaction: ParsedTransaction, chain_id: str) -> PresentationClaim | None:
    """Verify every signature that needs no state: the author's, and those inside the acts.

    Returns:
        None when the author signed with an Ed25519 key; else the presentation that identity must
        verify.

    Raises:
        WrongChain: the transaction is for another chain.
        AuthorizationRejected: the body names another authorizer, a signature, a proof of
            possession or a countersignature is not valid, an act needs another kind of
            authorization, or it names another author.
    """
    if transaction.body.chain_id != chain_id:
        raise WrongChain("the transaction is for another chain")
    if transaction.body.authorizer != authorizer_of(transaction.authorization):
        raise AuthorizationRejected("the body names another authorizer")
    claim = check_signed(transaction.authorization, context_of(transaction.body_bytes))
    registrations = 0
    for act in transaction.body.acts:
        kind = act.WhichOneof("act")
        if kind == "register_pseudonym":
            registrations += 1
            _check_possession(act.register_pseudonym, claim, chain_id)
        elif kind == "anchor_record":
            _check_anchor(act.anchor_record, transaction.authorization, chain_id)
    if registrations > 1:
        raise AuthorizationRejected("a presentation has one pseudonym")
    return claim


def _check_possession(
    act: pb.RegisterPseudonym, claim: PresentationClaim | None, chain_id: str
) -> None:
    if claim is None:
        raise AuthorizationRejected("a pseudonym is registered by a presentation")
    octets = possession_octets(chain_id, claim.scope, act.public_key)
    check_signature(act.public_key, octets, act.possession)


def _check_anchor(act: pb.AnchorRecord, authorization: pb.Authorization, chain_id: str) -> None:
    author = parse_anchor(act.anchor).author
    if authorization.WhichOneof("kind") != "member" or authorization.member.member_id != author:
        raise AuthorizationRejected("a record is anchored by its author")
    if act.owner_public_key:
        octets = owner_octets(chain_id, act.anchor)
        check_signature(act.owner_public_key, octets, act.owner_signature)
