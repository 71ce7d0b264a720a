"""What the executing thread has in memory of the committed state, and how it is loaded."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from cipherward_contract.chain_rules import ChainRules
from cipherward_contract.errors import StateCorrupt, StateOfAnotherGenesis
from cipherward_contract.state import State
from cipherward_contract.store import Head, StoredState, all_pairs, load_head
from cipherward_contract.tree import StateTree


@dataclass(slots=True)
class Loaded:
    """The committed block, its rules, and the tree over its pairs."""

    head: Head
    rules: ChainRules
    tree: StateTree


def load_state(connection: sqlite3.Connection, genesis_digest: bytes) -> Loaded | None:
    """Return the committed state with its tree rebuilt, or None before InitChain.

    Raises:
        StateCorrupt: the pairs do not have the committed root.
        StateOfAnotherGenesis: it was begun with another genesis.
    """
    head = load_head(connection)
    if head is None:
        return None
    if head.genesis_digest != genesis_digest:
        raise StateOfAnotherGenesis(
            "the stored state is of another genesis than the one configured; "
            "give the genesis file that this chain was begun with, or another data folder"
        )
    tree = tree_with_root(connection, head.app_hash, head.height)
    return Loaded(head, committed_rules(connection), tree)


def tree_with_root(connection: sqlite3.Connection, app_hash: bytes, height: int) -> StateTree:
    """Return the tree over every stored pair, or raise `StateCorrupt` if it has another root."""
    try:
        tree = StateTree(all_pairs(connection))
    except sqlite3.DatabaseError:
        raise StateCorrupt.at(height) from None
    if tree.root != app_hash:
        raise StateCorrupt.at(height)
    return tree


def committed_rules(connection: sqlite3.Connection) -> ChainRules:
    """Return the rules of a committed state."""
    rules = ChainRules.load(State(StoredState(connection)))
    assert rules is not None  # a state with a committed root has its parameters
    return rules
