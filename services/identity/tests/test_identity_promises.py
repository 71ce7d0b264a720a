"""The comments of the proto and the service's refusals are the same list."""

from __future__ import annotations

from cipherward_identity import admissions, errors, openings, verification
from cipherward_identity.service import DOMAIN
from cipherward_kit.jobs import WorkerLost, WorkersBusy
from cipherward_kit.testing import assert_promises_kept
from cipherward_member.errors import ChainStale


def test_every_promise_is_kept() -> None:
    assert_promises_kept(
        DOMAIN,
        [admissions, errors, openings, verification],
        ["cipherward.identity.v1"],
        also=[ChainStale, WorkersBusy, WorkerLost],
    )
