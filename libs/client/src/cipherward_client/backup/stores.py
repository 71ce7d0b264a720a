"""What a member's stores are, and which files of a service's data folder belong to each.

A closed list: what is not named here is in no archive, and neither keys/ nor tls/ can be named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final

from cipherward_client.backup.errors import SlotKeysApart, StoreUnknown

IDENTITY, STORAGE, COMPUTE = "identity", "storage", "compute"
CHAIN: Final = "chain"  # ledger and contract, from one moment or not at all
SLOT_KEYS: Final = "slot-keys"

LEDGER_DATABASE, CONTRACT_DATABASE = "ledger.sqlite", "state.db"


@dataclass(frozen=True, slots=True)
class Part:
    """What a store has in one service's data folder.

    database: the SQLite file, or "". files: what is copied after it, if it is there: written
    before the database's own change, so a later copy fits. trees: folders, with all files in them.
    """

    service: str
    database: str = ""
    files: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()

    def holds(self, path: PurePosixPath) -> bool:
        """Say whether a path below the service's folder belongs to this part."""
        if len(path.parts) == 1:
            return path.name in (self.database, *self.files)
        return path.parts[0] in self.trees


_REGISTRY = "registry.json"
STORES: Mapping[str, tuple[Part, ...]] = MappingProxyType(
    {
        IDENTITY: (Part("identity", "identity.db", (_REGISTRY,)),),
        STORAGE: (Part("storage", "storage.sqlite", (_REGISTRY, "instance"), ("bodies",)),),
        COMPUTE: (Part("compute", "compute.db", (_REGISTRY,)),),
        # Contract before ledger: its snapshot is taken first, so the ledger never is behind it.
        CHAIN: (Part("contract", CONTRACT_DATABASE), Part("ledger", LEDGER_DATABASE)),
        SLOT_KEYS: (Part("storage", trees=("slot-keys",)),),
    }
)
KEYS_TREE: Final = STORES[SLOT_KEYS][0].trees[0]
FOLLOWING: Final = (IDENTITY, STORAGE, COMPUTE)  # those that follow the chain


def parts_of(stores: Sequence[str]) -> list[Part]:
    """Return the parts of stores, those that follow the chain before the chain itself.

    Raises:
        StoreUnknown: there is none of that name.
        SlotKeysApart: slot keys are named together with others.
    """
    for store in stores:
        if store not in STORES:
            raise StoreUnknown(store)
    if SLOT_KEYS in stores and len(set(stores)) > 1:
        raise SlotKeysApart(", ".join(sorted(set(stores))))
    return [part for store in STORES if store in stores for part in STORES[store]]
