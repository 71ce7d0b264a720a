"""A study of stored columns over real processes: from the data key to what the researcher reads.

Two of four hospitals hold what is multiplied, of patients whom both know. No hospital computes in
the clear; who is at both, nobody learns.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from cipherward_chain.canonical import decode_map
from cipherward_chain.fields import Fields
from cipherward_client.alliance.running import running_alliance
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.contract_reads import failure_of, read_contract
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
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.studies import fetch_result, propose_study, vote, watch_study
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.analyses.product_sum import ProductSumResult
from cipherward_studies.columns import ColumnText
from cipherward_studies.spec import Draft

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
VARIABLES: list[dict[str, Any]] = [
    {"name": "age", "low": 0, "high": 120, "unit": "a"},
    {"name": "bmi", "low": 10, "high": 80, "unit": "kg/m2"},
]
TEXT = ColumnText.from_document(
    {"data_set": "cohort-1", "variables": [VARIABLES[0], VARIABLES[1] | {"fraction_bits": 4}]}
)
COMMON, ALONE = 11, 2  # patients of both hospitals; of the first alone
ENROL_SECONDS = 10  # ahead of the proposal's block; the key takes longer
KEY_SECONDS = 400.0  # some 20 seconds on a machine that is free
STUDY_SECONDS = 120.0
Rows = NDArray[np.float64]


@dataclass
class Town:
    """A running alliance, one of whose hospitals' patients go to another one too."""

    alliance: Alliance
    hospitals: dict[str, Hospital]
    researcher: Wallet
    ages: Rows
    bmi: Rows

    async def until_ready(self, data_key: bytes) -> None:
        """Wait until the members have made the key and checked the columns."""
        async with asyncio.timeout(KEY_SECONDS):
            while (await show_data_key(self.hospitals["hospital-a"], data_key)).state != "ready":
                state = (await show_data_key(self.hospitals["hospital-a"], data_key)).state
                assert state not in ("failed", "rejected", "withdrawn"), state
                await asyncio.sleep(1.0)

    async def patient(self, data_key: bytes, references: dict[str, bytes]) -> None:
        """Let a patient enrol at its hospitals, which know by which names its rows go."""
        wallet = Wallet.create(self.alliance.chain_id)
        code = await admit_holder(self.hospitals["hospital-a"], "patient")
        await obtain_credential(self.alliance, wallet, "hospital-a", code)
        for member, reference in references.items():
            taken = await enrol(self.alliance, wallet, data_key, member)
            await link_references(self.hospitals[member], taken.care_pseudonym, [reference])

    async def key_digest(self, data_key: bytes) -> bytes:
        """Return the digest of the key, as its members tell it."""
        asker = Asker.member(self.hospitals["hospital-a"])
        contract = await read_contract(asker, data_key)
        return Fields(decode_map(contract.variables)).octets("key_digest", length=32)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Town]:
    root = tmp_path_factory.mktemp("column-study")
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_alliance(root))
        opened = Alliance.open(running.folder.endpoints_file, running.folder.genesis_file)
        alliance = await stack.enter_async_context(opened)
        hospitals = {
            member: await stack.enter_async_context(open_hospital(running.folder, member))
            for member in MEMBERS
        }
        wallet = Wallet.create(alliance.chain_id)
        code = await admit_holder(hospitals["hospital-b"], "staff", role="researcher")
        await obtain_credential(alliance, wallet, "hospital-b", code)
        numbers = np.random.default_rng(3)
        ages = numbers.integers(20, 90, COMMON + ALONE).astype(np.float64)
        bmi = numbers.integers(18 * 16, 40 * 16, COMMON).astype(np.float64) / 16
        yield Town(alliance, hospitals, wallet, ages, bmi)


async def enrolled(town: Town, data_key: bytes) -> None:
    """Let the hospitals have rows of their patients, and the patients enrol."""
    at_a = [secrets.token_bytes(16) for _ in town.ages]
    at_b = [secrets.token_bytes(16) for _ in town.bmi]
    stranger = [secrets.token_bytes(16)]
    names = ("age [a]", "bmi [kg/m2]")
    tables = {
        "hospital-a": (np.column_stack([town.ages, np.full(len(town.ages), 25.0)]), at_a),
        "hospital-b": (np.column_stack([town.ages[:COMMON], town.bmi]), at_b),
        "hospital-c": (np.array([[50.0, 22.0]]), stranger),
        "hospital-d": (np.array([[60.0, 23.0]]), stranger),
    }
    for member, (rows, references) in tables.items():
        await contribute_rows(
            town.hospitals[member], TEXT.data_set, names, rows, references=references
        )
    for place, reference in enumerate(at_a):
        known = {"hospital-a": reference}
        if place < COMMON:
            known["hospital-b"] = at_b[place]
        await town.patient(data_key, known)


async def test_two_hospitals_columns_are_multiplied_over_the_patients_of_both(town: Town) -> None:
    request = DataKeyRequest(TEXT, 2026, enrol_seconds=ENROL_SECONDS)
    data_key = (await propose_data_key(town.hospitals["hospital-a"], request)).data_key
    await enrolled(town, data_key)
    for member in MEMBERS[:3]:
        await vote_data_key(town.hospitals[member], data_key)
    await town.until_ready(data_key)

    draft = Draft.from_document(
        {
            "data_set": TEXT.data_set,
            "variables": VARIABLES,
            "analyses": [
                {
                    "kind": "product_sum",
                    "x": {"variable": "age", "at": "hospital-a"},
                    "y": {"variable": "bmi", "at": "hospital-b", "fraction_bits": 4},
                }
            ],
            "profile": "product-1",
            "data_key": {
                "id": data_key.hex(),
                "key_digest": (await town.key_digest(data_key)).hex(),
                "releases_max": request.releases_max,
            },
        }
    )
    wanted = replace(PermitRequest.for_study(draft), releases_max=10)
    permit = (await apply_for_permit(town.alliance, town.researcher, wanted)).permit_id
    for member in MEMBERS[:3]:
        await vote_permit(town.hospitals[member], permit)
    study = (await propose_study(town.alliance, town.researcher, draft, permit)).study_id
    for member in MEMBERS[:3]:
        await vote(town.hospitals[member], study)
    async with asyncio.timeout(STUDY_SECONDS):
        last = [step async for step in watch_study(town.alliance, town.researcher, study)][-1]
    assert (last.stage, last.failure) == ("released", "")

    answer = (await fetch_result(town.alliance, town.researcher, study)).answer
    (found,) = answer.results
    assert isinstance(found, ProductSumResult)
    ages = town.ages[:COMMON]
    assert (found.patients, found.sum_x, found.sum_y) == (COMMON, ages.sum(), town.bmi.sum())
    assert found.product_sum == (ages * town.bmi).sum()

    # The same two columns are one ciphertext, and that was released.
    again = (await propose_study(town.alliance, town.researcher, draft, permit)).study_id
    for member in MEMBERS[:3]:
        await vote(town.hospitals[member], again)
    async with asyncio.timeout(STUDY_SECONDS):
        last = [step async for step in watch_study(town.alliance, town.researcher, again)][-1]
    assert last.stage == "failed"
    asker = Asker(town.alliance, town.researcher.signer(town.researcher.study(again).scope))
    assert failure_of(await read_contract(asker, again)) == "DIGEST_RELEASED"
