"""The shipped templates, read anew from their YAML; and the other versions that histories vote."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from importlib import resources
from typing import Any, TypeAlias

import yaml

from cipherward_chain.canonical import decode_map, encode

# A YAML document has no types; what is read from it here is looked at by its name.
Document: TypeAlias = dict[str, Any]

SHIPPED = (
    "authority-change",
    "column-study",
    "consent",
    "data-key",
    "data-permit",
    "emergency-access",
    "erasure",
    "key-ceremony",
    "key-resharing",
    "machine-upgrade",
    "membership",
    "opening",
    "removal",
    "risk-score",
    "study",
    "suspension",
    "template-adoption",
)
PAUSED_CONSENT, LATER_CONSENT, BROKEN_CONSENT = 2, 3, 4
WEEK_SECONDS = 604_800

_PAUSES = """
@id("owner-pauses")
permit (principal, action in [Action::"pause", Action::"resume"], resource)
when { principal.parties.contains("owner") };
"""


@lru_cache
def shipped_sources() -> Mapping[str, Document]:
    """Return every shipped template as its YAML says; read-only by agreement."""
    folder = resources.files("cipherward_contract.templates")
    return {
        name: yaml.safe_load(folder.joinpath(f"{name}.yaml").read_text("utf-8")) for name in SHIPPED
    }


@lru_cache
def genesis_documents() -> Mapping[tuple[str, int], bytes]:
    """Return the documents of a genesis: what is shipped, and a consent that can be paused."""
    found = {(name, 1): encode(source) for name, source in shipped_sources().items()}
    found["consent", PAUSED_CONSENT] = encode(_paused_consent())
    return found


@lru_cache
def proposals() -> Mapping[int, bytes]:
    """Return the documents that members propose: versions of the consent; the last is broken."""
    later = {**shipped_sources()["consent"], "version": LATER_CONSENT}
    broken = {**shipped_sources()["consent"], "version": BROKEN_CONSENT, "finals": ["expired"]}
    return {LATER_CONSENT: encode(later), BROKEN_CONSENT: encode(broken)}


def known_templates() -> dict[tuple[str, int], Document]:
    """Return every document that a state may ever hold, as the state holds it."""
    documents = {**genesis_documents()}
    documents["consent", LATER_CONSENT] = proposals()[LATER_CONSENT]
    return {place: decode_map(document) for place, document in documents.items()}


def _paused_consent() -> Document:
    """Return a consent with one more state, a week at a time, fewer visits and purposes."""
    found = deepcopy(shipped_sources()["consent"])
    found["version"] = PAUSED_CONSENT
    found["states"] = ["active", "paused", "expired", "revoked"]
    found["terms"]["visits_max"] = {"type": "int", "minimum": 1, "maximum": 2}
    found["terms"]["purposes"]["one_of"] = ["HRESCH", "TREAT"]
    week = {"least": ["terms.expires", {"total": ["block.time", {"value": WEEK_SECONDS}]}]}
    found["timers"] = [
        {"states": ["active", "paused"], "when": {"due": week}, "transition": "expire"}
    ]
    pausing = {"kind": "transition", "by": ["owner"]}
    found["transitions"]["pause"] = {**pausing, "from": ["active"], "to": "paused"}
    found["transitions"]["resume"] = {**pausing, "from": ["paused"], "to": "active"}
    for name in ("revoke", "expire"):
        found["transitions"][name]["from"] = ["active", "paused"]
    found["policies"] += _PAUSES
    return found
