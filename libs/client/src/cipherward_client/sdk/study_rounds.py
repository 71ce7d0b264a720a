"""A study brought to its end by its researcher: every round's result read, the next one asked.

What was read is in the wallet before anything follows from it. So a process that is killed at any
point is followed by another one that goes on from the wallet and the chain: the parameters that
were asked for last are asked for again, never made anew.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.canonical import Value
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.contract_acts import take
from cipherward_client.sdk.contract_reads import read_contract, round_of
from cipherward_client.sdk.errors import ActRefused, CheckFailed, explaining
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.retries import Patience, patiently
from cipherward_client.sdk.studies import StudyProgress
from cipherward_client.sdk.study_ends import meaning
from cipherward_client.sdk.study_orders import NotReleased, StudyEnded
from cipherward_client.sdk.study_requests import members_of
from cipherward_client.sdk.study_results import (
    StudyResult,
    fetch_parts,
    fetch_result,
    plan_of,
    read_round,
)
from cipherward_client.sdk.study_watch import RELEASING, StudyView, watch_members
from cipherward_client.wallet.entries import KeptStudy
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.plan import Released

ITERATE_SECONDS = 30.0
TURN_SECONDS = 30.0  # from the last report in a block to the contract's answer: milliseconds
RELEASED, ITERATING = "released", "iterating"
# Why the chain refuses an iterate that another process, or the contract's timer, was faster than.
OVERTAKEN = "STATE_FORBIDS"
ANOTHER_ROUND = "another-round"  # the contract's policy about an iterate that comes late
SPENT = "BUDGET_SPENT"


class IterateDiffers(CheckFailed):
    """A member has stored other parameters than were sent."""

    reason = "RESULT_DIFFERS"


@dataclass(frozen=True, slots=True)
class Researching:
    """A researcher at work on a study of its own.

    Attributes:
        keep: writes the wallet; called before anything is sent that must not be forgotten.
        tell: gets the study as its members see it, whenever that changes.
    """

    alliance: Alliance
    wallet: Wallet
    keep: Callable[[], Awaitable[None]]
    tell: Callable[[StudyView], None]

    async def finish(self, study_id: bytes) -> StudyResult:
        """Bring a study to its end, through all rounds, and return its result.

        Raises:
            ClientError: the study ends without one (STUDY_ENDED), or a part of it is wrong.
        """
        with explaining():
            answered = 0
            while True:
                view = await watch_members(
                    self.alliance,
                    self.wallet,
                    study_id,
                    tell=self.tell,
                    until=lambda view: view.ended or view.delivered > answered,  # noqa: B023 - called in this turn only
                )
                if view.ended:
                    break
                await self._answer(study_id, view.delivered)
                answered = view.delivered
            newest = view.newest
            if newest is None or newest.stage != RELEASED:
                raise StudyEnded(_why(newest))
            await self._read(study_id, newest.round)
            return await fetch_result(self.alliance, self.wallet, study_id)

    async def _answer(self, study_id: bytes, number: int) -> None:
        """Read the result of a round and, if the study waits for it, say how it goes on."""
        state, newest = await self._turn(study_id)
        if state != ITERATING or newest != number:
            return  # it has ended, another process has answered, or members are behind the contract
        await self._read(study_id, number)
        study = self.wallet.study(study_id)
        if len(study.rounds) > number:
            return  # of an older view
        if not study.asked:
            study = replace(study, asked=await asyncio.to_thread(self._next, study))
            await self._remember(study)
        if not study.asked:
            await self._conclude(study)
            return
        await self._hand_over(study)
        digest = hashlib.sha256(study.asked).digest()
        try:
            # It names its round: an earlier process's act that comes late asks for nothing twice.
            arguments: dict[str, Value] = {"iterate": digest, "round": number + 1}
            await self._take(study, "iterate", arguments)
        except ActRefused as refusal:
            if refusal.reason == SPENT:
                await self._remember(replace(study, asked=b""))
                await self._conclude(study)
            elif refusal.reason != OVERTAKEN and ANOTHER_ROUND not in refusal.policies:
                raise

    async def _read(self, study_id: bytes, number: int) -> None:
        """Put the newest round into the wallet, unless it is there."""
        study = self.wallet.study(study_id)
        if len(study.rounds) >= number:
            return
        patience = Patience.through_restart(TURN_SECONDS)
        while True:
            parts = await fetch_parts(self.alliance, self.wallet, study_id)
            if parts.order.round >= number:
                break
            await patience.pause(NotReleased(f"round {number} is not known to the members yet"))
        opened = await read_round(self.wallet, study_id, parts)
        await self._remember(replace(study, rounds=(*study.rounds, opened.kept), asked=b""))

    def _next(self, study: KeptStudy) -> bytes:
        """Return the parameters of the next round; empty when nothing more is to be asked."""
        plan, _ = plan_of(study, self.wallet.requester_seed(study.study_id))
        rounds = [Released(one.iterate, one.totals) for one in study.rounds]
        return plan.advance(rounds, study.rounds[-1].left_out) or b""

    async def _turn(self, study_id: bytes) -> tuple[str, int]:
        """Return the contract's state and round once it has counted the reports of a release."""
        asker = Asker(self.alliance, self.wallet.signer(self.wallet.study(study_id).scope))
        patience = Patience.through_restart(TURN_SECONDS)
        while True:
            contract = await read_contract(asker, study_id)
            if contract.state != RELEASING:
                return contract.state, round_of(contract)
            await patience.pause(NotReleased("the contract has not counted all reports yet"))

    async def _hand_over(self, study: KeptStudy) -> None:
        """Give every member the parameters of the round that is asked for."""
        request = pb.PutIterateRequest(iterate=study.asked)

        async def put(member: str) -> None:
            compute = self.alliance.compute_of(member)
            answer = await patiently(
                lambda left: compute.PutIterate(request, timeout=left), ITERATE_SECONDS
            )
            if answer.digest != hashlib.sha256(study.asked).digest():
                raise IterateDiffers(f"{member} has stored other parameters")

        async with asyncio.TaskGroup() as group:
            for member in members_of(self.alliance, study):
                group.create_task(put(member))

    async def _conclude(self, study: KeptStudy) -> None:
        try:
            await self._take(study, "conclude")
        except ActRefused as refusal:
            if refusal.reason != OVERTAKEN:  # else the timer has concluded it
                raise

    async def _take(
        self, study: KeptStudy, name: str, arguments: Mapping[str, Value] | None = None
    ) -> None:
        signer = self.wallet.signer(study.scope)
        await take(self.alliance, signer, study.study_id, name, arguments)

    async def _remember(self, study: KeptStudy) -> None:
        self.wallet.studies[study.study_id] = study
        await self.keep()


def _why(newest: StudyProgress | None) -> str:
    """Return why a study ended without a result: the member's words, and what they mean."""
    if newest is None:
        return ""
    said = f"{newest.stage}: {newest.failure}".rstrip(": ")
    return ". ".join([said, *(one.rstrip(".") for one in meaning("", newest.reason))])
