"""The templates that this release ships: YAML beside this module, made into documents."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

import yaml

from cipherward_chain.canonical import encode
from cipherward_contract.templates.checks import check_template
from cipherward_contract.templates.document import Template
from cipherward_contract.templates.parsing import parse_template

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


def document_of(source: str) -> bytes:
    """Return the canonical document of a template's YAML `source`.

    Raises:
        NotCanonical: it holds what a document cannot, such as a float or a null.
    """
    return encode(yaml.safe_load(source))


@cache  # they are part of this release
def load_shipped() -> Mapping[str, tuple[Template, bytes]]:
    """Return every shipped template with its document, checked as a deployment checks it."""
    found: dict[str, tuple[Template, bytes]] = {}
    for name in SHIPPED:
        source = (
            resources.files("cipherward_contract.templates")
            .joinpath(f"{name}.yaml")
            .read_text("utf-8")
        )
        document = document_of(source)
        template = parse_template(document)
        check_template(template)
        found[name] = (template, document)
    return MappingProxyType(found)
