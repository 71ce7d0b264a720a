"""Which parties of an instance somebody is: what policies are told, and who may read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cipherward_chain.canonical import Value
from cipherward_contract.actors import STAFF, Actor
from cipherward_contract.entries import Record
from cipherward_contract.templates.document import Party, Template
from cipherward_contract.templates.values import Values, member_list


@dataclass(frozen=True, slots=True)
class Scene:
    """What parties are judged by: the terms, the creator's key, and the record, if there is one."""

    terms: Values
    creator: bytes
    record: Record | None


def parties_of(template: Template, actor: Actor, scene: Scene) -> list[str]:
    """Return the sorted names of the parties that `actor` is."""
    return [
        name
        for name, party in sorted(template.parties.items())
        if _KINDS[party.kind](party, actor, scene)
    ]


def _record_owner(_: Party, actor: Actor, scene: Scene) -> bool:
    return scene.record is not None and actor.key != b"" and actor.key == scene.record.owner


def _creator(_: Party, actor: Actor, scene: Scene) -> bool:
    return actor.key != b"" and actor.key == scene.creator


def _staff_of(party: Party, actor: Actor, scene: Scene) -> bool:
    """Staff of the member that the terms name; if they name a key, or no member, that one key."""
    member, key = scene.terms[party.terms["member"]], scene.terms[party.terms["key"]]
    if actor.schema != STAFF or (not member and not key):
        return False
    return (not member or actor.member == member) and (not key or actor.key == key)


def _any_member(_: Party, actor: Actor, __: Scene) -> bool:
    return actor.kind == "member"  # whoever acts as a member is in the registry


def _other_member(party: Party, actor: Actor, scene: Scene) -> bool:
    return actor.kind == "member" and actor.member != scene.terms[party.terms["member"]]


def _the_member(party: Party, actor: Actor, scene: Scene) -> bool:
    return actor.kind == "member" and actor.member == scene.terms[party.terms["member"]]


def _member_of(party: Party, actor: Actor, scene: Scene) -> bool:
    return actor.kind == "member" and actor.member in named_members(party, scene.terms)


def _key_holder(party: Party, actor: Actor, scene: Scene) -> bool:
    """Whoever has the key that the terms name, registered in the scope of the record."""
    key = scene.terms[party.terms["key"]]
    if scene.record is None or not key or actor.key != key:
        return False
    return actor.scope == f"record:{scene.record.parsed().record_id.hex()}"


def _any_staff(_: Party, actor: Actor, __: Scene) -> bool:
    return actor.schema == STAFF


def _of_record(schema: str, name: str) -> Callable[[Party, Actor, Scene], bool]:
    """Return the test of a member, or of staff, of the record's custodian or author."""

    def test(_: Party, actor: Actor, scene: Scene) -> bool:
        if (
            scene.record is None
            or actor.schema != schema
            or (not schema and actor.kind != "member")
        ):
            return False
        anchor = scene.record.parsed()
        return actor.member == (anchor.custodian if name == "custodian" else anchor.author)

    return test


def voters_of(party: Party, terms: Values, registry: Iterable[str]) -> list[str]:
    """Return the members that a party lists: those that the terms name, or the registry's now."""
    if party.kind == "any_member":
        return list(registry)
    if party.kind == "other_member":
        return [member for member in registry if member != terms[party.terms["member"]]]
    return named_members(party, terms)


def named_members(party: Party, terms: Values) -> list[str]:
    """Return the members that a party of kind member_of names."""
    value: Value | None = terms.get(party.terms.get("members", ""))
    return member_list(value)


_KINDS: Mapping[str, Callable[[Party, Actor, Scene], bool]] = {
    "record_owner": _record_owner,
    "creator": _creator,
    "staff_of": _staff_of,
    "member_of": _member_of,
    "any_member": _any_member,
    "other_member": _other_member,
    "the_member": _the_member,
    "key_holder": _key_holder,
    "any_staff": _any_staff,
    "custodian_member": _of_record("", "custodian"),
    "author_member": _of_record("", "author"),
    "custodian_staff": _of_record(STAFF, "custodian"),
    "author_staff": _of_record(STAFF, "author"),
}
