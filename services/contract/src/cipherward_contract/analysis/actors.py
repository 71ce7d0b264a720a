"""Who may be a party, as far as policies can tell: what each kind of party implies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cipherward_contract.templates.document import Party

# What somebody's credential is of; a member itself has none.
MEMBER, PATIENT, STAFF = "", "patient", "staff"
SORTS: Final = (MEMBER, PATIENT, STAFF)

_SORTS_OF: Mapping[str, tuple[str, ...]] = {
    # their keys are registered in the scope of the record, where only patients are known
    **dict.fromkeys(("record_owner", "key_holder"), (PATIENT,)),
    **dict.fromkeys(("staff_of", "any_staff", "custodian_staff", "author_staff"), (STAFF,)),
    **dict.fromkeys(
        (
            *("member_of", "any_member", "other_member", "the_member"),
            *("custodian_member", "author_member"),
        ),
        (MEMBER,),
    ),
}
# Attributes that are equal for whoever is a party of that kind; {name} is the term it reads.
_EQUAL: Mapping[str, tuple[str, str]] = {
    "record_owner": ("principal.key", "resource.owner"),
    "creator": ("principal.key", "resource.creator"),
    "key_holder": ("principal.key", "resource.terms.{key}"),
    "the_member": ("principal.member", "resource.terms.{member}"),
    **dict.fromkeys(
        ("custodian_member", "custodian_staff"), ("principal.member", "resource.custodian")
    ),
    **dict.fromkeys(("author_member", "author_staff"), ("principal.member", "resource.author")),
}


def sorts_of(party: Party) -> tuple[str, ...]:
    """Return what may be a party of that kind; anything, for a kind that implies nothing."""
    return _SORTS_OF.get(party.kind, SORTS)


def equal_attributes(party: Party) -> tuple[str, str] | None:
    """Return the two attributes that are equal for whoever is this party, if its kind says so."""
    found = _EQUAL.get(party.kind)
    return None if found is None else (found[0], found[1].format_map(party.terms))
