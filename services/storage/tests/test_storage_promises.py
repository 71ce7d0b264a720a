"""The protos promise errors in comments; this keeps the promise true. Runs last."""

from __future__ import annotations

from cipherward_kit.testing import assert_promises_kept
from cipherward_member import errors as shared
from cipherward_member.canaries import CanaryReportMalformed
from cipherward_storage import errors
from cipherward_storage.service import DOMAIN


def test_every_promise_is_kept() -> None:
    assert_promises_kept(
        DOMAIN, [errors, shared], ["cipherward.storage.v1"], also=[CanaryReportMalformed]
    )
