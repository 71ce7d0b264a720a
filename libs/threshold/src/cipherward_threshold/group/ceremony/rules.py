"""Which messages of a ceremony become facts: one rule a kind.

`hear` checks a message and records it; `recall` records the kept form of one that was heard before
and is only parsed. Who may speak now is the transcript's affair; here the sender's index is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cipherward_threshold.group.ceremony import phases
from cipherward_threshold.group.ceremony.facts import Facts
from cipherward_threshold.group.ceremony.messages import (
    SEALING_KEY_BYTES,
    read_complaint,
    read_deal,
    read_extraction,
    read_shares,
    recall_extraction,
)
from cipherward_threshold.group.ceremony.proofs import extraction_holds, ready_holds, shares_fit
from cipherward_threshold.group.curve import read_scalars, recall_points
from cipherward_threshold.group.errors import MessageRefused, OctetsRejected
from cipherward_threshold.group.keys import holder_point


def hear(facts: Facts, kind: str, index: int, body: bytes) -> bytes:
    """Check and record a message; return the form of it that is to be kept.

    Raises:
        MessageRefused: it is out of form or false; nothing was recorded.
    """
    try:
        return _HEARD[kind](facts, index, body)
    except OctetsRejected as error:
        raise MessageRefused(str(error)) from None


def recall(facts: Facts, kind: str, index: int, kept: bytes) -> None:
    """Record a message that was heard before, from its kept form."""
    _RECALLED[kind](facts, index, kept)


def _hear_enrol(facts: Facts, receiver: int, body: bytes) -> bytes:
    _need(len(body) == SEALING_KEY_BYTES, "a sealing key is out of form")
    facts.enrolled[receiver] = body
    return body


def _recall_enrol(facts: Facts, receiver: int, kept: bytes) -> None:
    facts.enrolled[receiver] = kept


def _hear_deal(facts: Facts, dealer: int, body: bytes) -> bytes:
    plan, deal = facts.plan, read_deal(facts.plan, body)
    for receiver, sealed in enumerate(deal.sealed, start=1):
        _need(receiver in facts.enrolled or not sealed, "a part for a member that has not enrolled")
    if plan.old is not None:
        own = deal.commitments[0] == holder_point(plan.old, dealer)
        _need(own, "a deal is not of the dealer's share")
    facts.deals[dealer] = deal.commitments
    return deal.kept


def _recall_deal(facts: Facts, dealer: int, kept: bytes) -> None:
    facts.deals[dealer] = recall_points(kept)


def _hear_complaint(facts: Facts, receiver: int, body: bytes) -> bytes:
    about = read_complaint(body)
    _need(all(dealer in facts.deals for dealer in about), "a complaint about nobody's deal")
    facts.complaints[receiver] = about
    return body


def _recall_complaint(facts: Facts, receiver: int, kept: bytes) -> None:
    facts.complaints[receiver] = read_complaint(kept)


def _hear_answer(facts: Facts, dealer: int, body: bytes) -> bytes:
    shares = read_shares(facts.plan, body)
    _need(tuple(shares) == facts.complainants(dealer), "an answer to other complaints")
    for receiver, revealed in shares.items():
        fits = shares_fit(facts.plan, facts.deals[dealer], receiver, revealed)
        _need(fits, "an answer does not fit the commitments")
    facts.answers[dealer] = shares
    return body


def _recall_answer(facts: Facts, dealer: int, kept: bytes) -> None:
    facts.answers[dealer] = read_shares(facts.plan, kept)


def _hear_extraction(facts: Facts, dealer: int, body: bytes) -> bytes:
    extraction = read_extraction(facts.plan, body)
    holds = extraction_holds(facts.plan, dealer, facts.deals[dealer], extraction)
    _need(holds, "points are not what the dealer committed to")
    facts.extracted[dealer] = extraction.points
    return body


def _recall_extraction(facts: Facts, dealer: int, kept: bytes) -> None:
    facts.extracted[dealer] = recall_extraction(facts.plan, kept)


def _hear_rebuilding(facts: Facts, receiver: int, body: bytes) -> bytes:
    shares, missing = read_shares(facts.plan, body), facts.missing
    _need(bool(shares), "a rebuilding of nobody")
    for dealer, published in shares.items():
        _need(dealer in missing, "a rebuilding of a dealer that is not missing")
        fits = shares_fit(facts.plan, facts.deals[dealer], receiver, published)
        _need(fits, "a share does not fit the commitments")
    facts.rebuilt[receiver] = shares
    return body


def _recall_rebuilding(facts: Facts, receiver: int, kept: bytes) -> None:
    facts.rebuilt[receiver] = read_shares(facts.plan, kept)


def _hear_ready(facts: Facts, receiver: int, body: bytes) -> bytes:
    proof = read_scalars(body, 2)
    proven = facts.key is not None and ready_holds(facts.plan, facts.key, receiver, proof)
    _need(proven, "a member does not prove its share")
    facts.ready[receiver] = None
    return body


def _recall_ready(facts: Facts, receiver: int, kept: bytes) -> None:
    facts.ready[receiver] = None


def _need(found: bool, otherwise: str) -> None:
    if not found:
        raise MessageRefused(otherwise)


_HEARD: Final[dict[str, Callable[[Facts, int, bytes], bytes]]] = {
    phases.ENROL: _hear_enrol,
    phases.DEAL: _hear_deal,
    phases.COMPLAIN: _hear_complaint,
    phases.ANSWER: _hear_answer,
    phases.EXTRACT: _hear_extraction,
    phases.REBUILD: _hear_rebuilding,
    phases.READY: _hear_ready,
}
_RECALLED: Final[dict[str, Callable[[Facts, int, bytes], None]]] = {
    phases.ENROL: _recall_enrol,
    phases.DEAL: _recall_deal,
    phases.COMPLAIN: _recall_complaint,
    phases.ANSWER: _recall_answer,
    phases.EXTRACT: _recall_extraction,
    phases.REBUILD: _recall_rebuilding,
    phases.READY: _recall_ready,
}
