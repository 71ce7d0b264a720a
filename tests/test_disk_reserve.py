"""What services refuse without room are calls that they have, and that take something in."""

from __future__ import annotations

import pytest

from cipherward.rpc_rules import RULES
from cipherward_compute.service import GROWING as COMPUTE
from cipherward_identity.service import GROWING as IDENTITY
from cipherward_ledger.service import GROWING as LEDGER
from cipherward_storage.service import GROWING as STORAGE

SERVICES = {"compute": COMPUTE, "identity": IDENTITY, "ledger": LEDGER, "storage": STORAGE}
# Giving up a right, and learning what became of one, needs no room that is not there.
NEVER = ("Get", "List", "Revoke", "OptOut", "PutOptOut", "StopRenewal", "Stream", "Watch")


@pytest.mark.parametrize("service", SERVICES)
def test_every_refused_call_exists_and_none_gives_up_a_right(service: str) -> None:
    prefix = f"/cipherward.{service}.v1."
    known = {name.rpartition("/")[2] for name in RULES if name.startswith(prefix)}
    assert set(SERVICES[service]) <= known
    assert not [name for name in SERVICES[service] if name.startswith(NEVER)]
