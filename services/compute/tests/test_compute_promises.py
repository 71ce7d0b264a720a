"""The comments of the proto and the refusals of the code are the same."""

from __future__ import annotations

from cipherward_chain import domains as chain_domains
from cipherward_compute import domains, errors
from cipherward_compute.service import DOMAIN
from cipherward_kit.testing import assert_promises_kept
from cipherward_threshold.domains import ALL_TAGS


def test_no_tag_is_a_prefix_of_another() -> None:
    tags = [*domains.TAGS, *chain_domains.TAGS, *ALL_TAGS]
    assert len(set(tags)) == len(tags)
    assert not [(a, b) for a in tags for b in tags if a != b and b.startswith(a)]


def test_every_promise_is_kept() -> None:
    assert_promises_kept(DOMAIN, [errors], ["cipherward.compute.v1"])
