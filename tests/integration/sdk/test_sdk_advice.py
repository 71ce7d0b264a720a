"""Whatever a service or the chain refuses, the SDK has advice for it."""

from __future__ import annotations

import importlib
import pkgutil

import cipherward_compute
import cipherward_contract
import cipherward_identity
import cipherward_ledger
import cipherward_storage
from cipherward_client.sdk.advice import ADVICE
from cipherward_contract.refusals import Reason
from cipherward_kit.errors import ServiceError

SERVICES = (
    cipherward_compute,
    cipherward_contract,
    cipherward_identity,
    cipherward_ledger,
    cipherward_storage,
)


def test_every_refusal_of_the_chain_has_advice() -> None:
    assert {reason.value for reason in Reason} <= set(ADVICE)


def test_every_error_of_every_service_has_advice() -> None:
    reasons: dict[str, str] = {}
    for package in SERVICES:
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if module.name.endswith("__main__"):
                continue
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and issubclass(value, ServiceError):
                    reason = getattr(value, "reason", "")
                    reasons[reason] = value.__qualname__
    del reasons[""]  # the base class has none
    assert len(reasons) > 40  # the walk found the services
    assert not {reason: name for reason, name in reasons.items() if reason not in ADVICE}
