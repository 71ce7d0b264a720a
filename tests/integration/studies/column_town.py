"""A running alliance whose hospitals store columns under a data key, and a hospital's patients.

The first patients go to two hospitals, the others to the treating one alone. Nobody learns who is
at both.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cipherward_client.alliance.running import RunningAlliance, running_alliance
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.contributions import contribute_rows
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.data_keys import (
    DataKeyRequest,
    propose_data_key,
    show_data_key,
    vote_data_key,
)
from cipherward_client.sdk.enrolment import enrol
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.sdk.opt_outs import link_references
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.columns import ColumnText

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
TREATING, OTHER = MEMBERS[:2]
VARIABLES: list[dict[str, Any]] = [
    {"name": "age", "low": 0, "high": 120, "unit": "a"},
    {"name": "bmi", "low": 10, "high": 80, "unit": "kg/m2"},
]
TEXT = ColumnText.from_document(
    {"data_set": "cohort-1", "variables": [VARIABLES[0], VARIABLES[1] | {"fraction_bits": 4}]}
)
NAMES = ("age [a]", "bmi [kg/m2]")
PATIENTS, COMMON = 13, 11  # one more than the least that a result may be of go to both hospitals
TREATING_BMI = 25.0  # of everybody, as the treating hospital has it
ENROL_SECONDS = 10  # ahead of the proposal's block; the key takes longer
KEY_SECONDS = 400.0  # some 20 seconds on a machine that is free
Rows = NDArray[np.float64]


@dataclass
class ColumnTown:
    """A running alliance with a data key that is ready, and who is in it.

    references: of the treating hospital's patients. ages: theirs. bmi: of those common to both
    hospitals, as the other one has it.
    """

    running: RunningAlliance
    alliance: Alliance
    hospitals: dict[str, Hospital]
    data_key: bytes
    references: list[bytes]
    ages: Rows
    bmi: Rows

    @property
    def folder(self) -> Path:
        """The alliance's folder."""
        return self.running.folder.root

    @property
    def treating(self) -> Hospital:
        """The hospital whose patients they are."""
        return self.hospitals[TREATING]


async def _patient(
    alliance: Alliance, hospitals: dict[str, Hospital], key: bytes, known: dict[str, bytes]
) -> None:
    """Let a patient enrol at its hospitals, which know by which names its rows go."""
    wallet = Wallet.create(alliance.chain_id)
    code = await admit_holder(hospitals[TREATING], "patient")
    await obtain_credential(alliance, wallet, TREATING, code)
    for member, reference in known.items():
        taken = await enrol(alliance, wallet, key, member)
        await link_references(hospitals[member], taken.care_pseudonym, [reference])


async def _until_ready(hospital: Hospital, data_key: bytes) -> None:
    async with asyncio.timeout(KEY_SECONDS):
        while (state := (await show_data_key(hospital, data_key)).state) != "ready":
            assert state not in ("failed", "rejected", "withdrawn"), state
            await asyncio.sleep(0.5)


@asynccontextmanager
async def column_town(root: Path) -> AsyncGenerator[ColumnTown]:
    """Run an alliance in a folder, with a data key whose columns are ready."""
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_alliance(root))
        opened = Alliance.open(running.folder.endpoints_file, running.folder.genesis_file)
        alliance = await stack.enter_async_context(opened)
        hospitals = {
            member: await stack.enter_async_context(open_hospital(running.folder, member))
            for member in MEMBERS
        }
        numbers = np.random.default_rng(3)
        ages = numbers.integers(20, 90, PATIENTS).astype(np.float64)
        bmi = numbers.integers(18 * 16, 40 * 16, COMMON).astype(np.float64) / 16
        here = [secrets.token_bytes(16) for _ in range(PATIENTS)]
        there, stranger = (
            [secrets.token_bytes(16) for _ in range(COMMON)],
            [secrets.token_bytes(16)],
        )
        tables = {
            TREATING: (np.column_stack([ages, np.full(PATIENTS, TREATING_BMI)]), here),
            OTHER: (np.column_stack([ages[:COMMON], bmi]), there),
            "hospital-c": (np.array([[50.0, 22.0]]), stranger),
            "hospital-d": (np.array([[60.0, 23.0]]), stranger),
        }
        for member, (rows, references) in tables.items():
            await contribute_rows(
                hospitals[member], TEXT.data_set, NAMES, rows, references=references
            )
        request = DataKeyRequest(TEXT, 2026, enrol_seconds=ENROL_SECONDS)
        data_key = (await propose_data_key(hospitals[TREATING], request)).data_key
        for place, reference in enumerate(here):
            known = {TREATING: reference}
            if place < COMMON:
                known[OTHER] = there[place]
            await _patient(alliance, hospitals, data_key, known)
        for member in MEMBERS[:3]:
            await vote_data_key(hospitals[member], data_key)
        await _until_ready(hospitals[TREATING], data_key)
        yield ColumnTown(running, alliance, hospitals, data_key, here, ages, bmi)
