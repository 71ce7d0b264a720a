"""The life of a data key over real processes: made by four hospitals, computed with, handed over.

Its columns are encrypted once. A hospital leaves the alliance, another one joins: each time those
who hold the key deal it anew, and researchers go on computing with the same columns.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from cipherward_client.alliance.membership import add_member, remove_member
from cipherward_client.cli.commands import run
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.contract_reads import failure_of, read_contract
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.data_keys import show_data_key, vote_to_retire
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.sdk.inferences import PatientScore, await_scores, infer
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.resharings import (
    ResharingRequest,
    propose_resharing,
    show_resharing,
    vote_resharing,
)
from cipherward_client.sdk.scores import ScoreRequest, propose_score, vote_score
from cipherward_client.sdk.studies import (
    StudyProgress,
    fetch_result,
    propose_study,
    vote,
    watch_study,
)
from cipherward_client.sdk.study_ends import meaning
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.analyses.product_sum import ProductSumResult
from cipherward_studies.models import Model
from cipherward_studies.spec import Draft
from tests.integration.studies.column_town import (
    COMMON,
    MEMBERS,
    OTHER,
    TEXT,
    TREATING,
    TREATING_BMI,
    VARIABLES,
    ColumnTown,
)

# Each step needs the one before: what is handed over was made, and by whom it was held.
pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

LEAVER, NEWCOMER = "hospital-d", "hospital-e"
STAYED = MEMBERS[:3]
RENEWED = ("hospital-a", "hospital-b", NEWCOMER)  # hospital-c gives its part up
STUDY_SECONDS = 120.0
RESHARING_SECONDS = 240.0  # some 10 seconds on a machine that is free
WAITING_STEP_SECONDS = 3600  # a study that nobody votes on waits so long


@dataclass
class Researching:
    """A town with a researcher who has a permit for its columns."""

    town: ColumnTown
    wallet: Wallet
    permit: bytes

    async def draft(self, x: tuple[str, str], y: tuple[str, str], members: Sequence[str]) -> Draft:
        """Return a study of the sum of products of two columns, (variable, member) each."""
        return await a_draft(self.town, x, y, members)

    async def proposed(self, draft: Draft) -> bytes:
        """Propose a study over a fresh connection: members have come and gone."""
        async with connected(self.town) as alliance:
            return (await propose_study(alliance, self.wallet, draft, self.permit)).study_id

    async def ended(self, study: bytes, member: str = TREATING) -> StudyProgress:
        """Return how a study ended, as a member has seen it."""
        async with connected(self.town) as alliance, asyncio.timeout(STUDY_SECONDS):
            steps = watch_study(alliance, self.wallet, study, member=member)
            return [step async for step in steps][-1]

    async def answered(self, draft: Draft) -> ProductSumResult:
        """Have a study approved by all who hold the key, and return its answer."""
        study = await self.proposed(draft)
        await approved(self.town, study, draft.members)
        last = await self.ended(study)
        assert (last.stage, last.failure) == ("released", "")
        async with connected(self.town) as alliance:
            (found,) = (await fetch_result(alliance, self.wallet, study)).answer.results
        assert isinstance(found, ProductSumResult)
        return found


def connected(town: ColumnTown) -> AbstractAsyncContextManager[Alliance]:
    """Open a holder's connection to the services that the alliance has now."""
    return Alliance.open(town.running.folder.endpoints_file, town.running.folder.genesis_file)


def hospital(town: ColumnTown, member: str) -> AbstractAsyncContextManager[Hospital]:
    """Open the own systems of a member that the alliance has now."""
    return open_hospital(town.running.folder, member)


async def a_draft(
    town: ColumnTown, x: tuple[str, str], y: tuple[str, str], members: Sequence[str]
) -> Draft:
    key = await show_data_key(town.treating, town.data_key)
    bits = {one.name: one.fraction_bits for one in TEXT.variables}
    sides = {
        side: {"variable": variable, "at": at, "fraction_bits": bits[variable]}
        for side, (variable, at) in (("x", x), ("y", y))
    }
    return Draft.from_document(
        {
            "data_set": TEXT.data_set,
            "variables": [one for one in VARIABLES if one["name"] in (x[0], y[0])],
            "analyses": [{"kind": "product_sum", **sides}],
            "profile": "product-1",
            "members": list(members),
            "data_key": {
                "id": key.data_key.hex(),
                "key_digest": key.key_digest.hex(),
                "releases_max": key.releases_max,
            },
        }
    )


async def approved(town: ColumnTown, study: bytes, members: Sequence[str]) -> None:
    """Let three members say yes, which is enough for a study of three or four."""
    for member in members[:3]:
        async with hospital(town, member) as voter:
            await vote(voter, study)


async def a_permit(town: ColumnTown, wallet: Wallet, members: Sequence[str]) -> bytes:
    """Return a permit that these members, all that there are now, have granted."""
    draft = await a_draft(town, ("age", TREATING), ("bmi", OTHER), members)
    wanted = replace(PermitRequest.for_study(draft), releases_max=30)
    async with connected(town) as alliance:
        permit = (await apply_for_permit(alliance, wallet, wanted)).permit_id
    for member in members[:3]:
        await vote_permit(town.hospitals[member], permit)
    return permit


async def until_over(holder: Hospital, resharing: bytes) -> str:
    """Return the state in which a resharing has come to rest."""
    resting = ("handed_over", "failed", "rejected", "withdrawn", "ended")
    async with asyncio.timeout(RESHARING_SECONDS):
        while True:
            found = await show_resharing(holder, resharing)
            if found.state in resting:
                return f"{found.state} {found.failure}".strip()
            await asyncio.sleep(0.5)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def researching(key_town: ColumnTown) -> Researching:
    town = key_town
    wallet = Wallet.create(town.alliance.chain_id)
    code = await admit_holder(town.hospitals[OTHER], "staff", role="researcher")
    await obtain_credential(town.alliance, wallet, OTHER, code)
    return Researching(town, wallet, await a_permit(town, wallet, MEMBERS))


async def test_two_hospitals_columns_are_multiplied_over_the_patients_of_both(
    researching: Researching,
) -> None:
    town = researching.town
    draft = await researching.draft(("age", TREATING), ("bmi", OTHER), MEMBERS)
    found = await researching.answered(draft)
    ages = town.ages[:COMMON]
    assert (found.patients, found.sum_x, found.sum_y) == (COMMON, ages.sum(), town.bmi.sum())
    assert found.product_sum == (ages * town.bmi).sum()

    # The same two columns are one ciphertext, and that was released.
    again = await researching.proposed(draft)
    await approved(town, again, MEMBERS)
    assert (await researching.ended(again)).stage == "failed"
    signer = researching.wallet.signer(researching.wallet.study(again).scope)
    asker = Asker(town.alliance, signer)
    assert failure_of(await read_contract(asker, again)) == "DIGEST_RELEASED"


async def test_a_key_stays_of_use_when_one_of_its_holders_has_left_the_alliance(
    researching: Researching,
) -> None:
    town, key = researching.town, researching.town.data_key
    bound = await researching.draft(("age", TREATING), ("age", OTHER), MEMBERS)
    waiting = await researching.proposed(replace(bound, step_seconds=WAITING_STEP_SECONDS))
    await remove_member(town.running, LEAVER)

    proposed = await propose_resharing(town.treating, ResharingRequest(key))
    for member in STAYED:
        await vote_resharing(town.hospitals[member], proposed.resharing)
    assert await until_over(town.treating, proposed.resharing) == "handed_over"
    held = (await show_data_key(town.treating, key)).holders
    assert (held.members, held.threshold, held.sharing) == (STAYED, 3, proposed.resharing)

    # What was bound to the key under those who held it before has ended, and says why.
    end = await researching.ended(waiting)
    assert (end.stage, end.reason) == ("ended", "KEY_ENDED")
    state, cause, fix = meaning(end.stage, end.reason)
    assert "data key" in state
    assert "other members" in cause
    assert "study key show" in fix

    draft = await researching.draft(("age", TREATING), ("age", OTHER), STAYED)
    found = await researching.answered(draft)
    ages = town.ages[:COMMON]
    assert (found.patients, found.product_sum) == (COMMON, (ages * ages).sum())


async def scored(town: ColumnTown, members: Sequence[str]) -> Sequence[PatientScore]:
    """Return a patient's score by a model of one column, granted by those who hold the key."""
    model = Model.from_document(
        {
            "data_set": TEXT.data_set,
            "kind": "linear",
            "intercept": 0,
            "terms": [{"variable": "bmi", "at": OTHER, "weight": 2}],
        }
    )
    async with hospital(town, TREATING) as treating:
        asked = await propose_score(treating, ScoreRequest(model, town.data_key, uses_max=1))
        for member in members:
            async with hospital(town, member) as voter:
                await vote_score(voter, asked.risk_score, model=model)
        use = await infer(treating, asked.risk_score, town.references[:1])
        return (await await_scores(treating, use)).scores


def told(capsys: pytest.CaptureFixture[str], town: ColumnTown, *words: str) -> dict[str, Any]:
    """Run a command, and return the document that it prints."""
    capsys.readouterr()
    status = run([*words, "--alliance", str(town.folder), "--json"])
    printed = capsys.readouterr()
    assert status == 0, printed.out + printed.err
    return json.loads(printed.out)


async def test_a_hospital_that_joins_becomes_a_holder_and_can_end_the_key(
    researching: Researching, capsys: pytest.CaptureFixture[str]
) -> None:
    town, key = researching.town, researching.town.data_key.hex()
    await add_member(town.running, NEWCOMER, "Hospital E")

    def say(*words: str) -> dict[str, Any]:
        return told(capsys, town, "study", "key", *words)

    def to_new_holders() -> str:
        to = [word for member in RENEWED for word in ("--to", member)]
        resharing = say("reshare", key, "--member", TREATING, *to)["resharing"]
        for member in STAYED:
            say("resharing", "approve", resharing, "--member", member)
        return resharing

    resharing = await asyncio.to_thread(to_new_holders)
    assert await until_over(town.treating, bytes.fromhex(resharing)) == "handed_over"
    shown = await asyncio.to_thread(say, "show", key, "--member", NEWCOMER)
    assert (shown["holders"], shown["sharing"]) == (list(RENEWED), resharing)
    assert shown["members"] == list(MEMBERS)

    # All three have to decrypt: without the newcomer's part nothing would open.
    permit = await a_permit(town, researching.wallet, (*STAYED, NEWCOMER))  # it was asked, too
    draft = await researching.draft(("bmi", TREATING), ("bmi", OTHER), RENEWED)
    found = await replace(researching, permit=permit).answered(draft)
    assert found.product_sum == (TREATING_BMI * town.bmi).sum()

    (score,) = await scored(town, RENEWED)
    assert (score.known, score.linear) == (1, pytest.approx(2 * town.bmi[0], abs=1e-3))

    with pytest.raises(ClientError) as refused:  # it gave its part up
        await vote_to_retire(town.hospitals["hospital-c"], town.data_key)
    assert refused.value.reason == "POLICY_DENIED"
    for member in RENEWED:
        await asyncio.to_thread(say, "retire", key, "--member", member)
    shown = await asyncio.to_thread(say, "show", key, "--member", NEWCOMER)
    assert shown["state"] == "retired"
