"""What members hand one another for a study, and the researcher, when its permit has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from grpc import aio

from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import ActRefused, ClientError
from cipherward_client.sdk.permits import (
    PermitRequest,
    apply_for_permit,
    revoke_permit,
    vote_permit,
)
from cipherward_client.sdk.studies import (
    contribute_rows,
    fetch_result,
    propose_study,
    vote,
    watch_study,
)
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import eventually
from cipherward_kit.tls import Identity
from cipherward_studies.spec import Draft
from tests.integration.enforcement.paths import CALL_SECONDS, Answer
from tests.integration.enforcement.town import MEMBERS, WAIT_SECONDS, Town

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = ("age", "bmi")
STUDY = Draft.from_document(
    {
        "data_set": "cohort-1",
        "variables": [
            {"name": "age", "low": 0, "high": 120, "unit": "a"},
            {"name": "bmi", "low": 5, "high": 100, "unit": "kg/m2"},
        ],
        "analyses": [{"kind": "moments", "variables": ["age", "bmi"], "statistics": ["mean"]}],
    }
)
# From here on every member has handed its encrypted counts to the others.
COUNTED = ("counts_ready", "checking", "valuing")
PASSING = ("CHAIN_STALE", "UNAVAILABLE")

Peers = Mapping[str, Alliance]
Ask = Callable[[], Awaitable[int]]  # answers how many octets were given


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def peers(town: Town) -> AsyncGenerator[Peers]:
    """For each member, what another member's compute service is connected by."""
    async with AsyncExitStack() as stack:
        found: dict[str, Alliance] = {}
        for place, member in enumerate(MEMBERS):
            asking = MEMBERS[(place + 1) % len(MEMBERS)]
            files = town.folder.member(asking).certificate("compute")
            opened = Alliance.open(
                town.folder.endpoints_file,
                town.folder.genesis_file,
                member_identity=Identity.from_files(*files),
            )
            found[member] = await stack.enter_async_context(opened)
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def researcher(town: Town) -> Wallet:
    """A researcher of the second hospital, when all have given rows of thirty patients."""
    numbers = np.random.default_rng(1)
    for hospital in town.hospitals.values():
        rows = np.column_stack([numbers.integers(20, 90, 30), numbers.integers(18, 45, 30)])
        table = [[float(value) for value in row] for row in rows]
        await contribute_rows(hospital, STUDY.data_set, NAMES, table)
    return await town.person("researcher", MEMBERS[1], "staff", "researcher")


def inputs(peers: Peers, study: bytes) -> dict[str, Ask]:
    """Return a question for each thing that a member's compute hands to another's."""
    found: dict[str, Ask] = {}
    for member, alliance in peers.items():
        compute = alliance.compute_of(member)

        def asking(method: Any, request: Any) -> Ask:
            async def given() -> int:
                return sum(
                    [part.ByteSize() async for part in method(request, timeout=CALL_SECONDS)]
                )

            return given

        for stage, number in ((pb.CONTRIBUTION_STAGE_COUNTS, 0), (pb.CONTRIBUTION_STAGE_VALUES, 1)):
            request = pb.GetContributionRequest(study_id=study, stage=stage, round=number)
            found[f"contribution {stage} of {member}"] = asking(compute.GetContribution, request)
        kind = pb.CEREMONY_MESSAGE_KIND_REVEAL
        message = pb.GetCeremonyMessageRequest(study_id=study, kind=kind)
        found[f"message of {member}"] = asking(compute.GetCeremonyMessage, message)
        share = pb.GetDecryptionShareRequest(study_id=study)
        found[f"share of {member}"] = asking(compute.GetDecryptionShare, share)

        async def verdict(asked: Any = compute.GetVerdict) -> int:
            answer = await asked(pb.GetVerdictRequest(study_id=study), timeout=CALL_SECONDS)
            return answer.ByteSize()

        found[f"verdict of {member}"] = verdict
    return found


async def answered(ask: Ask) -> Answer:
    """Return what a question gives; a service that restarts is asked again."""
    answer = Answer(0)

    async def done() -> bool:
        nonlocal answer
        try:
            answer = Answer(await ask())
        except aio.AioRpcError as error:
            answer = Answer(0, reason_of(error) or error.code().name)
        return answer.reason not in PASSING

    await eventually(done, seconds=WAIT_SECONDS)
    return answer


async def permitted(town: Town, researcher: Wallet) -> bytes:
    """Return a permit that three hospitals have granted."""
    wanted = PermitRequest.for_study(STUDY)
    permit = (await apply_for_permit(town.alliance, researcher, wanted)).permit_id
    for member in MEMBERS[:3]:
        await vote_permit(town.hospitals[member], permit)
    return permit


async def reason(work: Awaitable[object]) -> str:
    """Return why the work is refused."""
    with pytest.raises(ClientError) as told:
        await work
    return told.value.reason


async def test_a_revoked_permit_leaves_nothing_of_its_study_to_be_read(
    town: Town, researcher: Wallet, peers: Peers
) -> None:
    alliance, permit = town.alliance, await permitted(town, researcher)
    study = (await propose_study(alliance, researcher, STUDY, permit)).study_id
    for member in MEMBERS[:3]:
        await vote(town.hospitals[member], study)
    async with asyncio.timeout(WAIT_SECONDS):
        async for progress in watch_study(alliance, researcher, study):
            if progress.stage in COUNTED:
                break
    counts = f"contribution {pb.CONTRIBUTION_STAGE_COUNTS} of {MEMBERS[0]}"
    running = inputs(peers, study)[counts]  # one: the study does not wait
    assert (await answered(running)).given
    await revoke_permit(town.hospitals[MEMBERS[3]], permit)
    for member in MEMBERS:
        async with asyncio.timeout(WAIT_SECONDS):
            seen = watch_study(alliance, researcher, study, member=member)
            last = [progress async for progress in seen][-1]
        assert (last.stage, last.ended) == ("ended", True)
    await _gives_nothing(town, researcher, study, peers)
    # A new study takes a permit that stands.
    with pytest.raises(ActRefused) as refused:
        await propose_study(alliance, researcher, STUDY, permit)
    assert refused.value.reason == "TERMS_MALFORMED"
    await town.restart([f"{member}/compute" for member in MEMBERS])
    await _gives_nothing(town, researcher, study, peers)


async def _gives_nothing(town: Town, researcher: Wallet, study: bytes, peers: Peers) -> None:
    after = {name: await answered(ask) for name, ask in inputs(peers, study).items()}
    assert set(after.values()) == {Answer(0, "STUDY_ENDED")}, after
    assert await reason(fetch_result(town.alliance, researcher, study)) == "STUDY_ENDED"
