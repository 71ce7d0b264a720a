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
# Not followed by a dot or a path: those are modules. In a family's name the rest is an ellipsis.
NAMED_METRIC = re.compile(r"\b(cipherward_[a-z0-9_]+)\b(?![./…])")
# docs/metrics.md has them all: tests/observability holds it to the code.
METRIC = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \|", re.MULTILINE)


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
    found = METRIC.findall((ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"))
    histograms = [name for name, kind in found if kind == "histogram"]
    parts = {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}
    return {name for name, _ in found} | parts


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_metric_that_a_page_names_is_there(page: Path, metrics: Set[str]) -> None:
    packages = {path.name for path in ROOT.glob("*/*/src/cipherward_*")}
    named = set(NAMED_METRIC.findall(page.read_text(encoding="utf-8")))
    assert named - packages <= metrics
