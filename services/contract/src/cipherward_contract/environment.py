"""What the expressions of a transition may name, made only as far as it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cipherward_chain.canonical import NotCanonical, Value
from cipherward_chain.domains import ceremony_seed
from cipherward_chain.group_keys import OPENING, RECORD, GroupKeyEntry, group_key_key
from cipherward_contract.actors import Actor
from cipherward_contract.blocks import Block
from cipherward_contract.ceremonies.shared_keys import guardians_of
from cipherward_contract.ceremonies.speaking import described
from cipherward_contract.entries import KEY, Instance, Record, Registration, pseudonym_key
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.templates.expressions import Expression, NothingThere
from cipherward_contract.templates.values import Values


class Environment(dict[str, Mapping[str, Value]]):
    """The roots of the expressions of one transition; the rarer ones are made when first named."""

    __slots__ = ("_late",)

    def __init__(
        self,
        present: Mapping[str, Mapping[str, Value]],
        late: Mapping[str, Callable[[], Mapping[str, Value]]],
    ) -> None:
        super().__init__(present)
        self._late = late

    def __missing__(self, root: str) -> Mapping[str, Value]:
        found = self[root] = self._late[root]()
        return found


def environment_of(
    block: Block,
    about: tuple[Instance, Record | None],
    actor: Actor,
    values: tuple[Values, Values],
) -> Environment:
    """Return what a transition of an instance may name.

    Args:
        about: the instance and its record.
        values: the transition's arguments, and the instance's variables; the latter are read when
            they are named, so what `sets` has set before is seen.
    """
    instance, record = about
    arguments, variables = values
    terms = instance.origin.terms
    late: dict[str, Callable[[], Mapping[str, Value]]] = {
        "block": lambda: {
            "time": block.now,
            "seed": ceremony_seed(block.rules.chain_id, block.height, instance.id),
        },
        "registry": lambda: {"next_index": block.rules.next_index},
        "parameters": lambda: {
            "data_set_releases_max": block.rules.data_set_releases_max,
            "data_set_rho_max": block.rules.data_set_rho_max,
        },
        "subject": lambda: _subject(block, terms, variables),
        "ceremony": lambda: described(block, instance.id, terms),
    }
    if record is not None:
        late["record"] = lambda: _record(block, record)
    return Environment(
        {
            "terms": terms,
            "arguments": arguments,
            "variables": variables,
            "actor": {
                "key": actor.key,
                "member": actor.member,
                "pseudonym": actor.pseudonym,
                "scope": actor.scope,
                "role": actor.role,
            },
            "instance": {"id": instance.id},
        },
        late,
    )


def evaluate(expression: Expression, environment: Environment) -> Value:
    """Return the value of an expression, or refuse."""
    try:
        return expression.evaluate(environment)
    except (NothingThere, NotCanonical) as error:
        raise Refused(Reason.NOT_RECORDED, f"the contract has not recorded {error}") from error


def _record(block: Block, record: Record) -> Mapping[str, Value]:
    anchor = record.parsed()
    guardians: tuple[str, ...] = ()
    if anchor.key_epoch:
        raw = block.state.get(group_key_key(RECORD, anchor.key_epoch))
        guardians = () if raw is None else guardians_of(raw, block.rules.active_ids)
    return {
        **record.described(),
        "guardians": list(guardians),
        "members": sorted({*guardians, anchor.custodian}),
    }


def _subject(block: Block, terms: Values, variables: Values) -> Mapping[str, Value]:
    """Return what can be opened of whoever the contract names; refuse if nothing can."""
    scope = terms.get("scope", variables.get("subject_scope"))
    pseudonym = terms.get("pseudonym", variables.get("subject_pseudonym"))
    if not isinstance(scope, str) or not isinstance(pseudonym, bytes):
        raise Refused(Reason.NOT_RECORDED, "the contract names nobody")
    key = block.state.get(pseudonym_key(scope, pseudonym))
    raw = None if key is None else block.state.get(KEY + key)
    found = None if raw is None else Registration.from_bytes(raw)
    shared = None
    if found is not None and found.opening:
        shared = block.state.get(group_key_key(OPENING, found.opening_epoch))
    if found is None or shared is None:
        raise Refused(Reason.NOT_RECORDED, "nothing can be opened of that pseudonym")
    entry = GroupKeyEntry.from_bytes(shared)
    return {
        "ciphertext": found.opening,
        "opening_key": entry.public_key,
        "key_epoch": entry.key_epoch,
        "sharing": entry.sharing,
        "threshold": entry.threshold,
        "guardians": list(guardians_of(shared, block.rules.active_ids)),
    }
