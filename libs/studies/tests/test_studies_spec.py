"""The document that a researcher writes, and the one text that follows from it."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cipherward_chain.canonical import Value, decode_map, encode
from cipherward_studies.document import STEP_SECONDS
from cipherward_studies.errors import DraftInvalid, SpecMalformed
from cipherward_studies.spec import SPEC_BYTES_MAX, Draft, parse_spec

KEY = b"a requester's public key"
DOCUMENT: dict[str, Any] = {
    "data_set": "cohort-1",
    "variables": [
        {"name": "age", "low": 18, "high": 100, "unit": "years", "missing": "refuse"},
        {"name": "bmi", "low": "10.50", "high": 60, "unit": "kg/m2", "outside": "clip"},
        {"name": "smoker", "kind": "flag"},
    ],
    "cohort": [
        {"variable": "age", "op": "between", "values": [40, 80]},
        {"variable": "smoker", "op": "==", "values": ["1"]},
    ],
    "analyses": [
        {"kind": "moments", "variables": ["bmi"], "statistics": ["variance", "mean"]},
        {"kind": "histogram", "variable": "bmi", "bins": "16", "quantiles": [0.5]},
    ],
    "minimum": 20,
    "rho_micro": 5000,
    "members": ["hospital-a", "hospital-b", "hospital-c"],
}

SERVICES = Path(__file__).resolve().parents[3] / "services"
TEMPLATES = SERVICES / "contract" / "src" / "cipherward_contract" / "templates"

Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return document


def test_what_is_not_written_has_its_default() -> None:
    draft = Draft.from_document(DOCUMENT)
    age, bmi, smoker = draft.variables
    assert (age.missing, age.outside, age.kind) == ("refuse", "exclude", "number")
    assert (bmi.low, bmi.outside, bmi.missing) == (10.5, "clip", "exclude")
    assert (smoker.low, smoker.high, smoker.unit) == (0.0, 1.0, "")
    assert (draft.approvals, draft.step_seconds, draft.profile) == (0, 300, "additive-1")
    assert draft.cohort[1].values == (1.0,)
    assert draft.outputs == ("count", "histogram", "mean", "quantiles", "variance")


def test_a_text_is_read_as_it_was_written() -> None:
    draft = Draft.from_document(DOCUMENT)
    spec = parse_spec(draft.text(KEY))
    assert (spec.variables, spec.cohort, spec.analyses) == (
        draft.variables,
        draft.cohort,
        draft.analyses,
    )
    assert (spec.minimum, spec.rho_micro, spec.outputs) == (20, 5000, draft.outputs)
    assert spec.requester_public_key == KEY
    assert spec.requester_key_digest == hashlib.sha256(KEY).digest()
    assert spec.digest == hashlib.sha256(draft.text(KEY)).digest()
    assert KEY.hex() not in repr(spec)


def test_numbers_and_their_texts_are_one_study() -> None:
    # BaseLoader makes texts of all scalars
    texts: Any = yaml.load(json.dumps(DOCUMENT), Loader=yaml.BaseLoader)
    assert texts["minimum"] == "20"
    assert Draft.from_document(texts) == Draft.from_document(DOCUMENT)


def test_a_kept_document_is_the_same_study() -> None:
    draft = Draft.from_document(DOCUMENT)
    kept = decode_map(encode(draft.to_document()))
    assert Draft.from_document(kept) == draft
    assert Draft.from_document(kept).text(KEY) == draft.text(KEY)


def test_members_and_delays_are_not_part_of_the_text() -> None:
    draft = Draft.from_document(DOCUMENT)
    assert draft.for_members(("hospital-d",)).text(KEY) == draft.text(KEY)
    assert draft.text(b"another key") != draft.text(KEY)


FAULTS: list[tuple[Change, str, str]] = [
    (lambda d: d.pop("variables"), "", "lacks variables"),
    (lambda d: d.update(stats=["mean"]), "/stats", "unknown"),
    (lambda d: d.update({"a/b~": 1}), "/a~1b~0", "unknown"),
    (lambda d: d.update(data_set="diabetes"), "/data_set", "cohort-1"),
    (lambda d: d.update(data_set="cohort-100"), "/data_set", "cohort-1"),
    (lambda d: d.update(variables=[]), "/variables", "0 entries"),
    (lambda d: d.update(variables="bmi"), "/variables", "not a list"),
    (lambda d: d["variables"].append("bmi"), "/variables/3", "named entries"),
    (lambda d: d["variables"][0].pop("low"), "/variables/0", "lacks low"),
    (lambda d: d["variables"][0].update(low=100), "/variables/0/high", "not above"),
    (lambda d: d["variables"][0].update(low="1e3"), "/variables/0/low", "decimal"),
    (lambda d: d["variables"][0].update(low=float("nan")), "/variables/0/low", "decimal"),
    (lambda d: d["variables"][0].update(low=0.1234567891), "/variables/0/low", "9 decimals"),
    (lambda d: d["variables"][0].update(low=True), "/variables/0/low", "decimal"),
    (lambda d: d["variables"][0].update(name="Age"), "/variables/0/name", "name"),
    (lambda d: d["variables"][0].update(unit="y" * 33), "/variables/0/unit", "32"),
    (lambda d: d["variables"][0].update(missing="zero"), "/variables/0/missing", "exclude"),
    (lambda d: d["variables"][1].update(name="age"), "/variables/1/name", "twice"),
    (lambda d: d["variables"][2].update(low=2), "/variables/2/high", "not above"),
    (lambda d: d["cohort"][0].update(variable="sex"), "/cohort/0/variable", "none of"),
    (lambda d: d["cohort"][0].update(op="~"), "/cohort/0/op", "between"),
    (lambda d: d["cohort"][0].update(values=[40]), "/cohort/0/values", "takes 2"),
    (lambda d: d["cohort"][0].update(values=[80, 40]), "/cohort/0/values/1", "not above"),
    (lambda d: d["cohort"][1].update(values=[0, 1]), "/cohort/1/values", "takes 1"),
    (lambda d: d["analyses"].append("mean"), "/analyses/2", "named entries"),
    (lambda d: d["analyses"][0].pop("kind"), "/analyses/0/kind", "moments"),
    (lambda d: d["analyses"][0].update(kind="median"), "/analyses/0/kind", "histogram"),
    (lambda d: d["analyses"][0].update(bins=4), "/analyses/0/bins", "unknown"),
    (lambda d: d["analyses"][0].update(variables=["x"]), "/analyses/0", "none of"),
    (lambda d: d["analyses"][0].update(statistics=["mode"]), "/analyses/0/statistics/0", "sum"),
    (
        lambda d: d["analyses"][0].update(variables=["bmi", "bmi"]),
        "/analyses/0/variables/1",
        "twice",
    ),
    (lambda d: d["analyses"][1].update(variable="smoker"), "/analyses/1", "flag"),
    (lambda d: d.update(cohort=[]), "/variables/0", "used by no"),
    (lambda d: d.update(minimum=9), "/minimum", "10 to"),
    (lambda d: d.update(minimum="ten"), "/minimum", "whole"),
    (lambda d: d.update(minimum=10.5), "/minimum", "whole"),
    (lambda d: d.update(rho_micro=-1), "/rho_micro", "whole"),
    (lambda d: d.update(rounds_max=51), "/rounds_max", "50"),
    (lambda d: d.update(members=["Hospital"]), "/members/0", "member"),
    (lambda d: d.update(step_seconds=29), "/step_seconds", "30 to"),
    (lambda d: d.update(profile="Additive"), "/profile", "profile"),
]


@pytest.mark.parametrize(("change", "pointer", "says"), FAULTS)
def test_a_fault_is_named_where_it_stands(change: Change, pointer: str, says: str) -> None:
    with pytest.raises(DraftInvalid) as refused:
        Draft.from_document(changed(change))
    found = {fault.pointer: fault.text for fault in refused.value.faults}
    assert pointer in found
    assert says in found[pointer]


@pytest.mark.parametrize("template", ["study", "column-study", "data-key", "risk-score"])
def test_a_step_may_take_what_the_contract_allows(template: str) -> None:
    contract = yaml.safe_load((TEMPLATES / f"{template}.yaml").read_text(encoding="utf-8"))
    allowed = contract["terms"]["step_seconds"]
    assert (allowed["minimum"], allowed["maximum"]) == STEP_SECONDS[:2]


def test_all_faults_of_a_document_are_told_at_once() -> None:
    document = changed(
        lambda d: (
            d.update(minimum=1),
            d["variables"][0].update(low="x"),
            d["analyses"][1].update(bins=-1),
        )
    )
    with pytest.raises(DraftInvalid) as refused:
        Draft.from_document(document)
    pointers = [fault.pointer for fault in refused.value.faults]
    assert pointers == ["/variables/0/low", "/analyses/1/bins", "/minimum"]
    assert "/variables/0/low: " in str(refused.value)


@pytest.mark.parametrize("document", [None, 5, [], "data_set: cohort-1"])
def test_what_is_no_map_is_no_study(document: object) -> None:
    with pytest.raises(DraftInvalid):
        Draft.from_document(document)


def text_with(**fields: Value) -> bytes:
    return encode(decode_map(Draft.from_document(DOCUMENT).text(KEY)) | fields)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\xa0",
        b"\xff" * 40,
        bytes(SPEC_BYTES_MAX + 1),
        text_with(version=1),
        text_with(requester_public_key=b""),
        text_with(requester_public_key="text"),
        text_with(requester_public_key=bytes(805 * 1024)),
        text_with(members=[]),
        text_with(minimum="20"),
        text_with(data_set="cohort-0"),
        text_with(cohort=[]),
        Draft.from_document(DOCUMENT).text(KEY) + b"\x00",
    ],
)
def test_octets_that_are_not_the_text_of_a_study_are_refused(octets: bytes) -> None:
    with pytest.raises(SpecMalformed):
        parse_spec(octets)


def test_a_text_in_another_form_of_the_same_study_is_refused() -> None:
    fields: dict[str, Any] = dict(decode_map(Draft.from_document(DOCUMENT).text(KEY)))
    fields["variables"][1]["low"] = "10.50"  # what is written is 10.5
    with pytest.raises(SpecMalformed, match="one form"):
        parse_spec(encode(fields))
    fields = dict(decode_map(Draft.from_document(DOCUMENT).text(KEY)))
    fields["analyses"][0]["statistics"] = ["variance", "mean"]  # their order is the list's
    with pytest.raises(SpecMalformed, match="one form"):
        parse_spec(encode(fields))


@given(st.binary(max_size=200))
def test_any_octets_are_refused_by_name_or_read(octets: bytes) -> None:
    with pytest.raises(SpecMalformed):
        parse_spec(octets)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["kind", "name", "low", "variables", "values", "bins", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    entry=st.sampled_from(["data_set", "variables", "cohort", "analyses", "minimum", "members"]),
    tree=TREES,
)
def test_whatever_stands_in_an_entry_is_read_or_named(entry: str, tree: object) -> None:
    try:
        draft = Draft.from_document(DOCUMENT | {entry: tree})
    except DraftInvalid as error:
        named = error.faults
    else:
        named = ("none",)
        assert parse_spec(draft.text(KEY)).variables == draft.variables
    assert named
