"""What the canaries must not forget: their wallets, their scenes, and what leaked.

One file, written whole, mode 0600 like a service's keys: whoever has it is a patient without a
disease and a clinician of the member whom no patient has let in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cipherward_chain.canonical import NotCanonical, Value, decode, encode
from cipherward_chain.fields import Fields
from cipherward_client.canaries import spots
from cipherward_client.canaries.scenes import Scenes
from cipherward_client.canaries.spots import Case, Spot
from cipherward_client.wallet.errors import WalletError
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.datafolder import write_atomically
from cipherward_kit.errors import CannotStart

# The records of a scene belong to two people: nothing of one tells about the other's.
PATIENTS = 2


class CanaryMemoryUnusable(CannotStart):
    """The canaries' own file is damaged."""

    exit_status = 61


@dataclass(slots=True)
class Memory:
    """The canaries' people and what they have done."""

    path: Path
    patients: tuple[Wallet, ...] = field(repr=False)
    clinician: Wallet = field(repr=False)
    scenes: Scenes | None = None
    leaking: tuple[Spot, ...] = ()

    @classmethod
    def load(cls, path: Path, chain_id: str) -> Memory:
        """Return what the file at `path` holds, or a new memory if there is none.

        Raises:
            CanaryMemoryUnusable: the file is damaged, or of another chain.
        """
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            patients = tuple(Wallet.create(chain_id) for _ in range(PATIENTS))
            return cls(path, patients, Wallet.create(chain_id))
        except OSError as error:
            raise CanaryMemoryUnusable(f"{path} cannot be read: {error.strerror}") from None
        try:
            found = _parse(path, raw)
            for wallet in found.wallets:
                if wallet.chain_id != chain_id:  # the folder is held to the genesis, too
                    raise ValueError(f"it is of {wallet.chain_id}, not of {chain_id}")
        except (NotCanonical, WalletError, ValueError) as error:
            raise CanaryMemoryUnusable(
                f"{path} is damaged ({error}); remove it, and the canaries begin anew"
            ) from None
        return found

    @property
    def wallets(self) -> Iterator[Wallet]:
        """All wallets."""
        yield from self.patients
        yield self.clinician

    async def save(self) -> None:
        """Write everything now."""
        await asyncio.to_thread(write_atomically, self.path, self._to_bytes())

    def left_over(self) -> list[tuple[Wallet, bytes]]:
        """Return (owner, record) of the records that no scene is about any more."""
        used = self.scenes.records if self.scenes else frozenset[bytes]()
        return [
            (patient, record_id)
            for patient in self.patients
            for record_id in patient.records
            if record_id not in used
        ]

    def _to_bytes(self) -> bytes:
        leaking: list[Value] = [[str(path), str(case)] for path, case in self.leaking]
        return encode(
            {
                "patients": [patient.to_bytes() for patient in self.patients],
                "clinician": self.clinician.to_bytes(),
                "scenes": [] if self.scenes is None else [self.scenes.to_value()],
                "leaking": leaking,
            }
        )


def _parse(path: Path, raw: bytes) -> Memory:
    fields = Fields(decode(raw))
    scenes = [Scenes.from_value(value) for value in fields.items("scenes")]
    found = Memory(
        path,
        tuple(Wallet.from_bytes(_octets(value)) for value in fields.items("patients")),
        Wallet.from_bytes(fields.octets("clinician")),
        scenes[0] if scenes else None,
        tuple(_spot(value) for value in fields.items("leaking")),
    )
    fields.end()
    if len(found.patients) != PATIENTS:
        raise NotCanonical(f"there are {PATIENTS} patients")
    return found


def _octets(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise NotCanonical("not octets")
    return value


def _spot(value: Value) -> Spot:
    match value:
        case [str(path), str(case)]:
            return Spot(spots.Path(path), Case(case))
        case _:
            raise NotCanonical("a spot is a path and a case")
