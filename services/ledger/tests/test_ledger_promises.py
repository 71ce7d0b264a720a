"""What the proto's comments promise is what the service answers, and each refusal was provoked."""

from __future__ import annotations

from cipherward_kit.testing import assert_promises_kept
from cipherward_ledger import errors
from cipherward_ledger.service import DOMAIN


def test_every_promise_is_kept() -> None:
    assert_promises_kept(DOMAIN, [errors], ["cipherward.ledger.v1"])
