"""Versions of the state machine: voted ahead, begun at their height, and what version 2 forgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.wire import NANOS
from cipherward_contract.errors import MachineVersionUnsupported
from cipherward_contract.machine_versions import NEWEST_VERSION, NOTICE_BLOCKS_MIN
from cipherward_contract.order_entries import order_key
from cipherward_contract.snapshots import Snapshots
from cipherward_contract.standing import MACHINE_VERSION, Standing
from cipherward_contract.testing import (
    MEMBERS,
    TICK,
    Decided,
    Story,
    contract_genesis,
    instantiate,
    open_story,
    report,
    transition,
)
from cipherward_contract.testing_registry import removed, upgrade_voted, voted
from cipherward_contract.testing_studies import granted, study_terms
from cipherward_kit.readiness import Readiness
from cipherward_kit.tls import TrustRegistry
from cipherward_member.authorities import Authorities

AUTHORITIES = Authorities(TrustRegistry({}), {})
UPGRADE, STUDY, RECORD, CONSENT = b"u" * 16, b"s" * 16, b"r" * 16, b"c" * 16


def version_after(decided: Decided) -> int:
    return pb.ExecuteBlockResponse.FromString(decided.answer).machine_version


async def at_version_2(story: Story) -> None:
    """Vote version 2, and go on until it executes the next block."""
    decided = await upgrade_voted(story, 2, story.height + 20, UPGRADE)
    assert decided.results[0].applied
    while version_after(decided) != 2:
        decided = await story.block()


async def test_a_version_begins_at_its_height_and_not_before(story: Story) -> None:
    height = story.height + 20
    decided = await upgrade_voted(story, 2, height, UPGRADE)
    assert decided.orders[0].instruction == "set_machine_version"
    assert decided.orders[0].arguments == {"version": 2, "height": height}
    while story.height < height - 2:
        assert version_after(await story.block()) == 1
    app_hash = decided.app_hash
    decided = await story.block()  # whose successor is executed by the new version
    assert version_after(decided) == 2
    assert decided.app_hash == app_hash  # an empty block changes nothing, this one neither
    assert version_after(await story.block()) == 2
    committed = await story.chain.committed()
    assert committed is not None
    assert committed.rules.version_at(story.height + 1) == 2


@pytest.mark.parametrize(
    ("version", "ahead"), [(3, 50), (2, NOTICE_BLOCKS_MIN - 1), (2, 0)], ids=str
)
async def test_an_upgrade_that_skips_a_version_or_comes_too_soon_is_refused(
    story: Story, version: int, ahead: int
) -> None:
    deciding = story.height + 4  # one block proposes, three vote
    decided = await upgrade_voted(story, version, deciding + ahead, UPGRADE)
    assert decided.results[0].reason == "UPGRADE_REFUSED"
    assert decided.orders == ()


async def test_one_upgrade_waits_at_a_time(story: Story) -> None:
    await upgrade_voted(story, 2, story.height + 100, UPGRADE)
    decided = await upgrade_voted(story, 2, story.height + 50, b"v" * 16)
    assert decided.results[0].reason == "UPGRADE_REFUSED"


async def test_after_an_upgrade_the_next_version_may_be_voted(story: Story) -> None:
    await at_version_2(story)
    again = await upgrade_voted(story, 2, story.height + 100, b"v" * 16)
    assert again.results[0].reason == "UPGRADE_REFUSED"
    decided = await upgrade_voted(story, 3, story.height + 100, b"w" * 16)
    assert decided.results[0].applied
    committed = await story.chain.committed()
    assert committed is not None
    assert committed.rules.version_at(story.height + 1) == 2


async def test_a_release_that_is_held_back_says_so_before_the_height_and_stops_at_it(
    tmp_path: Path,
) -> None:
    genesis, keys = contract_genesis()
    readiness = Readiness(MACHINE_VERSION)
    async with (
        open_story(tmp_path, genesis, keys, version_max=1) as story,
        Snapshots(tmp_path / "snapshots", tmp_path / "state.db", every=0) as snapshots,
    ):
        standing = Standing(story.chain, readiness, snapshots, AUTHORITIES, version_max=1)
        await standing.look()
        assert readiness.ready
        height = story.height + 20
        await upgrade_voted(story, 2, height, UPGRADE)
        await standing.look()
        why = readiness.missing()[MACHINE_VERSION]
        assert f"block {height} needs machine version 2" in why
        while story.height < height - 1:
            await story.block()  # blocks before it are executed all the same
        with pytest.raises(MachineVersionUnsupported) as refused:
            await story.chain.execute(height, story.now * NANOS, [])
        assert refused.value.metadata == {"height": str(height), "version": "2", "newest": "1"}
        now = story.now
    # The same folder, with a release that has the version, goes on where it stood.
    async with (
        open_story(tmp_path, genesis, keys, begin=False) as story,
        Snapshots(tmp_path / "snapshots", tmp_path / "state.db", every=0) as snapshots,
    ):
        later = Standing(story.chain, readiness, snapshots, AUTHORITIES, version_max=NEWEST_VERSION)
        await later.look()
        assert readiness.ready
        story.now = now
        assert version_after(await story.block()) == 2


async def study_of(story: Story) -> tuple[int, int]:
    """Begin a study and let it be approved; return the place of its first order."""
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    await granted(story)
    await story.applied(researcher, instantiate("study", STUDY, study_terms(step_seconds=600)))
    decided = await voted(story, STUDY, "approve", MEMBERS[:3])
    return decided.orders[0].height, decided.orders[0].index


async def consent_of(story: Story) -> tuple[int, int]:
    """Release a key by a consent; return the place of its order."""
    owner = await story.record(RECORD)
    terms = {
        "record": RECORD,
        "grantee_member": "hospital-b",
        "grantee_key": b"",
        "representative_key": b"",
        "purposes": ["TREAT"],
        "expires": story.now + 10_000,
        "visits_max": 2,
        "visit_seconds": 60,
    }
    await story.applied(owner, instantiate("consent", CONSENT, terms))
    act = transition(CONSENT, "open", reader_key=bytes(1216), purpose="PATRQT")
    order = (await story.applied(owner, act)).orders[0]
    return order.height, order.index


async def test_version_1_keeps_what_was_reported(story: Story) -> None:
    place = await consent_of(story)
    await story.applied(story.member(MEMBERS[0]), report(place))
    assert await story.state(order_key(*place)) is not None
    again = await story.act(story.member(MEMBERS[0]), report(place))
    assert again.reason == "ALREADY_REPORTED"


async def test_version_2_forgets_an_order_that_everybody_has_reported(story: Story) -> None:
    await at_version_2(story)
    place = await consent_of(story)
    assert await story.state(order_key(*place)) is not None
    await story.applied(story.member(MEMBERS[0]), report(place))
    assert await story.state(order_key(*place)) is None
    again = await story.act(story.member(MEMBERS[0]), report(place))
    assert again.reason == "ORDER_UNKNOWN"


async def test_version_2_forgets_the_order_of_a_step_that_is_decided(story: Story) -> None:
    await at_version_2(story)
    place = await study_of(story)
    decided = None
    for number, member in enumerate(MEMBERS):
        assert await story.state(order_key(*place)) is not None
        digest = bytes([number]) * 32
        decided = await story.applied(story.member(member), report(place, digest=digest))
    assert decided is not None
    assert await story.state(order_key(*place)) is None
    following = decided.orders[0].height, decided.orders[0].index
    assert await story.state(order_key(*following)) is not None
    await story.applied(story.member(MEMBERS[0]), transition(STUDY, "withdraw"))
    assert await story.state(order_key(*following)) is None  # nobody waits for it any more


async def test_version_2_does_not_wait_for_a_member_that_was_removed(story: Story) -> None:
    await at_version_2(story)
    await study_of(story)
    retire = (await story.applied(story.member(MEMBERS[0]), transition(STUDY, "withdraw"))).orders
    place = retire[0].height, retire[0].index
    await removed(story, MEMBERS[3], b"o" * 16)
    for member in MEMBERS[:3]:
        assert await story.state(order_key(*place)) is not None
        await story.applied(story.member(member), report(place))
    assert await story.state(order_key(*place)) is None


async def test_an_order_of_version_1_is_forgotten_by_version_2(story: Story) -> None:
    place = await consent_of(story)
    await at_version_2(story)
    await story.applied(story.member(MEMBERS[0]), report(place))
    assert await story.state(order_key(*place)) is None
    await story.applied(story.member(MEMBERS[0]), TICK)
