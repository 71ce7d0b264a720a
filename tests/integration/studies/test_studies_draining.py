"""SIGTERM to each service in turn while clients work: nobody's work fails, and it ends with 0."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_client.sdk.consents import ConsentTerms, grant_consent, list_consents
from cipherward_client.sdk.ledger import Submitter
from cipherward_client.sdk.records import WalletOwner, get_record, put_record
from cipherward_kit.testing import eventually
from tests.integration.enforcement.town import CUSTODIAN, MEMBERS, Town
from tests.integration.studies.town import StudyTown, asked, everywhere, new_data_set

pytestmark = pytest.mark.asyncio(loop_scope="module")

# The order in which nothing comes after what it needs: the first two serve the whole alliance.
SERVICES = ("contract", "ledger", "identity", "storage", "compute")
END_SECONDS = 20.0  # drain and grace of a development alliance are 2.1 s; then stores close
TURN_SECONDS = 60.0  # of work that takes a second where nothing else runs
CONTENT_BYTES = 3_000_000  # three parts: a stream in each direction is under way now and then
TICK = chain_pb.Act(tick=chain_pb.Tick())


class Work:
    """What clients do over and over; `turns` counts what they have finished, by its name."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self.turns: Counter[str] = Counter()

    async def records(self) -> None:
        """A patient's record is put, consent to it given, the record opened."""
        town = self._town
        patient, clinician = await town.patient(), await town.clinician()
        owner = WalletOwner(town.alliance, patient)
        content = secrets.token_bytes(CONTENT_BYTES)
        put = await put_record(town.hospitals[CUSTODIAN], content, owner)
        terms = ConsentTerms(put.record_id, MEMBERS[1], int(town.alliance.now()) + 3600)
        consent = await grant_consent(town.alliance, patient, terms)
        opened = await get_record(town.alliance, clinician, put.record_id, consent.grant_id)
        assert opened.content == content
        listed = await list_consents(town.alliance, patient, put.record_id)
        assert [one.grant_id for one in listed] == [consent.grant_id]

    async def enrolments(self) -> None:
        """Somebody gets a credential of the hospital."""
        await self._town.person(f"patient {self.turns['enrolments']}", CUSTODIAN)

    async def acts(self) -> None:
        """A hospital's own acts, from their signature to their verified receipt."""
        submitter = Submitter(self._town.hospitals[CUSTODIAN].alliance)
        await submitter.submit([TICK], self._town.hospitals[CUSTODIAN].signer)

    async def repeat(self, name: str, turn: Callable[[], Awaitable[None]]) -> None:
        """Take turns until cancelled."""
        while True:
            await turn()
            self.turns[name] += 1

    @asynccontextmanager
    async def going_on(self) -> AsyncGenerator[None]:
        """Let all clients work while the context is open; the first failure ends it."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.repeat(turn.__name__, turn))
                for turn in (self.records, self.enrolments, self.acts)
            ]
            yield
            for task in tasks:
                task.cancel()

    async def another_turn(self) -> None:
        """Return when everybody has finished something that was begun after now."""
        wanted = {name: self.turns[name] + 2 for name in ("records", "enrolments", "acts")}
        await eventually(
            lambda: all(self.turns[name] >= turns for name, turns in wanted.items()),
            seconds=TURN_SECONDS,
            what="a turn of everybody",
        )


async def terminated(town: Town, service: str) -> int | None:
    """End a service of the first hospital by SIGTERM and start it again; return its status."""
    running, name = town.running, f"{CUSTODIAN}/{service}"
    plan = running.deployment.process_plan(
        (CUSTODIAN, service), running.endpoints.of(CUSTODIAN, service)
    )
    status: int | None = None

    async def work() -> None:
        nonlocal status
        running.supervisor.dismiss([name])
        os.kill(running.supervisor.pids[name], signal.SIGTERM)
        status = await running.supervisor.left_alone(name, END_SECONDS)
        await running.supervisor.start([plan])

    await town.home.do(work())
    return status


async def test_sigterm_to_each_service_fails_nobodys_work(town: StudyTown) -> None:
    data_set = new_data_set()
    await town.give(data_set, everywhere(21))
    study = await town.proposed(asked(data_set))
    work = Work(town.town)
    statuses: dict[str, int | None] = {}
    async with work.going_on():
        await work.another_turn()
        for service in SERVICES:
            if service == "compute":
                await town.approve(study)  # it is computed while its hospital goes away
            statuses[service] = await terminated(town.town, service)
            await work.another_turn()
        ended = await town.until(study, "")
    assert statuses == dict.fromkeys(SERVICES, 0)
    assert (ended.stage, ended.failure) == ("released", "")
