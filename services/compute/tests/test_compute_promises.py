"""The comments of the proto and the refusals of the code are the same."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections import Counter

import cipherward_compute
from cipherward_chain.domains import TAGS
from cipherward_compute import errors, failures
from cipherward_compute.errors import StepFailed
from cipherward_compute.service import DOMAIN
from cipherward_kit.testing import assert_promises_kept
from cipherward_member import errors as shared
from cipherward_threshold.domains import ALL_TAGS


def test_no_tag_is_a_prefix_of_another() -> None:
    tags = [*TAGS, *ALL_TAGS]
    assert len(set(tags)) == len(tags)
    assert not [(a, b) for a in tags for b in tags if a != b and b.startswith(a)]


def causes(kind: type[StepFailed]) -> list[type[StepFailed]]:
    return [kind, *(cause for one in kind.__subclasses__() for cause in causes(one))]


def test_every_cause_of_a_failed_step_has_a_word_of_its_own() -> None:
    for module in pkgutil.walk_packages(cipherward_compute.__path__, "cipherward_compute."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = {cause: vars(cause).get("reason", "") for cause in causes(StepFailed)}
    words = Counter(found.values())
    words.update(
        word for name, word in vars(failures).items() if name.isupper() and isinstance(word, str)
    )
    assert not [word for word, uses in words.items() if uses > 1]
    assert all(re.fullmatch("[A-Z]+(_[A-Z]+)*", word) for word in words)


def test_every_promise_is_kept() -> None:
    assert_promises_kept(DOMAIN, [errors, shared], ["cipherward.compute.v1"])
