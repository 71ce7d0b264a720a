"""Domain-separation tags: registered, distinct, prefix-free."""

from __future__ import annotations

from itertools import permutations

from cipherward_threshold import domains
from cipherward_threshold.sampling import framed
from cipherward_threshold.wire import MAGIC


def test_every_tag_of_the_module_is_registered() -> None:
    named = {
        value for name, value in vars(domains).items() if name.isupper() and name != "ALL_TAGS"
    }
    assert named == set(domains.ALL_TAGS)
    assert len(named) == len(domains.ALL_TAGS)


def test_no_tag_is_a_prefix_of_another() -> None:
    for first, second in permutations(domains.ALL_TAGS, 2):
        assert not second.startswith(first)


def test_no_tagged_input_reads_as_a_message() -> None:
    for tag in domains.ALL_TAGS:
        assert not framed(tag).startswith(MAGIC)
