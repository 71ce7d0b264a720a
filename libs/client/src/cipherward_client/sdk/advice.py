"""What every reason means to a person: one cause and one fix.

Reasons are what the services, the chain and this package give in their errors; a test holds that
none of them is missing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cipherward_client.sdk.advice_backup import BACKUP
from cipherward_client.sdk.advice_chain import CONTRACTS
from cipherward_client.sdk.advice_here import HERE
from cipherward_client.sdk.advice_joining import JOINING
from cipherward_client.sdk.advice_phrases import UNEXPECTED
from cipherward_client.sdk.advice_services import SERVICES

__all__ = ["ADVICE", "UNEXPECTED", "Advice"]


@dataclass(frozen=True, slots=True)
class Advice:
    """One sentence for the cause, one for what to do."""

    cause: str
    fix: str


def _merged(*tables: Mapping[str, tuple[str, str]]) -> Mapping[str, Advice]:
    found: dict[str, Advice] = {}
    for table in tables:
        found.update((reason, Advice(*sentences)) for reason, sentences in table.items())
    return MappingProxyType(found)


ADVICE: Mapping[str, Advice] = _merged(SERVICES, CONTRACTS, HERE, JOINING, BACKUP)
