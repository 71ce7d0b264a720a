"""Every cause not to start has an exit status of its own, and the table of them is complete."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import cipherward_client
import cipherward_compute
import cipherward_contract
import cipherward_identity
import cipherward_kit
import cipherward_ledger
import cipherward_member
import cipherward_storage
from cipherward_client.alliance.supervisor import REFUSED_TO_START
from cipherward_kit.errors import CannotStart
from cipherward_member import errors

PACKAGES = (
    cipherward_client,
    cipherward_compute,
    cipherward_contract,
    cipherward_identity,
    cipherward_kit,
    cipherward_ledger,
    cipherward_member,
    cipherward_storage,
)
pytestmark = pytest.mark.slow  # imports every module of the product

SETTINGS = 2  # the kit's status of settings out of form, which is no class
OPERATING = Path(__file__).resolve().parents[1] / "docs" / "operating.md"


def causes() -> list[type[CannotStart]]:
    """Return every cause that a module of ours defines."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found = CannotStart.__subclasses__()
    for cause in found:
        found.extend(cause.__subclasses__())
    return [cause for cause in found if cause.__module__.startswith("cipherward")]


def told() -> set[int]:
    """Return the statuses of the table."""
    statuses: set[int] = set()
    rows = re.findall(r"^    (\d+)(?:-(\d+))? ", errors.__doc__ or "", re.MULTILINE)
    for first, last in rows:
        statuses |= set(range(int(first), int(last or first) + 1))
    return statuses


def test_every_cause_has_a_status_of_its_own_that_a_supervisor_knows() -> None:
    statuses = [cause.exit_status for cause in causes()]
    assert len(statuses) > 10
    assert sorted(statuses) == sorted(set(statuses))
    assert set(statuses) <= set(REFUSED_TO_START)


def test_the_table_of_statuses_is_complete() -> None:
    assert told() == {SETTINGS, *(cause.exit_status for cause in causes())}


def test_an_operator_is_told_what_to_do_about_each_status() -> None:
    page = OPERATING.read_text(encoding="utf-8")
    section = page.split("## Exit statuses")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([0-9, ]+) \|", section, re.MULTILINE)
    assert {int(status) for row in rows for status in row.split(", ")} == told()
