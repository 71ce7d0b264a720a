"""A hospital and a researcher who do not keep to the protocol, against three hospitals that do."""

from __future__ import annotations

import pytest

from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.studies import StudyProgress, fetch_result
from tests.integration.studies.town import (
    HONEST,
    LIAR,
    MEMBERS,
    StudyTown,
    asked,
    everywhere,
    new_data_set,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def given(town: StudyTown, seed: int) -> str:
    """Return a data set of which every hospital has thirty patients."""
    data_set = new_data_set()
    await town.give(data_set, everywhere(seed))
    return data_set


async def nothing_is_released(town: StudyTown, study: bytes) -> None:
    """Who colludes with the liar gets nothing that it could subtract."""
    with pytest.raises(ClientError) as told:
        await fetch_result(town.town.alliance, await town.researcher(), study)
    assert told.value.reason == "STUDY_ENDED"


def named(refused: dict[str, StudyProgress], reason: str) -> None:
    """Who refused is honest, did so for this reason, and names the liar."""
    assert set(refused) <= set(HONEST), refused
    for end in refused.values():
        assert end.reason == reason, end
        assert end.failure.startswith(f"{LIAR}: "), end


async def test_an_honest_study_is_released(town: StudyTown) -> None:
    """The liar is the real service while it tells no lie: the refusals below are of the lies."""
    study = await town.ask(asked(await given(town, 1)))
    assert (await town.until(study, "")).stage == "released"
    result = await fetch_result(town.town.alliance, await town.researcher(), study)
    assert result.answer.patients == 120


@pytest.mark.parametrize(
    "lie", ["constant", "another key", "another study", "no proof", "truncated"]
)
async def test_a_crafted_contribution_is_refused_by_every_guardian(
    town: StudyTown, lie: str
) -> None:
    """Above all the constant in c1, whose author would read the joint key with the researcher."""
    data_set = await given(town, 2)
    with town.lying(lie):
        study = await town.ask(asked(data_set))
        named(await town.refused(study), "CONTRIBUTION_REFUSED")
    await nothing_is_released(town, study)


async def test_a_constant_in_the_values_is_refused_after_honest_counts(town: StudyTown) -> None:
    study = await town.ask(asked(await given(town, 3)))
    await town.until(study, "checking")
    with town.lying("constant"):
        named(await town.refused(study), "CONTRIBUTION_REFUSED")
    await nothing_is_released(town, study)


async def test_who_changes_its_part_after_it_has_seen_the_others_is_named(town: StudyTown) -> None:
    """What it sends then is proven and for this study, but not what it committed to."""
    data_set = await given(town, 4)
    with town.lying("rushing"):
        study = await town.ask(asked(data_set))
        named(await town.refused(study), "PEER_WRONG")
    await nothing_is_released(town, study)


async def test_a_rogue_share_of_the_public_key_makes_no_key(town: StudyTown) -> None:
    data_set = await given(town, 5)
    with town.lying("rogue key"):
        study = await town.ask(asked(data_set))
        named(await town.refused(study), "PEER_WRONG")
    await nothing_is_released(town, study)


async def test_a_part_for_another_key_than_the_researchers_gives_nobody_the_result(
    town: StudyTown,
) -> None:
    """Of three hospitals all three release: the liar for its own key, the others for the one that
    the order names, whose parts together with the liar's open nothing for either."""
    data_set = await given(town, 6)
    members = [MEMBERS[1], MEMBERS[2], LIAR]
    with town.lying("own key"):
        study = await town.ask(asked(data_set, members=members))
        end = await town.until(study, "", MEMBERS[1])
        assert end.stage == "released"
        with pytest.raises(ClientError) as told:
            await fetch_result(town.town.alliance, await town.researcher(), study)
    assert told.value.reason == "WRONG_REQUESTER"


async def test_a_wrong_share_of_the_counts_ends_the_study(town: StudyTown) -> None:
    data_set = await given(town, 7)
    members = [MEMBERS[1], MEMBERS[2], LIAR]
    with town.lying("wrong share"):
        study = await town.ask(asked(data_set, members=members))
        refused = await town.refused(study, members)
    assert {end.reason for end in refused.values()} == {"SHARE_REFUSED"}
    assert any("do not open" in end.failure for end in refused.values()), refused
    await nothing_is_released(town, study)
