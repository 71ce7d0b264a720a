"""Data keys as members propose them: the file of their columns, and the terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import decode_map, encode
from cipherward_client.cli.study import app
from cipherward_client.sdk.data_keys import (
    ColumnsUnreadable,
    DataKeyRequest,
    DataKeyUnreadable,
    data_key_of,
    read_columns,
)
from cipherward_studies.errors import DraftInvalid

FILE = """
data_set: cohort-1
variables:
  - {name: age, low: 0, high: 120, unit: a}
  - {name: bmi, low: 10, high: 80.5, fraction_bits: 8}
"""
MEMBERS = ("hospital-d", "hospital-a", "hospital-c", "hospital-b")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "columns.yaml"
    path.write_text(FILE)
    return path


def contract(request: DataKeyRequest, **changed: Any) -> pb.Contract:
    fields: dict[str, Any] = {
        "instance_id": b"k" * 16,
        "template": "data-key",
        "terms": request.terms(MEMBERS, 1000),
        "variables": encode({"key_digest": b"d" * 32}),
    }
    return pb.Contract(**{**fields, **changed})


def test_a_file_of_columns_is_read_with_the_decimals_that_it_has(file: Path) -> None:
    text = read_columns(file)
    assert text.names == ("age", "bmi")
    assert (text.variable("bmi").high, text.variable("bmi").step) == (80.5, 2**-8)
    as_json = file.with_suffix(".json")
    as_json.write_text(
        '{"data_set": "cohort-1", "variables": [{"name": "x", "low": 0, "high": 1}]}'
    )
    assert read_columns(as_json).names == ("x",)


def test_a_file_that_describes_no_columns_is_refused(file: Path) -> None:
    file.write_text("{")
    with pytest.raises(ColumnsUnreadable):
        read_columns(file)
    file.write_text("data_set: cohort-1\nvariables: [{name: age, low: 2, high: 1}]\n")
    with pytest.raises(DraftInvalid, match="/variables/0/high"):
        read_columns(file)


def test_a_request_becomes_the_terms_of_its_contract(file: Path) -> None:
    text = read_columns(file)
    terms = decode_map(DataKeyRequest(text, 2026, enrol_seconds=60).terms(MEMBERS, 1000))
    assert terms["members"] == sorted(MEMBERS)
    assert (terms["threshold"], terms["approvals"]) == (3, 3)
    assert (terms["spec_digest"], terms["enrol_until"]) == (text.digest, 1060)


def test_a_data_key_is_shown_as_its_contract_stands(file: Path) -> None:
    request = DataKeyRequest(read_columns(file), 2026)
    found = data_key_of(contract(request))
    assert (found.data_set, found.year, found.key_digest) == ("cohort-1", 2026, b"d" * 32)
    assert data_key_of(contract(request, variables=encode({}))).key_digest == b""
    with pytest.raises(DataKeyUnreadable, match="no data key"):
        data_key_of(contract(request, template="study"))
    with pytest.raises(DataKeyUnreadable, match="out of form"):
        data_key_of(contract(request, terms=b""))


def test_the_commands_say_what_they_do() -> None:
    for command in (["key"], ["key", "propose"], ["enrol"]):
        shown = CliRunner().invoke(app, [*command, "--help"])
        assert shown.exit_code == 0
    assert "encrypted" in shown.output
