"""The endpoints file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cipherward_chain.endpoints import (
    Endpoint,
    Endpoints,
    EndpointsMalformed,
    EndpointUnknown,
)

Document = dict[str, Any]


@pytest.fixture
def document() -> Document:
    return {
        "chain_id": "test-chain",
        "ledger_member": "hospital-a",
        "endpoints": {
            "hospital-a": {
                "ledger": {
                    "listen": "127.0.0.1:4001",
                    "holder": "127.0.0.1:4002",
                    "health": "127.0.0.1:4003",
                    "metrics": "127.0.0.1:4004",
                },
                "contract": {"listen": "[::1]:4005"},
            },
            "hospital-b": {"storage": {"listen": "storage.hospital-b:443"}},
        },
        "certificates": {"hospital-a": "whoever wrote the file keeps more in it"},
    }


def parse(document: Document) -> Endpoints:
    return Endpoints.parse(json.dumps(document).encode())


def test_every_service_is_found(document: Document) -> None:
    found = parse(document)
    assert (found.chain_id, found.ledger_member) == ("test-chain", "hospital-a")
    assert found.of(found.home("hospital-b"), "ledger") == Endpoint(
        "127.0.0.1:4001", "127.0.0.1:4002", "127.0.0.1:4003", "127.0.0.1:4004"
    )
    assert found.of(found.home("hospital-b"), "contract") == Endpoint("[::1]:4005")
    assert found.of("hospital-b", "storage").listen == "storage.hospital-b:443"


@pytest.mark.parametrize(
    ("member", "service"), [("hospital-b", "ledger"), ("hospital-z", "storage"), ("", "")]
)
def test_a_service_that_nobody_runs_is_unknown(
    document: Document, member: str, service: str
) -> None:
    with pytest.raises(EndpointUnknown):
        parse(document).of(member, service)


FAULTS: list[Callable[[Document], object]] = [
    lambda d: d.pop("chain_id"),
    lambda d: d.update(ledger_member="hospital-z"),
    lambda d: d.update(endpoints=[]),
    lambda d: d["endpoints"].update({"hospital-c": 1}),
    lambda d: d["endpoints"]["hospital-b"].update({"cache": {"listen": "a:1"}}),
    lambda d: d["endpoints"]["hospital-b"].update({"storage": {}}),
    lambda d: d["endpoints"]["hospital-b"]["storage"].update(listen="a"),
    lambda d: d["endpoints"]["hospital-b"]["storage"].update(listen=":1"),
    lambda d: d["endpoints"]["hospital-b"]["storage"].update(listen="a:0"),
    lambda d: d["endpoints"]["hospital-b"]["storage"].update(listen="a:65536"),
    lambda d: d["endpoints"]["hospital-b"]["storage"].update(listen="a:x"),
    lambda d: d["endpoints"]["hospital-b"]["storage"].update(listen=1),
    lambda d: d["endpoints"]["hospital-b"]["storage"].update(grpc="a:1"),
]


@pytest.mark.parametrize("change", FAULTS)
def test_a_file_with_anything_wrong_is_refused(
    document: Document, change: Callable[[Document], object]
) -> None:
    change(document)
    with pytest.raises(EndpointsMalformed):
        parse(document)


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(EndpointsMalformed):
        Endpoints.parse(b"chain_id = 'x'")
