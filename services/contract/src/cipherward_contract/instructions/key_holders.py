"""Which data keys are ready, who holds one now, and whether what is said of one is so."""

from __future__ import annotations

from cipherward_chain.fields import Fields
from cipherward_chain.key_holders import KeyHolders, key_holders_key
from cipherward_contract.blocks import Block
from cipherward_contract.entries import Instance
from cipherward_contract.instructions.depending import KEY_ENDED
from cipherward_contract.instructions.kinds import Move
from cipherward_contract.refusals import Reason, Refused

TEMPLATE, READY = "data-key", "ready"


def ready_key(block: Block, source: bytes) -> Instance:
    """Return the contract of a data key that is ready, or refuse."""
    if block.standing(source) != (TEMPLATE, READY):
        raise key_refused("key-ready: there is no data key of that id that is ready")
    return block.instance(source)


def require_so(key: Instance, said: Fields) -> None:
    """Refuse what is said of a key, besides who holds it, unless it is as its contract has it."""
    terms = Fields(key.origin.terms)
    if said.text("data_set") != terms.text("data_set"):
        raise key_refused("key-data-set: the key is for another data set")
    if said.integer("minimum") < terms.integer("minimum"):
        raise key_refused("key-minimum: the key asks for more patients in a cell")
    if said.integer("releases_max") != terms.integer("releases_max"):
        raise key_refused("key-quota: the key allows another number of releases")
    if said.octets("key_digest") != key.variables.get("key_digest"):
        raise key_refused("key-digest: that is another public key")


def holders_of(block: Block, key: Instance) -> KeyHolders:
    """Return who holds a key: the members that made it, until it is handed over."""
    raw = block.state.get(key_holders_key(key.id))
    if raw is not None:
        return KeyHolders.from_bytes(raw)
    terms = Fields(key.origin.terms)
    return KeyHolders(terms.texts("members"), terms.integer("threshold"))


def end_sharing(block: Block, source: bytes) -> tuple[Move, ...]:
    """Forget to whom a key that ends was handed over; return the end of the contract that did it.

    Its members hold the key's shares by that contract alone: they hear of the end by its order.
    """
    raw = block.state.get(key_holders_key(source))
    if raw is None:
        return ()
    block.state.delete(key_holders_key(source))
    return (Move(KeyHolders.from_bytes(raw).sharing, KEY_ENDED),)


def key_refused(rule: str) -> Refused:
    """Return the refusal by a rule of data keys: its name, a colon, and what is wrong."""
    return Refused(Reason.KEY_REFUSED, rule)
