"""Studies of stored columns, as the researcher's side asks and reads them."""

from __future__ import annotations

from typing import Any

import pytest

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import decode_map, encode
from cipherward_client.sdk.column_studies import bound_of, circuit_of, template_of, widths_of
from cipherward_client.sdk.contract_reads import failure_of
from cipherward_client.sdk.study_explaining import explain_study
from cipherward_client.sdk.study_requests import (
    NO_KEY,
    kept_bytes,
    kept_draft,
    rounds_of,
    study_terms,
)
from cipherward_studies.column_plan import plan_for
from cipherward_studies.spec import Draft
from cipherward_threshold.parameters import profile

MEMBERS = ("east", "north", "south", "west")
PERMIT = b"p" * 16


def a_draft(**changed: Any) -> Draft:
    document: dict[str, Any] = {
        "data_set": "cohort-1",
        "variables": [{"name": "age", "low": 0, "high": 120}],
        "analyses": [
            {
                "kind": "product_sum",
                "x": {"variable": "age", "at": "north"},
                "y": {"variable": "age", "at": "south"},
            }
        ],
        "profile": "product-1",
        "data_key": {"id": "ab" * 16, "key_digest": "cd" * 32, "releases_max": 300},
    }
    return Draft.from_document(document | changed)


def over_rows() -> Draft:
    moments = {"kind": "moments", "variables": ["age"]}
    return a_draft(analyses=[moments], profile="additive-1", data_key={})


def test_its_terms_name_the_data_key_and_nothing_of_rounds_or_noise() -> None:
    draft = a_draft()
    terms = decode_map(study_terms(draft, draft.spec(NO_KEY), MEMBERS, (PERMIT, 10)))
    assert terms["source"] == bytes.fromhex("ab" * 16)
    assert terms["key_digest"] == bytes.fromhex("cd" * 32)
    assert (terms["key_releases_max"], terms["releases_max"]) == (300, 10)
    assert not {"rounds_max", "rho", "rho_max"} & terms.keys()


def test_a_study_over_rows_names_no_data_key() -> None:
    draft = over_rows()
    terms = decode_map(study_terms(draft, draft.spec(NO_KEY), MEMBERS, (PERMIT, 10)))
    assert "source" not in terms
    assert terms["rounds_max"] == 1


@pytest.mark.parametrize(
    ("draft", "template", "circuit", "widths"),
    [
        (a_draft(), "column-study", "product-sum", [1, 1, 1, 1]),
        (over_rows(), "study", "sum", [4]),
    ],
)
def test_either_kind_has_its_template_circuit_and_ciphertexts(
    draft: Draft, template: str, circuit: str, widths: list[int]
) -> None:
    plan = plan_for(draft.spec(NO_KEY))
    assert template_of(draft) == template
    assert circuit_of(plan) == circuit
    assert widths_of(plan) == widths


def test_a_product_beyond_what_columns_can_add_up_to_is_noise() -> None:
    bound = bound_of(plan_for(a_draft().spec(NO_KEY)))
    assert bound is not None
    assert bound < profile("product-1").plain_modulus // 2
    assert bound_of(plan_for(over_rows().spec(NO_KEY))) is None


def test_the_wallet_keeps_what_was_asked_with_its_data_key() -> None:
    assert kept_draft(kept_bytes(a_draft())) == a_draft()


def test_it_is_explained_with_its_two_releases() -> None:
    found = explain_study(a_draft(), MEMBERS)
    assert (found.quota.permit, found.quota.data_set, rounds_of(a_draft())) == (2, 2, 1)
    assert found.plan.values.bytes == 0  # the columns are stored already


def test_a_contract_says_why_it_has_failed() -> None:
    failed = pb.Contract(state="failed", variables=encode({"failure": "DIGEST_RELEASED"}))
    assert failure_of(failed) == "DIGEST_RELEASED"
    assert failure_of(pb.Contract(variables=encode({"round": 1}))) == ""
    assert failure_of(pb.Contract(variables=b"no map")) == ""
