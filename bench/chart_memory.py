"""What the chart gives each service's pod: its request for memory, and its limit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

VALUES: Final = Path(__file__).resolve().parent.parent / "deploy/helm/cipherward/values.yaml"
# The chart writes no other unit.
MEBIBYTES: Final = {"Mi": 1, "Gi": 1_024}


class QuantityUnknown(ValueError):
    """The chart has a quantity in a unit that is not known here."""


@dataclass(frozen=True, slots=True)
class PodMemory:
    """A pod's request and limit in MiB."""

    request: int
    limit: int


def pod_memory(service: str) -> PodMemory:
    """Return what the chart's own values give a service, or a worker or a canary.

    Raises:
        QuantityUnknown: in a unit that is not known here.
    """
    values: Any = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    resources = {**values, **values["services"]}[service]["resources"]
    return PodMemory(*(mebibytes(resources[part]["memory"]) for part in ("requests", "limits")))


def mebibytes(quantity: str) -> int:
    """Return a quantity of memory in MiB.

    Raises:
        QuantityUnknown: in a unit that is not known here.
    """
    number, unit = quantity[:-2], quantity[-2:]
    if unit not in MEBIBYTES or not number.isdecimal():
        raise QuantityUnknown(f"{quantity!r} is no number of Mi or Gi")
    return int(number) * MEBIBYTES[unit]
