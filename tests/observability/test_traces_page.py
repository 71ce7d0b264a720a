"""docs/traces.md lists everything that a span can say."""

from __future__ import annotations

import re
from pathlib import Path

from cipherward_kit.config import TracesConfig, env_name
from cipherward_kit.tracing import Attribute

PAGE = (Path(__file__).parents[2] / "docs" / "traces.md").read_text(encoding="utf-8")


def rows(pattern: str) -> list[str]:
    """Return the first cells of the page's tables that look like that."""
    return re.findall(rf"^\| `({pattern})` \|", PAGE, re.MULTILINE)


def test_the_page_lists_the_attributes_and_no_others() -> None:
    assert sorted(rows(r"[a-z_.]+")) == sorted(one.value for one in Attribute)


def test_the_page_lists_the_settings() -> None:
    assert rows("[A-Z_]+") == [env_name(name) for name in TracesConfig.model_fields]
