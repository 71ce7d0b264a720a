"""The comments of the proto and the refusals of the code are the same."""

from __future__ import annotations

from cipherward_chain.domains import TAGS
from cipherward_compute import errors
from cipherward_compute.service import DOMAIN
from cipherward_kit.testing import assert_promises_kept
from cipherward_member import errors as shared
from cipherward_threshold.domains import ALL_TAGS


def test_no_tag_is_a_prefix_of_another() -> None:
    tags = [*TAGS, *ALL_TAGS]
    assert len(set(tags)) == len(tags)
    assert not [(a, b) for a in tags for b in tags if a != b and b.startswith(a)]


def test_every_promise_is_kept() -> None:
    assert_promises_kept(DOMAIN, [errors, shared], ["cipherward.compute.v1"])
