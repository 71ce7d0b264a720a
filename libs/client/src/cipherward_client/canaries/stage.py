"""The canaries' people, and the connections that they work over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cipherward_client.canaries.memory import Memory
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.credentials import admit_holder, obtain_credential, register_duty
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.wallet.scopes import PATIENT, STAFF
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.tls import Presented


@dataclass(frozen=True, slots=True)
class Files:
    """Where the alliance's files and the member's key lie, and what the member's systems show."""

    endpoints: Path
    genesis: Path
    member_key: Path
    own: Presented


@dataclass(frozen=True, slots=True)
class Stage:
    """What a round works with.

    hospital: the member's own system, which admits people and puts records. holder: a connection
    without a certificate, as people have; the services do not learn who asks.
    """

    hospital: Hospital
    holder: Alliance
    memory: Memory

    async def cast(self) -> None:
        """Get everybody a credential who has none: at the member's desk, like anybody.

        Raises:
            ClientError: the member's identity service refused, or is away.
        """
        for patient in self.memory.patients:
            await self._enrol(patient, PATIENT)
        await self._enrol(self.memory.clinician, STAFF, role="clinician")

    async def duty(self) -> str:
        """Return the scope in which the clinician acts now, registered.

        Raises:
            ClientError: it could not be.
        """
        return await register_duty(self.holder, self.memory.clinician, self.hospital.member)

    async def _enrol(self, wallet: Wallet, schema: str, *, role: str = "") -> None:
        member = self.hospital.member
        if (schema, member) in wallet.credentials:
            return
        code = next(iter(wallet.pending), "")  # of a run that was cut off
        if not code:
            code = await admit_holder(self.hospital, schema, role=role)
        await obtain_credential(self.holder, wallet, member, code, saved=self.memory.save)


@asynccontextmanager
async def open_stage(files: Files, memory: Memory) -> AsyncGenerator[Stage]:
    """Open fresh connections, as a command of a person does; a round's end closes them.

    Raises:
        ClientError: a file is missing, damaged, or of another chain.
    """
    with explaining():
        seed = await asyncio.to_thread(files.member_key.read_bytes)
    async with (
        Alliance.open(files.endpoints, files.genesis, member_identity=files.own) as own,
        Alliance.open(files.endpoints, files.genesis, home=own.home) as holder,
    ):
        with explaining():
            hospital = Hospital.of(own, seed)
        yield Stage(hospital, holder, memory)
