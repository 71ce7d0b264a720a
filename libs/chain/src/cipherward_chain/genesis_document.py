"""Writing of a genesis document: what a founder of an alliance does once."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict

from cipherward_chain.comet import Validator
from cipherward_chain.genesis import (
    KEY_TYPE,
    Issuer,
    Member,
    Parameters,
    TemplateDocument,
)
from cipherward_chain.members import issuer_document, member_document
from cipherward_chain.rfc3339 import format_time

# CometBFT's evidence parameters; our blocks carry none, so its own defaults stand.
_EVIDENCE = {
    "max_age_num_blocks": "100000",
    "max_age_duration": "172800000000000",
    "max_bytes": "1048576",
}


def alliance_state(
    engine: str,
    members: Sequence[Member],
    issuers: Sequence[Issuer],
    templates: Sequence[TemplateDocument],
    parameters: Parameters,
) -> dict[str, object]:
    """Return the `app_state` of a genesis: machine version 1 and what the alliance is made of."""
    return {
        "engine": engine,
        "machine_version": 1,
        "members": [member_document(member) for member in members],
        "issuers": [issuer_document(issuer) for issuer in issuers],
        "templates": [
            {"name": t.name, "version": t.version, "document": t.document.hex()} for t in templates
        ],
        "parameters": asdict(parameters),
    }


def genesis_document(
    chain_id: str,
    time_ns: int,
    validators: Sequence[tuple[str, Validator]],
    app_state: dict[str, object],
    parameters: Parameters,
) -> bytes:
    """Return genesis.json; its bytes are what the digest names, so they are written once and
    copied.

    Args:
        time_ns: Unix nanoseconds.
        validators: (name, validator).
        app_state: as `alliance_state` makes it.
    """
    document = {
        "genesis_time": format_time(time_ns),
        "chain_id": chain_id,
        "initial_height": "1",
        "consensus_params": {
            "block": {"max_bytes": str(parameters.block_bytes_max), "max_gas": "-1"},
            "evidence": _EVIDENCE,
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": str(app_state["machine_version"])},
            "abci": {},
        },
        "validators": [
            {
                "address": validator.address.hex().upper(),
                "pub_key": {
                    "type": KEY_TYPE,
                    "value": base64.b64encode(validator.public_key).decode(),
                },
                "power": str(validator.power),
                "name": name,
            }
            for name, validator in validators
        ],
        "app_hash": "",
        "app_state": app_state,
    }
    return json.dumps(document, indent=1).encode() + b"\n"
