"""Domain separation: one place, no tag the beginning of another."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import cipherward_anoncred.domains as domains

_OURS = {
    name: tag
    for name, tag in vars(domains).items()
    if isinstance(tag, bytes) and tag.startswith(b"CIPHERWARD_")
}


def test_no_tag_of_ours_is_the_beginning_of_another() -> None:
    assert len(_OURS) >= 14
    for one, other in permutations(_OURS.values(), 2):
        assert not other.startswith(one), (one, other)


def test_tags_of_ours_fit_where_tags_go() -> None:
    for name, tag in _OURS.items():
        assert tag.endswith(b"_V1_"), name
        assert len(tag) <= 255, name  # RFC 9380, 5.3.3


def test_no_tag_of_ours_meets_the_drafts() -> None:
    drafts = {
        name: tag
        for name, tag in vars(domains).items()
        if isinstance(tag, bytes) and name not in _OURS
    }
    assert len(drafts) >= 10
    for tag in drafts.values():
        assert not any(ours.startswith(tag) for ours in _OURS.values())


def test_no_other_module_has_a_tag_of_its_own() -> None:
    modules = sorted(Path(domains.__file__).parent.glob("*.py"))
    with_tags = [module.name for module in modules if b'"CIPHERWARD_' in module.read_bytes()]
    assert len(modules) > 10
    assert with_tags == ["domains.py"]
