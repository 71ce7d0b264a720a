"""The shipped table is the published one, and FHIR carries it without loss."""

from __future__ import annotations

from typing import Any, cast

import pytest
from sklearn import datasets

from cipherward_client.demo.patients import load_patients, spread
from cipherward_client.fhir import VARIABLES, NotAnObservationBundle, bundle, values_of


@pytest.mark.slow
def test_the_shipped_table_is_scikit_learns_number_by_number() -> None:
    source = cast(Any, datasets).load_diabetes(scaled=False)
    names = [*source.feature_names, "progression"]
    patients = load_patients()
    assert len(patients) == len(source.data) == 442
    for patient, row, outcome in zip(patients, source.data, source.target, strict=True):
        assert patient.values == dict(zip(names, [*map(float, row), float(outcome)], strict=True))


def test_every_value_is_inside_its_plausible_range() -> None:
    ranges = {variable.name: (variable.low, variable.high) for variable in VARIABLES}
    for patient in load_patients():
        for name, value in patient.values.items():
            low, high = ranges[name]
            assert low <= value <= high


def test_a_bundle_comes_back_as_the_same_values() -> None:
    for patient in load_patients():
        assert values_of(bundle(patient.values)) == patient.values


@pytest.mark.parametrize(
    "document",
    [b"", b"{}", b"[]", b'{"resourceType":"Patient"}', b'{"resourceType":"Bundle","entry":[{}]}'],
)
def test_what_is_not_a_bundle_of_observations_is_refused(document: bytes) -> None:
    with pytest.raises(NotAnObservationBundle):
        values_of(document)


def test_every_patient_is_in_exactly_one_hospital() -> None:
    patients = load_patients()
    hospitals = ["a", "b", "c", "d"]
    dealt = spread(patients, hospitals)
    numbers = sorted(patient.number for group in dealt.values() for patient in group)
    assert numbers == [patient.number for patient in patients]
    assert {len(group) for group in dealt.values()} == {110, 111}
