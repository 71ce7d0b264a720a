"""Causes at one member: its staff, its studies, its shares, its canaries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Final

import numpy as np

from cipherward_client.research.development import approve_as_all, grant_for
from cipherward_client.sdk.ceremonies import propose_key, vote_on_key
from cipherward_client.sdk.contributions import contribute_rows
from cipherward_client.sdk.emergencies import open_in_emergency
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.studies import propose_study, watch_study
from cipherward_studies.spec import Draft
from tools.alerts.cause import Cause
from tools.alerts.findings import (
    DOCTOR,
    DOCTOR_OF_MEMBER,
    Answer,
    Finding,
    Logged,
    Printed,
    silent,
)
from tools.alerts.world import A, B, C, D, World

PATIENTS: Final = 30
STUDY: Final[dict[str, Any]] = {
    "variables": [{"name": "age", "low": 0, "high": 120, "unit": "a"}],
    "analyses": [{"kind": "moments", "variables": ["age"], "statistics": ["mean"]}],
}
REVEALING: Final = "keying_reveal"  # the state in which members fetch each other's parts
STAGE_SECONDS: Final = 60.0  # it takes some seconds on a machine that is free
# Blocks of a phase: a block comes at least every 3 s here. The stuck ceremony has the usual many.
SHORT_WINDOW: Final = 3
FIRST_KEY: Final = 1  # the epoch of the keys that the alliance began with
REASON: Final = "unconscious"
# Half an hour (a minute here) without a refusal, and a question in vain. One hangs for up to 20 s,
# and the six that other members refuse all the same may be the first that hang: 7 * 20 s.
CUSTODIAN_SECONDS: Final = 150.0


@asynccontextmanager
async def no_canaries(_: World) -> AsyncGenerator[None]:
    """Three of the hospitals have none: nothing is to be done."""
    yield


@asynccontextmanager
async def weakened_template(world: World) -> AsyncGenerator[None]:
    """Run canaries where the template of consents tells no storage about a revocation."""
    await world.ensure_canaries()
    yield


@asynccontextmanager
async def nobody_reviews(world: World) -> AsyncGenerator[None]:
    """Open a record in an emergency, and let the time for its review pass."""
    _, record = await world.record(A)
    suspended = await world.clinician("of whom nobody asks")  # and who opens nothing afterwards
    with suppress(ClientError):  # a visit of a second may be over before anything is fetched
        await open_in_emergency(
            world.alliance, suspended, record, REASON, member=B, visit_seconds=1
        )
    yield


async def approved_study(world: World, data_set: str) -> bytes:
    """Let hospitals give rows, a researcher ask for a study of them, and three approve it."""
    ages = np.random.default_rng(1).integers(20, 90, (PATIENTS, 1)).astype(np.float64)
    for hospital in world.hospitals.values():
        await contribute_rows(hospital, data_set, ("age [a]",), ages)
    researcher = await world.person("researcher", B, "staff", "researcher")
    draft = Draft.from_document(STUDY | {"data_set": data_set})
    permit = await grant_for(world.running.folder, world.alliance, researcher, draft)
    study = (await propose_study(world.alliance, researcher, draft, permit)).study_id
    await world.lay_out("researcher.wallet", researcher)
    world.names["STUDY"] = study.hex()
    await approve_as_all(world.running.folder, (A, B, C), study)
    return study


@asynccontextmanager
async def released_study(world: World) -> AsyncGenerator[None]:
    """Let a study be computed and released: two results, as many as its data set may give."""
    await approved_study(world, "cohort-1")
    document = json.dumps(STUDY | {"data_set": "cohort-1"})
    await asyncio.to_thread((world.desk / "study.json").write_text, document)
    yield


@asynccontextmanager
async def silent_compute(world: World) -> AsyncGenerator[None]:
    """Let one compute service fall silent when the others need its part of a study's key."""
    study = await approved_study(world, "cohort-2")
    async with (
        asyncio.timeout(STAGE_SECONDS),
        aclosing(watch_study(world.alliance, world.hospitals[A], study)) as seen,
    ):
        async for progress in seen:
            if progress.stage == REVEALING:
                break
    with world.frozen(f"{D}/compute"):
        yield


@asynccontextmanager
async def silent_guardians(world: World) -> AsyncGenerator[None]:
    """Renew both keys while guardians are silent: one for a moment, one for too many."""
    with world.frozen(f"{D}/identity", f"{C}/storage", f"{D}/storage"):
        for purpose, window in (("opening", 2_000), ("record", SHORT_WINDOW)):
            proposed = await propose_key(
                world.hospitals[A], purpose, key_epoch=FIRST_KEY, window=window
            )
            for member in (A, B, C):
                with suppress(ClientError):  # the votes before it were enough
                    await vote_on_key(world.hospitals[member], proposed.change_id)
        yield


@asynccontextmanager
async def custodian_away(world: World) -> AsyncGenerator[None]:
    """Open a record whose custodian answers nobody; the canaries ask it, too."""
    await world.ensure_canaries()
    _, record = await world.record(A)
    clinician = await world.clinician()
    with world.frozen(f"{A}/storage"):
        opening = asyncio.create_task(
            open_in_emergency(world.alliance, clinician, record, REASON, member=B)
        )
        try:
            yield
        finally:
            opening.cancel()
            with suppress(asyncio.CancelledError, ClientError):
                await opening


# First of all: nothing but the beginning of the alliance causes it.
SILENCE_CAUSES: Final = (
    Cause(
        "three of four hospitals run no canaries",
        (
            Finding(
                "CipherwardCanariesSilent",
                {"member": B},
                'absent(up{member="hospital-a",component="canary"})',
                Answer(least=1),
            ),
        ),
        no_canaries,
    ),
)
MEMBER_CAUSES: Final = (
    # The first that runs canaries: the template is weak from the beginning, and they find it soon.
    Cause(
        "the template of consents was weakened: a revocation reaches no storage",
        (
            Finding(
                "CipherwardGaveWhatMustBeRefused",
                {"member": A},
                'sum by (path, case) (cipherward_canary_breaches_total{member="hospital-a"}) > 0',
                Answer({"case": "revoked"}),
            ),
            Finding(
                "CipherwardNotReady",
                {"member": A, "component": "storage"},
                "readiness",
                Logged({"condition": "canaries", "ready": False}),
            ),
        ),
        weakened_template,
        120.0,
    ),
    Cause(
        "a record is opened while its custodian's storage is frozen",
        (
            Finding(
                "CipherwardSharesPending",
                {"member": B},
                "shares_of_custodian_put_off",
                Logged({"custodian": A, "why": "slot_away"}),
            ),
            Finding(
                "CipherwardCanaryNotRefusedForTheRightReason",
                {"member": A},
                DOCTOR,
                silent(f"{A}/storage"),
            ),
        ),
        custodian_away,
        CUSTODIAN_SECONDS,
    ),
    Cause(
        "an emergency access is never reviewed",
        (
            Finding(
                "CipherwardReviewOverdue",
                {"member": A},
                "cipherward notices --member hospital-a --alliance DIR",
                Printed({"notices": [{"kind": "review-missed"}]}),
            ),
        ),
        nobody_reviews,
    ),
    Cause(
        "a study spends what its data set may give",
        (
            Finding(
                "CipherwardBudgetNearlySpent",
                {"member": A},
                'cipherward_compute_studies{member="hospital-a",state="released"}',
                Answer(least=1),
            ),
        ),
        released_study,
        120.0,
    ),
    Cause(
        "the compute service of one hospital is frozen (SIGSTOP) while a study's key is made",
        (
            Finding("CipherwardStudyStepStuck", {"member": A}, DOCTOR, silent(f"{D}/compute")),
            Finding(
                "CipherwardTargetDown",
                {"member": D, "component": "compute"},
                DOCTOR_OF_MEMBER,
                Printed(
                    silent(f"{D}/compute").part,
                    lacks={"problems": [{"check": "peers", "where": f"{D}/compute"}]},
                ),
            ),
        ),
        silent_compute,
    ),
    Cause(
        "keys are renewed while guardians are frozen: of one key one, of the other two of four",
        (
            Finding(
                "CipherwardCeremonyStuck", {"purpose": "opening"}, DOCTOR, silent(f"{D}/identity")
            ),
            Finding(
                "CipherwardCeremonyWithoutAShare",
                {"purpose": "record", "outcome": "failed"},
                "ceremony_failed",
                Logged({"purpose": "record", "why": "TOO_FEW_ENROLLED"}),
            ),
        ),
        silent_guardians,
        120.0,
    ),
)
