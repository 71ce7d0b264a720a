"""The documents say how it is now."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from pathlib import Path

import pytest

from tools.configuration import TARGET, document

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda page: page.as_posix()
)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)(?:#[^)]*)?\)")
NAMED_TEST = re.compile(r"`(test_\w+)`")
TEST = re.compile(r"^ *(?:async )?def (test_\w+)\(", re.MULTILINE)
# Not followed by a dot or a path: those are modules.
NAMED_METRIC = re.compile(r"\b((?:cipherward|ledger)_[a-z0-9_]+)\b(?![./])")
METRIC = re.compile(r"\b(Counter|Gauge|Histogram)\(\s*\"([a-z0-9_]+)\"")


def sources(pattern: str) -> Iterator[str]:
    """Yield the text of our own Python files of that name."""
    for part in ("libs", "services", "tests"):
        for path in (ROOT / part).rglob(pattern):
            yield path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tests() -> Set[str]:
    """Return the names of all tests."""
    return {name for text in sources("test_*.py") for name in TEST.findall(text)}


@pytest.fixture(scope="module")
def metrics() -> Set[str]:
    """Return the names of all metrics, as Prometheus has them."""
    found = (match for text in sources("*.py") for match in METRIC.findall(text))
    return {f"{name}_total" if kind == "Counter" else name for kind, name in found}


def test_the_configuration_page_is_what_the_code_says() -> None:
    assert TARGET.read_text(encoding="utf-8") == document()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_test_that_a_page_names_is_there(page: Path, tests: Set[str]) -> None:
    assert set(NAMED_TEST.findall(page.read_text(encoding="utf-8"))) <= tests


@pytest.mark.parametrize("name", ["operating.md", "reliability.md", "threat-model.md"])
def test_every_metric_that_an_operator_is_told_of_is_there(name: str, metrics: Set[str]) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    packages = {path.name for path in ROOT.glob("*/*/src/cipherward_*")}
    assert set(NAMED_METRIC.findall(page)) - packages <= metrics
