"""What instructions do to the state itself, by name; all others are only ordered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cipherward_chain.canonical import encode
from tests.reference.dependents import NOTHING, STUDY_EFFECTS, Begun, Done, Effect
from tests.reference.resharings import COMPLETIONS, RESHARING_EFFECTS
from tests.reference.templates import Document
from tests.reference.values import certificates, in_order, one_by_one
from tests.reference.world import Actor, Refusal, World

OPENING_SECONDS = 604_800  # to vote on an opening that a contract begins, and to answer it
NOTICE_BLOCKS = 10

# The argument that names who carries an order out.
EXECUTORS = {
    "release_key": "custodian",
    "revoke_key": "custodian",
    "cut_transfers": "custodian",
    "erase_record": "members",
    "fix_columns": "members",
    "run_key_ceremony": "members",
    "start_study": "members",
    "release_counts": "members",
    "release_result": "set",
    "reshare_key": "members",
    "retire_key": "members",
    "open_identity": "guardians",
}
# What a contract waits for the reports of.
STEPS = {
    "erase_record",
    "fix_columns",
    "run_key_ceremony",
    "start_study",
    "release_counts",
    "release_result",
    "reshare_key",
    "open_identity",
}


def carry_out(world: World, instance: bytes, actor: Actor, given: tuple[str, Document]) -> Done:
    """Carry an instruction (name, arguments) of an instance out, or refuse."""
    name, arguments = given
    effect = _EFFECTS.get(name)
    return Done() if effect is None else effect(world, instance, actor, arguments)


def completed(world: World, name: str, arguments: Document) -> Document:
    """Return all that an order says: what its template gives, and what the state adds."""
    added = COMPLETIONS.get(name)
    return {**arguments, **added(world, arguments)} if added else arguments


def obstacle(world: World, arguments: Document) -> str:
    """Say why a budget cannot be spent, or ""."""
    too_much = arguments["amount"] and _spent_then(world, arguments) > arguments["limit"]
    return "BUDGET_SPENT" if too_much else ""


def _spent_then(world: World, arguments: Document) -> int:
    before = world.get(b"budget/" + arguments["budget"].encode())
    return (before["spent"] if before else 0) + arguments["amount"]


def _spend(world: World, _: bytes, __: Actor, arguments: Document) -> Done:
    if obstacle(world, arguments):
        raise Refusal("BUDGET_SPENT")
    if not arguments["amount"]:
        return NOTHING
    spent = _spent_then(world, arguments)
    world.put(b"budget/" + arguments["budget"].encode(), {"spent": spent})
    return Done()


def _index_only(*_: object) -> Done:
    return NOTHING


def _release(world: World, _: bytes, __: Actor, arguments: Document) -> Done:
    if not arguments["reader"]:
        raise Refusal("KEY_REQUIRED")
    if arguments["custodian"] not in world.members():
        raise Refusal("MEMBER_NOT_IN_REGISTRY")
    if world.erased(arguments["record"]):
        raise Refusal("RECORD_ERASED")
    return Done()


def _erase(world: World, _: bytes, __: Actor, arguments: Document) -> Done:
    if world.erased(arguments["record"]):
        raise Refusal("RECORD_ERASED")
    world.put(b"erased/" + arguments["record"], {"height": world.height})
    return Done()


def _suspend(world: World, _: bytes, __: Actor, arguments: Document) -> Done:
    key = suspended_key(arguments["scope"], arguments["pseudonym"])
    before = world.get(key)
    until = max(world.now + arguments["seconds"], before["until"] if before else 0)
    world.put(key, {"until": until})
    return Done()


def suspended_key(scope: str, pseudonym: bytes) -> bytes:
    """Return the key of a suspended pseudonym."""
    return b"suspended/" + scope.encode() + b"/" + pseudonym


def _begin_opening(world: World, instance: bytes, _: Actor, arguments: Document) -> Done:
    recipient = world.members().get(arguments["recipient"])
    if recipient is None:
        return NOTHING
    version = world.newest("opening")
    terms = {
        "scope": arguments["scope"],
        "pseudonym": arguments["pseudonym"],
        "ground": arguments["ground"],
        "recipient": arguments["recipient"],
        "recipient_key": recipient["custodian_public_key"],
        "vote_seconds": OPENING_SECONDS,
        "answer_seconds": OPENING_SECONDS,
    }
    if not in_order(world, world.template("opening", version)["terms"], terms):
        return NOTHING
    place = world.height.to_bytes(8, "big") + len(world.orders).to_bytes(4, "big")
    octets = b"cipherward/begun-contract/v1\0" + instance + place
    begun = Begun(hashlib.sha256(octets).digest()[:16], ("opening", version, encode(terms)))
    return Done(begins=(begun,))


def _register_template(world: World, _: bytes, __: Actor, arguments: Document) -> Done:
    document = world.pairs.pop(b"proposal/" + arguments["digest"], None)
    if document is None:
        return NOTHING
    found = next(place for place, known in world.templates.items() if encode(known) == document)
    place = f"{found[0]}/{found[1]}".encode()
    if b"template/" + place in world.pairs:
        return NOTHING
    world.pairs[b"template/" + place] = document
    delay = world.get(b"parameters")["template_delay_seconds"]
    world.put(b"active/" + place, {"from": world.now + delay})
    return Done()


def _remove_member(world: World, _: bytes, __: Actor, arguments: Document) -> Done:
    name = arguments["member"]
    entry = world.members().get(name)
    if entry is None:
        return NOTHING
    _require_others(world, name, entry)
    world.drop(b"member/" + name.encode())
    world.pairs[b"gone/id/" + name.encode()] = b"\x01"
    keys = [entry["public_key"], entry["custodian_public_key"]]
    keys += [one.encode() for one in one_by_one(entry["ca_certificate"])]
    keys += [key for key in (entry["consensus_public_key"], entry["node_id"]) if key]
    for key in (*keys, *entry["issuers"]):
        world.pairs[b"gone/key/" + hashlib.sha256(key).digest()] = b"\x01"
    for key in entry["issuers"]:
        world.drop(b"issuer/" + key)
    return Done()


def _set_authorities(world: World, _: bytes, __: Actor, arguments: Document) -> Done:
    name, wanted = arguments["member"], arguments["authorities"]
    entry = world.members().get(name)
    if entry is None or entry["ca_certificate"] == wanted:
        return NOTHING
    known = {one: certificates(found["ca_certificate"]) for one, found in world.members().items()}
    others = [each for one, found in known.items() if one != name for each in found]
    new = certificates(wanted)
    gone = (hashlib.sha256(one.encode()).digest() for one in one_by_one(wanted))
    if (
        entry["suspended"]
        or not set(new) & set(known[name])
        or {one.subject for one in new} & {one.subject for one in others}
        or any(b"gone/key/" + one in world.pairs for one in gone)
    ):
        raise Refusal("REGISTRATION_REFUSED")
    world.put(b"member/" + name.encode(), {**entry, "ca_certificate": wanted})
    return Done()


def _suspend_member(world: World, _: bytes, __: Actor, arguments: Document) -> Done:
    name = arguments["member"]
    entry = world.members().get(name)
    if entry is None:
        return NOTHING
    if entry["suspended"]:
        raise Refusal("REMOVAL_REFUSED")  # the end of the one would be the end of the other
    _require_others(world, name, entry)
    world.put(b"member/" + name.encode(), {**entry, "suspended": True})
    return Done()


def _reinstate_member(world: World, _: bytes, __: Actor, arguments: Document) -> Done:
    entry = world.members().get(arguments["member"])
    if entry is None or not entry["suspended"]:
        return NOTHING
    world.put(b"member/" + arguments["member"].encode(), {**entry, "suspended": False})
    return Done()


def _require_others(world: World, name: str, entry: Document) -> None:
    """Somebody must be left to make blocks."""
    left = [one for other, one in world.members().items() if other != name]
    power = entry["power"] and not entry["suspended"]
    if power and not any(one["power"] and not one["suspended"] for one in left):
        raise Refusal("REMOVAL_REFUSED")


def _set_version(world: World, _: bytes, __: Actor, arguments: Document) -> Done:
    rules = world.get(b"parameters")
    if rules["upgrade"]:
        if rules["upgrade"][1] > world.height:
            raise Refusal("UPGRADE_REFUSED")
        rules = {**rules, "machine_version": rules["upgrade"][0]}
    next_one = arguments["version"] == rules["machine_version"] + 1
    if not next_one or arguments["height"] < world.height + NOTICE_BLOCKS:
        raise Refusal("UPGRADE_REFUSED")
    world.put(b"parameters", {**rules, "upgrade": [arguments["version"], arguments["height"]]})
    return Done()


_EFFECTS: Mapping[str, Effect] = {
    **STUDY_EFFECTS,
    **RESHARING_EFFECTS,
    "begin_opening": _begin_opening,
    "disclose": _index_only,
    "erase_record": _erase,
    "notify": _index_only,
    "register_template": _register_template,
    "reinstate_member": _reinstate_member,
    "release_key": _release,
    "remove_member": _remove_member,
    "require_review": _index_only,
    "set_authorities": _set_authorities,
    "set_machine_version": _set_version,
    "spend_budget": _spend,
    "suspend": _suspend,
    "suspend_member": _suspend_member,
}
