"""The canaries' rules: when they ask, what an answer is worth, and what they remember."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import grpc
import pytest
from grpc import aio
from grpc.aio import Metadata
from prometheus_client import REGISTRY

from cipherward_chain.endpoints import EndpointUnknown
from cipherward_client.canaries.asking import Denial, Question, refused_act, refused_read
from cipherward_client.canaries.memory import CanaryMemoryUnusable, Memory
from cipherward_client.canaries.scenes import Opening, Scenes
from cipherward_client.canaries.schedule import JITTER, Kind, Schedule
from cipherward_client.canaries.spots import Case, Outcome, Spot
from cipherward_client.canaries.spots import Path as Way
from cipherward_client.canaries.stage import Stage
from cipherward_client.canaries.verdicts import Verdicts
from cipherward_client.canaries.watch import CANARIES, LOOK_SECONDS, SCENES, Waits, Watch
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import ActRefused, ClientError
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.wallet.entries import OwnedRecord
from cipherward_kit.errors import DETAILS_KEY, ServiceError
from cipherward_kit.readiness import Readiness

RECORD_REVOKED = Spot(Way.RECORD, Case.REVOKED)
DECIDE_PURPOSE = Spot(Way.DECIDE, Case.WRONG_PURPOSE)
EVENLY = 0.5  # the middle of the chances: nothing is early or late


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def opening(name: bytes) -> Opening:
    return Opening(name * 16, name.upper() * 16, (7, 1), "record:00", ("hospital-a", "hospital-b"))


SCENES_MADE = Scenes(
    epoch=1,
    made=10_000,
    scope="duty:hospital-a:1",
    standing=opening(b"a"),
    foreign=b"f" * 16,
    narrow=b"n" * 16,
    revoked=opening(b"b"),
    expired=opening(b"b"),
    expires=10_100,
    erased=opening(b"c"),
)


# When


def test_each_kind_of_round_keeps_its_own_period() -> None:
    clock = Clock()
    schedule = Schedule({Kind.READS: 60.0, Kind.ACTS: 3600.0}, clock, lambda: EVENLY)
    held: list[tuple[float, Kind]] = []
    while clock.now < 1_000 + 7_300:
        kind = schedule.take()
        if kind is None:
            clock.now += schedule.wait_seconds()
        else:
            held.append((clock.now - 1_000, kind))
    acts = [at for at, kind in held if kind is Kind.ACTS]
    reads = [at for at, kind in held if kind is Kind.READS]
    assert acts == [0, 3600, 7200]
    assert reads == [60.0 * round for round in range(len(reads))]
    assert len(reads) > 120


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 60 * (1 - JITTER)), (EVENLY, 60.0)])
def test_the_next_round_comes_early_or_late_by_chance(chance: float, seconds: float) -> None:
    schedule = Schedule({Kind.READS: 60.0}, Clock(), lambda: chance)
    assert schedule.take() is Kind.READS
    assert schedule.take() is None
    assert schedule.wait_seconds() == seconds


def test_a_round_that_took_long_makes_no_other_kind_wait_for_ever() -> None:
    clock = Clock()
    schedule = Schedule({Kind.READS: 60.0, Kind.ACTS: 3600.0}, clock, lambda: EVENLY)
    held: list[Kind | None] = []
    for _ in range(40):
        held.append(schedule.take())
        clock.now += 200  # longer than the period of reads
    assert held.count(Kind.ACTS) == 3


def test_the_questions_of_a_round_are_spread_and_end_within_the_shortest_period() -> None:
    chances = iter([0.0, 0.3, 0.6, 0.999] * 10)
    schedule = Schedule({Kind.READS: 60.0, Kind.ACTS: 3600.0}, Clock(), lambda: next(chances))
    pauses = schedule.pauses(20)
    assert len(set(pauses)) > 1
    assert 0 < sum(pauses) < 60


# What an answer is worth


class Refusal(ServiceError):
    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "RELEASE_ENDED"


def rpc_error(code: grpc.StatusCode, reason: str) -> aio.AioRpcError:
    class Told(Refusal):
        pass

    Told.code, Told.reason = code, reason
    details = Told("no").details("storage.cipherward")
    return aio.AioRpcError(code, Metadata(), Metadata((DETAILS_KEY, details)))


PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (rpc_error(PRECONDITION, "RELEASE_ENDED"), Outcome.REFUSED),
        (rpc_error(grpc.StatusCode.NOT_FOUND, "RECORD_UNKNOWN"), Outcome.OTHERWISE),
        (rpc_error(PRECONDITION, "CHAIN_STALE"), Outcome.UNKNOWN),
        (rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER_BUSY"), Outcome.UNKNOWN),
        (aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata()), Outcome.UNKNOWN),
        (aio.AioRpcError(grpc.StatusCode.NOT_FOUND, Metadata(), Metadata()), Outcome.UNKNOWN),
        (
            aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, Metadata(), Metadata()),
            Outcome.UNKNOWN,
        ),
        (EndpointUnknown("it has left"), Outcome.UNKNOWN),
        (None, Outcome.GIVEN),
    ],
)
async def test_only_the_right_refusal_counts_and_any_answer_is_a_breach(
    failure: Exception | None, outcome: Outcome
) -> None:
    async def call() -> object:
        if failure is not None:
            raise failure
        return b""

    assert await refused_read(call, ("RELEASE_ENDED",))() is outcome


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (ActRefused("POLICY_DENIED", "", ("purpose-differs",), b""), Outcome.REFUSED),
        (ActRefused("POLICY_DENIED", "", ("not-the-grantee",), b""), Outcome.OTHERWISE),
        (ActRefused("STATE_FORBIDS", "", (), b""), Outcome.OTHERWISE),
        (ClientError("DEADLINE_EXCEEDED"), Outcome.UNKNOWN),
        (None, Outcome.GIVEN),
    ],
)
async def test_an_act_must_be_refused_by_the_right_policy(
    failure: Exception | None, outcome: Outcome
) -> None:
    async def submit() -> object:
        if failure is not None:
            raise failure
        return None

    right = (Denial("POLICY_DENIED", ("purpose-differs",)),)
    assert await refused_act(submit, right)() is outcome


# What the rounds say together


def test_a_leak_stays_until_all_questions_of_its_spot_are_refused_again() -> None:
    verdicts = Verdicts()
    took = verdicts.take({RECORD_REVOKED: [Outcome.REFUSED, Outcome.GIVEN, Outcome.UNKNOWN]})
    assert took == [RECORD_REVOKED]
    for outcomes in (
        [Outcome.UNKNOWN, Outcome.UNKNOWN],
        [Outcome.REFUSED, Outcome.UNKNOWN],
        [Outcome.REFUSED, Outcome.OTHERWISE],
        [],
    ):
        assert verdicts.take({RECORD_REVOKED: outcomes}) == []
        assert verdicts.leaking == [RECORD_REVOKED]
    verdicts.take({DECIDE_PURPOSE: [Outcome.REFUSED]})
    assert verdicts.leaking_paths == ["record"]
    verdicts.take({RECORD_REVOKED: [Outcome.REFUSED, Outcome.REFUSED]})
    assert verdicts.leaking == []


NOTICES = Spot(Way.NOTICES, Case.NO_CONSENT)


def count(name: str, spot: Spot, **labels: str) -> float | None:
    """Return what the canaries have counted at a spot; None: nothing is shown."""
    return REGISTRY.get_sample_value(name, {"path": spot.path, "case": spot.case, **labels})


def asked(spot: Spot) -> dict[str, float | None]:
    """Return how often a question had each outcome."""
    return {one: count("cipherward_canary_asked_total", spot, outcome=one) for one in Outcome}


def test_what_cannot_be_asked_is_counted_and_is_no_breach() -> None:
    verdicts = Verdicts()
    verdicts.count(NOTICES, Outcome.REFUSED)
    before = asked(NOTICES)
    # An increase is seen of what was shown before it: the first of its kind is no less than others.
    assert None not in before.values()
    verdicts.count(NOTICES, Outcome.UNKNOWN)
    verdicts.take({NOTICES: [Outcome.UNKNOWN]})
    assert verdicts.leaking == []
    assert asked(NOTICES) == before | {"unknown": (before["unknown"] or 0) + 1}
    assert count("cipherward_canary_breaches_total", NOTICES) == 0


async def test_an_answer_is_counted_before_somebody_silent_is_asked(tmp_path: Path) -> None:
    spot = Spot(Way.DISCLOSURES, Case.NO_CONSENT)
    shown: list[tuple[float | None, float | None]] = []

    async def given() -> Outcome:
        return Outcome.GIVEN

    async def silent() -> Outcome:
        breaches = count("cipherward_canary_breaches_total", spot)
        shown.append((count("cipherward_canary_asked_total", spot, outcome="given"), breaches))
        return Outcome.UNKNOWN

    canaries, _ = watch(tmp_path)
    questions = [Question(spot, given), Question(RECORD_REVOKED, silent)]
    results = await canaries.ask(questions, lambda _: ())
    assert shown == [(1.0, 1.0)]
    assert results == {spot: [Outcome.GIVEN], RECORD_REVOKED: [Outcome.UNKNOWN]}


# What they remember


async def test_people_scenes_and_leaks_survive_a_restart(tmp_path: Path) -> None:
    memory = Memory.load(tmp_path / "canaries.cbor", "chain")
    owner = memory.patients[1]
    for record_id in (SCENES_MADE.revoked.record_id, b"x" * 16):
        owner.records[record_id] = OwnedRecord(record_id, "hospital-a", "hospital-a")
    memory.scenes, memory.leaking = SCENES_MADE, (RECORD_REVOKED,)
    await memory.save()
    assert memory.path.stat().st_mode & 0o777 == 0o600
    found = Memory.load(memory.path, "chain")
    assert [w.to_bytes() for w in found.wallets] == [w.to_bytes() for w in memory.wallets]
    assert (found.scenes, found.leaking) == (SCENES_MADE, (RECORD_REVOKED,))
    assert [record_id for _, record_id in found.left_over()] == [b"x" * 16]


@pytest.mark.parametrize("content", [b"", b"\xa0", b"no CBOR"])
def test_a_damaged_memory_is_refused_with_a_cause(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "canaries.cbor"
    path.write_bytes(content)
    with pytest.raises(CanaryMemoryUnusable, match="remove it"):
        Memory.load(path, "chain")


async def test_a_memory_of_another_chain_is_refused(tmp_path: Path) -> None:
    memory = Memory.load(tmp_path / "canaries.cbor", "chain")
    await memory.save()
    with pytest.raises(CanaryMemoryUnusable, match="not of another"):
        Memory.load(memory.path, "another")


# Rounds


@asynccontextmanager
async def no_stage() -> AsyncGenerator[Stage]:
    raise ClientError("FILE_UNREADABLE")
    yield  # pyright: ignore[reportUnreachable] - it makes this function a context


def watch(
    tmp_path: Path,
    leaking: Sequence[Spot] = (),
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> tuple[Watch, Readiness]:
    memory = Memory.load(tmp_path / "canaries.cbor", "chain")
    memory.leaking = tuple(leaking)
    readiness = Readiness(SCENES, CANARIES)
    return Watch(memory, no_stage, readiness, Waits(30, 60), pause), readiness


async def test_a_leak_of_an_earlier_run_is_none_of_readiness_before_the_first_round(
    tmp_path: Path,
) -> None:
    _, readiness = watch(tmp_path, [RECORD_REVOKED])
    assert readiness.missing()[CANARIES] == "not refused on: record"


async def test_without_connections_a_round_asks_nothing_and_the_next_one_comes(
    tmp_path: Path,
) -> None:
    clock, waited = Clock(), list[float]()

    async def pause(seconds: float) -> None:
        waited.append(seconds)
        clock.now += seconds
        if len(waited) == 3:
            raise asyncio.CancelledError

    canaries, readiness = watch(tmp_path, pause=pause)
    with pytest.raises(asyncio.CancelledError):
        await canaries.run(Schedule({Kind.READS: 60.0}, clock, lambda: EVENLY))
    assert waited == [LOOK_SECONDS] * 3
    assert not readiness.ready


class NoKeyYet:
    """A holder's connection to members that have made no record key."""

    def __init__(self) -> None:
        self.contract = self
        self.known_keys: dict[tuple[str, int], tuple[float, object]] = {}
        self.asked = 0

    def now(self) -> float:
        return 1_800_000_000.0

    async def GetGroupKey(self, _request: object, **_limits: float) -> object:
        self.asked += 1
        raise rpc_error(grpc.StatusCode.NOT_FOUND, "GROUP_KEY_UNKNOWN")


async def test_the_first_key_is_noticed_within_a_minute_however_late_it_is(tmp_path: Path) -> None:
    clock, waited, holder = Clock(), list[float](), NoKeyYet()
    memory = Memory.load(tmp_path / "canaries.cbor", "chain")

    @asynccontextmanager
    async def stage() -> AsyncGenerator[Stage]:
        yield Stage(cast("Hospital", None), cast("Alliance", holder), memory)  # nobody is admitted

    async def pause(seconds: float) -> None:
        waited.append(seconds)
        clock.now += seconds
        if clock.now >= 1_000 + 4 * 3_600:  # longer than the longest rest after failures
            raise asyncio.CancelledError

    canaries = Watch(memory, stage, Readiness(SCENES, CANARIES), Waits(30, 60), pause)
    periods = {Kind.READS: 60.0, Kind.ACTS: 3_600.0}
    with pytest.raises(asyncio.CancelledError):
        await canaries.run(Schedule(periods, clock, lambda: EVENLY))
    assert max(waited) <= 30
    assert holder.asked == 2 * len(waited)  # a look for each kind of round, and nothing put
    assert memory.left_over() == []


def test_an_end_is_asked_about_once_every_member_knows_it(tmp_path: Path) -> None:
    canaries, _ = watch(tmp_path)  # settles in 30 s; made at 10,000, one ends at 10,100
    for now, cases in (
        (10_029, frozenset[Case]()),
        (10_030, {Case.REVOKED, Case.ERASED}),
        (10_129, {Case.REVOKED, Case.ERASED}),
        (10_130, {Case.REVOKED, Case.ERASED, Case.EXPIRED}),
    ):
        assert canaries.over_now(SCENES_MADE, now) == cases
