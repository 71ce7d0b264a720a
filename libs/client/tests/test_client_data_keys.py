"""Data keys as members propose them: the file of their columns, and the terms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import decode_map, encode
from cipherward_chain.key_holders import KeyHolders
from cipherward_client.cli.data_keys import document_of, lines_of
from cipherward_client.cli.study import app
from cipherward_client.sdk.data_keys import (
    ColumnsUnreadable,
    DataKeyNotReady,
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
    assert found.holders == KeyHolders(tuple(sorted(MEMBERS)), 3)
    assert data_key_of(contract(request, variables=encode({}))).key_digest == b""
    with pytest.raises(DataKeyUnreadable, match="no data key"):
        data_key_of(contract(request, template="study"))
    with pytest.raises(DataKeyUnreadable, match="out of form"):
        data_key_of(contract(request, terms=b""))


def test_a_key_that_was_handed_over_is_held_by_those_who_got_it(file: Path) -> None:
    held = KeyHolders(("hospital-a", "hospital-c", "hospital-e"), 3, b"r" * 16)
    found = data_key_of(contract(DataKeyRequest(read_columns(file), 2026)), held)
    assert (found.holders, found.members) == (held, tuple(sorted(MEMBERS)))


def test_what_is_shown_of_a_key_says_who_holds_it_and_what_a_study_writes(file: Path) -> None:
    request = DataKeyRequest(read_columns(file), 2026)
    made = data_key_of(contract(request, state="ready"))
    assert not [line for line in lines_of(made) if "handed over" in line]
    held = KeyHolders(("hospital-a", "hospital-c", "hospital-e"), 3, b"r" * 16)
    handed = data_key_of(contract(request, state="ready"), held)
    text = "\n".join(lines_of(handed))
    assert "columns of hospital-a, hospital-b, hospital-c, hospital-d;" in text
    assert "held by hospital-a, hospital-c, hospital-e: 3 of them decrypt." in text
    assert f"handed over to them by resharing {held.sharing.hex()}." in text
    assert "members: [hospital-a, hospital-c, hospital-e]" in text
    shown = json.loads(json.dumps(document_of(handed)))
    assert (shown["holders"], shown["threshold"]) == (list(held.members), 3)
    failed = contract(request, state="failed", variables=encode({"failure": "FLAGS_WRONG"}))
    assert "hospital's flags are not all 0 or 1" in "\n".join(lines_of(data_key_of(failed)))


def test_only_a_key_with_columns_is_ready(file: Path) -> None:
    request = DataKeyRequest(read_columns(file), 2026)
    data_key_of(contract(request, state="ready")).require_ready()
    failed = contract(request, state="failed", variables=encode({"failure": "FLAGS_WRONG"}))
    assert data_key_of(failed).failure == "FLAGS_WRONG"
    for state in ("enrolling", "retired", "failed"):
        with pytest.raises(DataKeyNotReady, match=state):
            data_key_of(contract(request, state=state)).require_ready()


def test_the_commands_say_what_they_do() -> None:
    for command in (["key"], ["key", "propose"], ["enrol"]):
        shown = CliRunner().invoke(app, [*command, "--help"])
        assert shown.exit_code == 0
    assert "encrypted" in shown.output
