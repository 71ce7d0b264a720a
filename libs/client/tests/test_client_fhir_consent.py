"""FHIR Consents become contracts and come back; what no contract says is refused by its path.

The examples are those that IHE's Privacy Consent on FHIR names for its basic and intermediate
profiles, told anew: a consent to treatment, one that has expired, a dissent, data of a time frame,
of an author, of an encounter, named data, data left out, purposes, readers, a sensitivity label.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cipherward_client.fhir_consent.codes import ACT_REASON, DUO
from cipherward_client.fhir_consent.compiling import (
    CompiledConsent,
    Frame,
    compile_consent,
    consent_document,
)
from cipherward_client.fhir_consent.directory import Directory, Grantee
from cipherward_client.fhir_consent.findings import ConsentNotExpressible
from cipherward_client.sdk.consents import ConsentTerms

NOW = 1_790_000_000  # in September 2026
END = "2027-01-31T12:00:00+01:00"
EXPIRES = 1_801_393_201  # the second after END
RECORDS = [bytes([n]) * 16 for n in (1, 2, 3)]
KEY = bytes(range(32))
SHOWN = Directory(
    records={f"DocumentReference/{n}": record for n, record in enumerate(RECORDS, start=1)},
    grantees={
        "Organization/b": Grantee("hospital-b"),
        "Organization/c": Grantee("hospital-c"),
        "Practitioner/bea": Grantee("hospital-b", KEY),
    },
    representatives={"RelatedPerson/mother": KEY},
    all_records=frozenset(RECORDS),
)

Json = dict[str, Any]


def coded(code: str, system: str = ACT_REASON) -> Json:
    return {"system": system, "code": code}


def actor(reference: str) -> Json:
    role = coded("IRCP", "http://terminology.hl7.org/CodeSystem/v3-ParticipationType")
    return {"role": {"coding": [role]}, "reference": {"reference": reference}}


def data(number: int) -> Json:
    return {"meaning": "instance", "reference": {"reference": f"DocumentReference/{number}"}}


def consent(**provision: Any) -> Json:
    """A consent to treatment by hospital-b; `provision` replaces parts of its provision."""
    root: Json = {
        "type": "permit",
        "period": {"end": END},
        "actor": [actor("Organization/b")],
        "purpose": [coded("TREAT"), coded("HPAYMT"), coded("HOPERAT")],
        **provision,
    }
    return {
        "resourceType": "Consent",
        "id": "example",
        "meta": {"security": [coded("HTEST")]},
        "status": "active",
        "scope": {
            "coding": [
                coded("patient-privacy", "http://terminology.hl7.org/CodeSystem/consentscope")
            ]
        },
        "category": [{"coding": [coded("59284-0", "http://loinc.org")]}],
        "patient": {"reference": "Patient/p"},
        "dateTime": "2026-06-13",
        "performer": [{"reference": "Patient/p"}],
        "organization": [{"reference": "Organization/a"}],
        "sourceReference": {"reference": "DocumentReference/signed"},
        "policy": [{"uri": "https://policies.example.org/privacy"}],
        "provision": {name: value for name, value in root.items() if value is not None},
    }


def compiled(document: Json, directory: Directory = SHOWN) -> CompiledConsent:
    return compile_consent(json.dumps(document).encode(), directory, now=NOW)


def test_a_consent_to_treatment_is_one_contract_a_record() -> None:
    found = compiled(consent())
    assert [one.record_id for one in found.terms] == RECORDS
    for one in found.terms:
        assert one.grantee_member == "hospital-b"
        assert one.grantee_key == one.representative_key == b""
        assert one.purposes == ("HOPERAT", "HPAYMT", "TREAT")
        assert one.expires == EXPIRES


def test_named_data_is_about_those_records_only() -> None:
    found = compiled(consent(data=[data(2)]))
    assert [one.record_id for one in found.terms] == [RECORDS[1]]


def test_data_that_is_left_out_is_not_granted() -> None:
    found = compiled(consent(provision=[{"type": "deny", "data": [data(2)]}]))
    assert [one.record_id for one in found.terms] == [RECORDS[0], RECORDS[2]]


def test_an_exception_takes_only_what_fits_all_its_criteria() -> None:
    exception = {"type": "deny", "data": [data(1)], "purpose": [coded("HPAYMT")]}
    found = compiled(consent(provision=[exception]))
    assert [one.purposes for one in found.terms] == [
        ("HOPERAT", "TREAT"),
        ("HOPERAT", "HPAYMT", "TREAT"),
        ("HOPERAT", "HPAYMT", "TREAT"),
    ]


def test_a_reader_may_be_one_person_of_a_member() -> None:
    found = compiled(consent(actor=[actor("Practitioner/bea")], data=[data(1)]))
    assert (found.terms[0].grantee_member, found.terms[0].grantee_key) == ("hospital-b", KEY)


def test_denying_a_member_denies_its_people() -> None:
    readers = [actor("Practitioner/bea"), actor("Organization/c")]
    exception = {"type": "deny", "actor": [actor("Organization/b")]}
    found = compiled(consent(actor=readers, data=[data(1)], provision=[exception]))
    assert [one.grantee_member for one in found.terms] == ["hospital-c"]


def test_purposes_of_research_that_name_no_disease_are_known() -> None:
    found = compiled(consent(purpose=[coded("DUO_0000042", DUO)], data=[data(1)]))
    assert found.terms[0].purposes == ("GRU",)


def test_a_representative_is_the_contracts() -> None:
    document = consent(data=[data(1)])
    document["performer"] = [{"reference": "RelatedPerson/mother"}]
    assert compiled(document).terms[0].representative_key == KEY


def test_identifiers_of_the_alliance_need_no_directory() -> None:
    record = {"identifier": {"system": "urn:cipherward:record", "value": RECORDS[0].hex()}}
    reader = actor("")
    reader["reference"] = {"identifier": {"system": "urn:cipherward:member", "value": "hospital-d"}}
    document = consent(actor=[reader], data=[{"meaning": "instance", "reference": record}])
    (found,) = compiled(document, Directory()).terms
    assert (found.record_id, found.grantee_member) == (RECORDS[0], "hospital-d")


def test_a_day_ends_with_its_last_second_in_utc() -> None:
    assert compiled(consent(period={"end": "2027-01-31"})).terms[0].expires == 1_801_440_000


ROUND_TRIPS: dict[str, Callable[[], Json]] = {
    "treatment": consent,
    "named data": lambda: consent(data=[data(1), data(3)]),
    "data left out": lambda: consent(provision=[{"type": "deny", "data": [data(2)]}]),
    "a purpose left out": lambda: consent(
        provision=[{"type": "deny", "data": [data(2)], "purpose": [coded("TREAT")]}]
    ),
    "several readers": lambda: consent(
        actor=[actor("Organization/b"), actor("Organization/c"), actor("Practitioner/bea")]
    ),
    "a reader left out of one record": lambda: consent(
        actor=[actor("Organization/b"), actor("Organization/c")],
        provision=[{"type": "deny", "actor": [actor("Organization/c")], "data": [data(1)]}],
    ),
    "research": lambda: consent(purpose=[coded("HRESCH"), coded("DUO_0000018", DUO)]),
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_a_consent_comes_back_and_means_the_same(name: str) -> None:
    first = compiled(ROUND_TRIPS[name]())
    document = consent_document(first.frame, first.terms, SHOWN)
    again = compiled(document)
    assert again.terms == first.terms
    assert again.frame == first.frame
    assert consent_document(again.frame, again.terms, SHOWN) == document


terms = st.builds(
    ConsentTerms,
    record_id=st.sampled_from(RECORDS),
    grantee_member=st.sampled_from(["hospital-b", "hospital-c"]),
    grantee_key=st.sampled_from([b"", KEY]),
    purposes=st.sets(st.sampled_from(["GRU", "HMB", "HRESCH", "TREAT", "CAREMGT"]), min_size=1).map(
        lambda words: tuple(sorted(words))
    ),
    expires=st.just(EXPIRES),
    visits_max=st.just(7),
    visit_seconds=st.just(600),
)


@given(st.lists(terms, min_size=1, max_size=8, unique_by=lambda t: (t.record_id, t.grantee_member)))
def test_any_contracts_of_one_decision_round_trip(granted: list[ConsentTerms]) -> None:
    members = {one.grantee_member: one.grantee_key for one in granted}
    if any(members[one.grantee_member] != one.grantee_key for one in granted):
        return  # a member and one of its people side by side is another decision
    frame = Frame({name: value for name, value in consent().items() if name != "provision"})
    wanted = tuple(sorted(granted, key=lambda t: (t.record_id, t.grantee_member, t.grantee_key)))
    assert compiled(consent_document(frame, granted, SHOWN)).terms == wanted


def without(name: str) -> Json:
    document = consent()
    del document[name]
    return document


def altered(**changes: Any) -> Json:
    return {**consent(), **changes}


P = "Consent.provision"
REFUSED: dict[str, tuple[Callable[[], Json], str]] = {
    "nobody named: the whole community": (lambda: consent(actor=None), f"{P}.actor"),
    "no end": (lambda: consent(period=None), f"{P}.period"),
    "an open period": (lambda: consent(period={"start": "2026-01-01"}), f"{P}.period.end"),
    "over already": (lambda: consent(period={"end": "2022-12-31"}), f"{P}.period.end"),
    "an end of a month": (lambda: consent(period={"end": "2027-01"}), f"{P}.period.end"),
    "a later start": (
        lambda: consent(period={"start": "2026-12-01", "end": END}),
        f"{P}.period.start",
    ),
    "a dissent": (lambda: consent(type="deny"), f"{P}.type"),
    "any purpose": (lambda: consent(purpose=None), f"{P}.purpose"),
    "break-glass": (lambda: consent(purpose=[coded("BTG")]), f"{P}.purpose[0]"),
    "a disease-specific use": (
        lambda: consent(purpose=[coded("DUO_0000007", DUO)]),
        f"{P}.purpose[0]",
    ),
    "data of a time frame": (
        lambda: consent(dataPeriod={"start": "2022-01", "end": "2022-12"}),
        f"{P}.dataPeriod",
    ),
    "not data of a time frame": (
        lambda: consent(provision=[{"type": "deny", "dataPeriod": {"start": "2022-01"}}]),
        f"{P}.provision[0].dataPeriod",
    ),
    "data of an author": (
        lambda: consent(data=[{"meaning": "authoredby", "reference": {"reference": "x"}}]),
        f"{P}.data[0].meaning",
    ),
    "data of an encounter": (
        lambda: consent(data=[{"meaning": "related", "reference": {"reference": "x"}}]),
        f"{P}.data[0].meaning",
    ),
    "a record nobody knows": (lambda: consent(data=[data(9)]), f"{P}.data[0].reference"),
    "a reader nobody knows": (
        lambda: consent(actor=[actor("Organization/x")]),
        f"{P}.actor[0].reference",
    ),
    "a reader in another role": (
        lambda: consent(
            actor=[{"role": {"coding": [coded("AUT")]}, "reference": {"reference": "x"}}]
        ),
        f"{P}.actor[0].role",
    ),
    "all of a member but one": (
        lambda: consent(provision=[{"type": "deny", "actor": [actor("Practitioner/bea")]}]),
        f"{P}.provision[0].actor",
    ),
    "an exception of nothing": (
        lambda: consent(provision=[{"type": "deny"}]),
        f"{P}.provision[0]",
    ),
    "exceptions that leave nothing": (
        lambda: consent(provision=[{"type": "deny", "data": [data(1), data(2), data(3)]}]),
        P,
    ),
    "an exception that permits": (
        lambda: consent(provision=[{"type": "permit", "data": [data(1)]}]),
        f"{P}.provision[0].type",
    ),
    "an exception in an exception": (
        lambda: consent(provision=[{"type": "deny", "data": [data(1)], "provision": [{}]}]),
        f"{P}.provision[0].provision",
    ),
    "a sensitivity label": (
        lambda: consent(securityLabel=[coded("PSY")]),
        f"{P}.securityLabel",
    ),
    "an action": (lambda: consent(action=[{}]), f"{P}.action"),
    "an unknown extension": (
        lambda: consent(extension=[{"url": "https://example.org/x", "valueCode": "y"}]),
        f"{P}.extension[0].url",
    ),
    "a draft": (lambda: altered(status="draft"), "Consent.status"),
    "a consent to research": (
        lambda: altered(scope={"coding": [coded("research")]}),
        "Consent.scope",
    ),
    "another document": (
        lambda: altered(category=[{"coding": [coded("64292-6", "http://loinc.org")]}]),
        "Consent.category",
    ),
    "a policy rule": (lambda: altered(policyRule={"text": "OPTIN"}), "Consent.policyRule"),
    "a policy's authority": (
        lambda: altered(policy=[{"uri": "https://x", "authority": "https://y"}]),
        "Consent.policy[0].authority",
    ),
    "a verification": (lambda: altered(verification=[{}]), "Consent.verification"),
    "a modifier": (
        lambda: altered(modifierExtension=[{"url": "x"}]),
        "Consent.modifierExtension",
    ),
    "a word of somebody's own": (lambda: altered(provisions={}), "Consent.provisions"),
    "a guardian without a key": (
        lambda: altered(performer=[{"reference": "RelatedPerson/uncle"}]),
        "Consent.performer[0]",
    ),
    "two sources": (
        lambda: altered(sourceAttachment={"contentType": "text/plain"}),
        "Consent.source[x]",
    ),
    "no patient": (lambda: without("patient"), "Consent.patient"),
    "no performer": (lambda: without("performer"), "Consent.performer"),
    "no organisation": (lambda: without("organization"), "Consent.organization"),
    "no policy": (lambda: without("policy"), "Consent.policy"),
    "no provision": (lambda: without("provision"), "Consent.provision"),
    "another resource": (lambda: altered(resourceType="Patient"), "Consent.resourceType"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_contract_says_is_refused_by_its_path(name: str) -> None:
    make, path = REFUSED[name]
    with pytest.raises(ConsentNotExpressible) as refused:
        compiled(make())
    assert path in [finding.path for finding in refused.value.findings]
    assert all(finding.why for finding in refused.value.findings)


def test_all_findings_come_at_once() -> None:
    document = consent(type="deny", action=[{}], purpose=[coded("BTG")])
    with pytest.raises(ConsentNotExpressible) as refused:
        compiled(document)
    paths = {finding.path for finding in refused.value.findings}
    assert paths >= {f"{P}.type", f"{P}.action", f"{P}.purpose[0]"}


@pytest.mark.parametrize("octets", [b"", b"[]", b"{", b"\xff"])
def test_what_is_no_resource_is_refused(octets: bytes) -> None:
    with pytest.raises(ConsentNotExpressible):
        compile_consent(octets, SHOWN, now=NOW)


def test_several_decisions_are_not_one_consent() -> None:
    first = compiled(consent()).terms
    later = compiled(consent(period={"end": "2028-01-01"}))
    with pytest.raises(ConsentNotExpressible):
        consent_document(later.frame, [first[0], later.terms[1]], SHOWN)
