"""Domain separation of shared keys: one place, no tag the beginning of another."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

from cipherward_threshold import domains as lattice_domains
from cipherward_threshold.group import domains


def test_every_group_tag_is_registered_once() -> None:
    named = [value for value in vars(domains).values() if isinstance(value, bytes)]
    assert sorted(named) == sorted(domains.ALL_TAGS)
    assert len(set(named)) == len(named)


def test_no_tag_of_the_library_is_the_beginning_of_another() -> None:
    for one, other in permutations((*domains.ALL_TAGS, *lattice_domains.ALL_TAGS), 2):
        assert not other.startswith(one), (one, other)


def test_group_tags_fit_where_tags_go() -> None:
    assert all(len(tag) <= 255 for tag in domains.ALL_TAGS)  # RFC 9380, 5.3.3


def test_no_other_group_module_has_a_tag_of_its_own() -> None:
    modules = sorted(Path(domains.__file__).parent.rglob("*.py"))
    assert len(modules) > 20
    assert [m.name for m in modules if b'"cipherward/' in m.read_bytes()] == ["domains.py"]
