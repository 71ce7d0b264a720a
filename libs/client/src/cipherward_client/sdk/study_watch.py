"""A study as all its members see it at once: who has taken the step, and who is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from types import MappingProxyType

from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.retries import PAUSE_SECONDS_MAX
from cipherward_client.sdk.studies import StudyProgress, watch_study
from cipherward_client.sdk.study_requests import members_of
from cipherward_client.wallet.wallet import Wallet

RELEASING = "releasing"


@dataclass(frozen=True, slots=True)
class StudyView:
    """A study by member.

    by_member: None where a member has not answered yet. away: those that do not answer now.
    """

    by_member: Mapping[str, StudyProgress | None]
    away: tuple[str, ...] = ()

    @property
    def newest(self) -> StudyProgress | None:
        """How it stands at the member that has followed the chain furthest; of a study that failed,
        at one that refused a step: the others know who did, and not why."""
        known = [(member, one) for member, one in self.by_member.items() if one is not None]
        return max(known, key=_furthest, default=("", None))[1]

    @property
    def ended(self) -> bool:
        """Whether it has ended, and whoever refused a step has said why or does not answer."""
        newest = self.newest
        if newest is None or not newest.ended:
            return False
        heard = {member for member, one in self.by_member.items() if one is not None and one.ended}
        return set(newest.failed) <= heard | {*self.away}

    @property
    def awaited(self) -> tuple[str, ...]:
        """The members whose report about the newest step is still waited for."""
        newest = self.newest
        return () if newest is None else newest.awaited

    @property
    def delivered(self) -> int:
        """The newest round of values whose release set has given its part; 0: of none."""
        newest = self.newest
        if newest is None or not newest.round:
            return 0
        complete = newest.stage == RELEASING and not newest.awaited and not newest.failed
        return newest.round if complete or newest.stage == "released" else newest.round - 1

    def words(self) -> str:
        """Return it as one line."""
        newest = self.newest
        if newest is None:
            return "no member has answered yet"
        stage = newest.stage.replace("_", " ")
        if newest.ended:
            return stage
        steps = f"{newest.steps_done} of {newest.steps_total} steps"
        parts = [f"round {newest.round}, {stage}" if newest.round > 1 else stage, steps]
        if newest.failed:
            parts.append(f"failed at {', '.join(newest.failed)}")
        if self.awaited:
            parts.append(f"waiting for {', '.join(self.awaited)}")
        if self.away:
            parts.append(f"no answer from {', '.join(self.away)}")
        return "; ".join(parts)


def _furthest(named: tuple[str, StudyProgress]) -> tuple[bool, bool, int, int, int]:
    member, progress = named
    refused = progress.ended and member in progress.failed
    reported = len(progress.reported)
    return progress.ended, refused, progress.round, progress.steps_done, reported


async def watch_members(
    alliance: Alliance,
    who: Wallet | Hospital,
    study_id: bytes,
    *,
    tell: Callable[[StudyView], None],
    until: Callable[[StudyView], bool],
) -> StudyView:
    """Follow a study at all its members until something holds, and return the view then.

    A member that does not answer is asked again and again, as long as another one does.

    Args:
        tell: gets every view that differs from the one before.
        until: says of a view whether it is the one that is waited for.

    Raises:
        ClientError: no member answers, or it is not one's own study.
    """
    if isinstance(who, Hospital):
        members = alliance.present
    else:
        members = members_of(alliance, who.study(study_id))
    seen: dict[str, StudyProgress | None] = dict.fromkeys(members)
    away: dict[str, ClientError] = {}
    done: asyncio.Future[StudyView] = asyncio.get_running_loop().create_future()

    def learn(member: str, progress: StudyProgress | None) -> None:
        seen[member] = progress
        if done.done():
            return
        view = StudyView(MappingProxyType(dict(seen)), tuple(sorted(away)))
        tell(view)
        if until(view):
            done.set_result(view)

    async def follow(member: str) -> None:
        while not done.done():
            try:
                steps = watch_study(alliance, who, study_id, member=member)
                async with aclosing(steps):
                    async for step in steps:
                        away.pop(member, None)
                        learn(member, step)
                return  # it has ended there
            except ClientError as error:
                away[member] = error
                learn(member, None)
                if len(away) == len(members) and not done.done():
                    done.set_exception(error)
            await asyncio.sleep(PAUSE_SECONDS_MAX)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follow(member)) for member in members]
        await asyncio.wait([done])
        for task in tasks:
            task.cancel()
    return done.result()
