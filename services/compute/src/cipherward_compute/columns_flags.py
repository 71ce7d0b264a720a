"""Of which slots this member has encrypted a value: kept, because its rows may change afterwards.

Nobody else ever sees it. The first variable of the columns' text says whose patient somebody is.
"""

from __future__ import annotations

import sqlite3

import numpy as np

from cipherward_compute.failures import ColumnsUnverified
from cipherward_compute.store import Write
from cipherward_compute.vault import Vault
from cipherward_kit.database import Database
from cipherward_studies.variables import Mask

PLACE = b"columns/flags"


class OwnFlags:
    """Keeps the flags of this member's patients, sealed."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def kept(self, data_key: bytes, flags: Mask) -> Write:
        """Return the effect of having encrypted these flags, one a slot."""
        sealed = self._vault.seal(np.packbits(flags).tobytes(), PLACE, data_key)
        return lambda connection: connection.execute(
            "INSERT OR REPLACE INTO own_flags VALUES (?, ?)", (data_key, sealed)
        )

    async def find(self, data_key: bytes, slots: int) -> Mask:
        """Return the flags, one a slot.

        Raises:
            ColumnsUnverified: this member has encrypted none.
            VaultCorrupt: they are not what was stored.
        """

        def work(connection: sqlite3.Connection) -> tuple[bytes] | None:
            return connection.execute(
                "SELECT sealed FROM own_flags WHERE study = ?", (data_key,)
            ).fetchone()

        row = await self._database.read(work)
        if row is None:
            raise ColumnsUnverified("this member has encrypted no columns of the data key")
        octets = np.frombuffer(self._vault.open(row[0], PLACE, data_key), dtype=np.uint8)
        return np.unpackbits(octets, count=slots).astype(np.bool_)
