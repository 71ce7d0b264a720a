"""How a member's authorities change: the set whose certificates make its services trusted.

A set that keeps none of the present one is refused. So a member moves to a new authority in two
votes, and between them its services, which follow at their own pace, are trusted with certificates
of either; nobody locks itself out by one vote, and whoever stole a member's key does not lock the
member out by one either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cipherward_chain.certificates import (
    CertificatesMalformed,
    parse_certificates,
    split_certificates,
)
from cipherward_chain.registry_entry import member_key
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.registry import (
    GONE_KEY,
    Registered,
    WritableState,
    load_registry,
)


def set_authorities(state: WritableState, member_id: str, authorities: str) -> bool:
    """Give a member another set of authorities; return whether it is another one than it had.

    Args:
        member_id: of the registry.
        authorities: PEM; its form was checked with the terms that it comes from.

    Raises:
        Refused: the member is suspended, the set keeps none of the present one, or one in it is or
            was another member's, or bears the name of another member's.
    """
    others = load_registry(state)
    found = others.pop(member_id)
    if authorities == found.member.ca_certificate:
        return False
    if found.suspended:
        raise _refused("a suspended member's authorities stay as they are")
    try:
        wanted = parse_certificates(authorities)
    except CertificatesMalformed as error:
        raise _refused(str(error)) from error
    present = _known([found])
    if present and present.keys().isdisjoint(wanted):
        raise _refused("none of the member's present authorities would be left")
    taken = _known(others.values())
    if not taken.keys().isdisjoint(wanted) or not set(taken.values()).isdisjoint(wanted.values()):
        raise _refused("an authority is another member's, or bears its name")
    texts = (one.encode() for one in split_certificates(authorities))
    if any(state.get(GONE_KEY + hashlib.sha256(text).digest()) is not None for text in texts):
        raise _refused("an authority was a removed member's")
    member = replace(found.member, ca_certificate=authorities)
    state.put(member_key(member_id), replace(found, member=member).to_bytes())
    return True


def _known(registered: Iterable[Registered]) -> Mapping[bytes, bytes]:
    """Return the subjects of the authorities of members, by DER; those of no form name nobody."""
    known: dict[bytes, bytes] = {}
    for one in registered:
        try:
            known.update(parse_certificates(one.member.ca_certificate))
        except CertificatesMalformed:  # of a genesis, whose founders checked it among themselves
            continue
    return known


def _refused(why: str) -> Refused:
    return Refused(Reason.REGISTRATION_REFUSED, why)
