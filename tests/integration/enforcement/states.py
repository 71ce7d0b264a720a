"""The states of a contract about a record, and what each means to whoever once opened it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from cipherward_chain.acts import ID_BYTES
from cipherward_chain.sealing import SealingKey
from cipherward_client.sdk.credentials import register_duty
from cipherward_client.sdk.errors import ActRefused
from cipherward_client.sdk.ledger import Submitter
from cipherward_client.sdk.records import ask_to_open
from tests.integration.enforcement.openings import (
    End,
    Opening,
    close,
    consented,
    emergency,
    emergency_act,
    erase,
    expire,
    go_unreviewed,
    revoke,
    run_out,
    stop,
)
from tests.integration.enforcement.paths import settled
from tests.integration.enforcement.town import MEMBERS, Town

SOON = 8  # seconds until a right ends by itself: long enough to open it once on a busy machine

ENDED = frozenset(("RELEASE_ENDED",))
GIVEN = frozenset(("",))
# A guardian that was slow has made nothing before the end, and says that there is nothing.
NEVER_MADE = frozenset(("RELEASE_ENDED", "RELEASE_UNKNOWN", "SHARES_MISSING"))


async def opens_again(town: Town, opening: Opening) -> str:
    """Ask for the record again, under the same consent; return why not, or ""."""
    key = await asyncio.to_thread(SealingKey.generate)
    asking = ask_to_open(town.alliance, opening.reader, opening.record_id, opening.grant_id, key)
    return await _refusal(asking)


async def breaks_the_glass_again(town: Town, opening: Opening) -> str:
    """Open the record in another emergency; return why not, or ""."""
    key = await asyncio.to_thread(SealingKey.generate)
    begin = emergency_act(opening.record_id, secrets.token_bytes(ID_BYTES), key.public_key, 60)
    signer = opening.reader.signer(await register_duty(town.alliance, opening.reader, MEMBERS[1]))
    return await _refusal(Submitter(town.alliance).submit([begin], signer))


async def _refusal(work: Awaitable[object]) -> str:
    try:
        await work
    except ActRefused as refused:
        return refused.reason
    return ""


@dataclass(frozen=True)
class State:
    """A state, and what it means.

    end: what brings it about after the opening; with `by_timer` nobody does anything. reads: why
    what was released is refused; empty while the right stands. again: takes the right once more;
    `another`: what comes of that.
    """

    begin: Callable[[Town], Awaitable[Opening]]
    end: End | None = None
    by_timer: bool = False
    reads: frozenset[str] = frozenset()
    again: Callable[[Town, Opening], Awaitable[str]] = opens_again
    another: frozenset[str] = GIVEN
    ended_by_order: bool = False

    @property
    def stands(self) -> bool:
        """Whether what was released is still to be had."""
        return not self.reads


def _ended(
    begin: Callable[[Town], Awaitable[Opening]],
    end: End,
    *,
    again: Callable[[Town, Opening], Awaitable[str]] = opens_again,
    another: frozenset[str] = frozenset(("STATE_FORBIDS",)),
) -> State:
    """Return the state of what was opened and then ended by an order of the chain."""
    by_timer = end in (expire, run_out, go_unreviewed)
    return State(begin, end, by_timer, ENDED, again, another, ended_by_order=True)


async def _no_consent(town: Town) -> Opening:
    """Somebody else's opening, in the hands of a clinician whom nobody gave anything."""
    opening = await consented(town)
    stranger = await town.clinician("stranger", MEMBERS[2])
    scope = await register_duty(town.alliance, stranger, MEMBERS[2])
    return replace(opening, reader=stranger, signer=stranger.signer(scope))


async def _short_visit(town: Town) -> Opening:
    """A visit that is over before the consent is."""
    return await consented(town, visit_seconds=SOON)


async def _no_visits_left(town: Town) -> Opening:
    """The last visit, which goes on."""
    return await consented(town, visits=1)


def _emergency(clinician: str, seconds: int) -> Callable[[Town], Awaitable[Opening]]:
    return lambda town: emergency(town, clinician=clinician, seconds=seconds)


def _consent(seconds: int = 3600) -> Callable[[Town], Awaitable[Opening]]:
    return lambda town: consented(town, seconds=seconds)


# Each emergency has a clinician of its own: nobody reviews it, so that whoever began it is
# suspended seconds later, from all else too.
STATES: Mapping[str, State] = {
    "no consent": State(
        _no_consent, reads=frozenset(("READ_REJECTED",)), another=frozenset(("POLICY_DENIED",))
    ),
    "active": State(_consent()),
    "revoked": _ended(_consent(), revoke),
    "visits spent": State(_no_visits_left, another=frozenset(("POLICY_DENIED",))),
    "erased": _ended(_consent(), erase, another=frozenset(("RECORD_ERASED", "STATE_FORBIDS"))),
    "emergency, open": State(_emergency("first", 3600), again=breaks_the_glass_again),
    "emergency, closed by its reader": _ended(
        _emergency("second", 3600),
        close,
        again=breaks_the_glass_again,
        another=frozenset(("", "PSEUDONYM_SUSPENDED")),
    ),
    "emergency, ended by the owner": _ended(
        _emergency("third", 3600),
        stop,
        again=breaks_the_glass_again,
        another=frozenset(("", "PSEUDONYM_SUSPENDED")),
    ),
    "emergency, its record erased": _ended(
        _emergency("sixth", 3600),
        erase,
        again=breaks_the_glass_again,
        another=frozenset(("RECORD_ERASED", "PSEUDONYM_SUSPENDED")),
    ),
    "expired by its timer": _ended(_consent(SOON), expire),
    "visit over": State(_short_visit, settled, by_timer=True, reads=NEVER_MADE),
    "emergency, ended by its timer": _ended(
        _emergency("fourth", SOON),
        run_out,
        again=breaks_the_glass_again,
        another=frozenset(("", "PSEUDONYM_SUSPENDED")),
    ),
    "emergency, its review missed": _ended(
        _emergency("fifth", SOON),
        go_unreviewed,
        again=breaks_the_glass_again,
        another=frozenset(("PSEUDONYM_SUSPENDED",)),
    ),
}


class Scenes:
    """The states as they were made, once each: later tests find them again."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._begun: dict[str, Opening] = {}
        self._made: dict[str, Opening] = {}

    async def begin_slow_ones(self) -> None:
        """Open what timers end, so that their seconds pass while other states are tested."""
        for name, state in STATES.items():
            if state.by_timer:
                self._begun[name] = await state.begin(self._town)

    async def of(self, name: str) -> Opening:
        """Return an opening in a state."""
        if name not in self._made:
            state = STATES[name]
            opening = self._begun.pop(name, None) or await state.begin(self._town)
            if state.end is not None:
                await state.end(self._town, opening)
                await settled(self._town, opening)
            self._made[name] = opening
        return self._made[name]
