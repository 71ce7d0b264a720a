"""`cipherward doctor` on an alliance that runs, and is well."""

from __future__ import annotations

from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.doctor.examine import examine
from cipherward_client.doctor.targets import targets_of


async def test_a_healthy_alliance_has_no_problem(folder: AllianceFolder) -> None:
    assert await examine(targets_of(folder), before=False) == []
