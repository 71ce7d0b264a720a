"""A FHIR R4 Consent (IHE Privacy Consent on FHIR: basic, intermediate) as contracts, and back.

A Consent becomes one contract `consent` a record and reader. What surrounds its provision (patient,
performer, source, policy) never goes on the chain: it stays in the frame, with who compiled it.
Going back gives a Consent that compiles to the same contracts; its times are to the second in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from cipherward_client.fhir_consent.codes import (
    CONSENT_DOCUMENT,
    CONSENT_SCOPE,
    LIMITS_URL,
    LOINC,
    PARTICIPATION,
    PATIENT_PRIVACY,
    PURPOSES,
    RECIPIENT,
)
from cipherward_client.fhir_consent.directory import Directory, Grantee
from cipherward_client.fhir_consent.elements import Element
from cipherward_client.fhir_consent.findings import ConsentNotExpressible, Finding, Findings
from cipherward_client.fhir_consent.provisions import codings, read_provision
from cipherward_client.fhir_consent.times import inclusive_end
from cipherward_client.sdk.consents import ConsentTerms

# Parts that the profiles rule out.
_REFUSED = ("policyRule", "verification", "implicitRules", "contained")
# Parts that say nothing about who may do what; kept as they are.
_KEPT = ("meta", "language", "text", "identifier", "dateTime")
# What a Consent without limits of its own gets: the SDK's own defaults.
_DEFAULTS = ConsentTerms(record_id=bytes(16), grantee_member="", expires=0)


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything of a Consent but its provision, as it came; personal, and kept off the chain."""

    document: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class CompiledConsent:
    """The contracts that a Consent stands for, sorted by record and reader."""

    frame: Frame
    terms: tuple[ConsentTerms, ...]


def compile_consent(octets: bytes, directory: Directory, *, now: int) -> CompiledConsent:
    """Return the contracts that grant exactly what a FHIR Consent permits.

    Args:
        octets: the resource as JSON.
        directory: what its references mean.
        now: Unix seconds; what has expired grants nothing and is refused.

    Raises:
        ConsentNotExpressible: with every element that no contract can express, by its path.
    """
    findings = Findings()
    root = Element(_parsed(octets), "Consent", findings)
    representative = _surroundings(root, directory)
    provision = root.child("provision")
    if provision is None:
        root.refuse("provision", "nothing is permitted")
    root.end()
    findings.stop()
    assert provision is not None  # its absence is a finding
    permission = read_provision(provision, directory, now)
    if permission.expires and permission.expires <= now:
        findings.add("Consent.provision.period.end", "the consent is over")
    findings.stop()
    limits = permission.limits
    terms = [
        ConsentTerms(
            record_id=record,
            grantee_member=grantee.member,
            grantee_key=grantee.key,
            representative_key=representative,
            purposes=tuple(sorted(purposes)),
            expires=permission.expires,
            visits_max=limits.visits_max or _DEFAULTS.visits_max,
            visit_seconds=limits.visit_seconds or _DEFAULTS.visit_seconds,
        )
        for (record, grantee), purposes in sorted(permission.purposes.items())
    ]
    if not terms:
        raise ConsentNotExpressible([Finding("Consent.provision", "the exceptions leave nothing")])
    kept = {name: value for name, value in root.document().items() if name != "provision"}
    return CompiledConsent(Frame(kept), tuple(terms))


def _parsed(octets: bytes) -> dict[str, Any]:
    try:
        found = json.loads(octets)
    except ValueError as error:
        raise ConsentNotExpressible([Finding("Consent", f"not JSON: {error}")]) from error
    if not isinstance(found, dict):
        raise ConsentNotExpressible([Finding("Consent", "not a resource")])
    return cast("dict[str, Any]", found)


def _surroundings(root: Element, directory: Directory) -> bytes:
    """Check what stands around the provision; return the representative's key, or b""."""
    if root.text("resourceType") != "Consent":
        root.refuse("resourceType", "not a Consent")
    if root.text("status") != "active":
        root.refuse("status", "only an active Consent grants anything")
    scope = root.child("scope")
    if scope is None or codings(scope) != {(CONSENT_SCOPE, PATIENT_PRIVACY)}:
        root.refuse("scope", f"not {PATIENT_PRIVACY}")
    categories = [codings(one) for one in root.children("category")]
    if not any((LOINC, CONSENT_DOCUMENT) in category for category in categories):
        root.refuse("category", f"none is LOINC {CONSENT_DOCUMENT}, a consent document")
    for name in _KEPT:
        root.raw(name)
    for name in ("patient", "dateTime"):
        if not root.raw(name):
            root.refuse(name, "missing")
    if not list(root.children("organization")):
        root.refuse("organization", "missing")
    sources = [name for name in ("sourceReference", "sourceAttachment") if root.raw(name)]
    if len(sources) != 1:
        root.refuse("source[x]", "one source is needed: what the patient has signed")
    _policies(root)
    for name in _REFUSED:
        if root.has(name):
            root.refuse(name, "not used in the profile")
    keys = {directory.representative(one) for one in root.children("performer")} - {b""}
    if not root.has("performer"):
        root.refuse("performer", "missing")
    if len(keys) > 1:
        root.refuse("performer", "a contract has one representative")
    return next(iter(keys), b"")


def _policies(root: Element) -> None:
    policies = list(root.children("policy"))
    for policy in policies:
        if not policy.text("uri"):
            policy.refuse("uri", "missing")
        policy.end()
    if not policies:
        root.refuse("policy", "missing: which privacy policy was presented")


def consent_document(
    frame: Frame, terms: Sequence[ConsentTerms], directory: Directory
) -> dict[str, Any]:
    """Return the FHIR Consent that compiles to exactly these contracts.

    Args:
        frame: of the Consent that they came from, or of one like it.
        terms: at least one; with one end, one limit and one representative.

    Raises:
        ConsentNotExpressible: they are several decisions: give them one by one.
    """
    common = {
        (one.expires, one.visits_max, one.visit_seconds, one.representative_key) for one in terms
    }
    purposes = {
        (one.record_id, Grantee(one.grantee_member, one.grantee_key)): frozenset(one.purposes)
        for one in terms
    }
    if len(common) != 1 or len(purposes) != len(terms):
        why = "contracts of different ends, limits or representatives are no one Consent"
        raise ConsentNotExpressible([Finding("Consent.provision", why)])
    ((expires, visits_max, visit_seconds, _),) = common
    records = sorted({record for record, _ in purposes})
    grantees = sorted({grantee for _, grantee in purposes})
    every = frozenset[str]().union(*purposes.values())
    provision: dict[str, Any] = {
        "extension": [_limits_extension(visits_max, visit_seconds)],
        "type": "permit",
        "period": {"end": inclusive_end(expires)},
        **_named(directory, records, grantees, every),
    }
    exceptions = [
        {"type": "deny", **_named(directory, [record], [grantee], every - left)}
        for record in records
        for grantee in grantees
        if (left := purposes.get((record, grantee), frozenset())) != every
    ]
    if exceptions:
        provision["provision"] = exceptions
    return {**frame.document, "provision": provision}


def _named(
    directory: Directory,
    records: Sequence[bytes],
    grantees: Sequence[Grantee],
    purposes: frozenset[str],
) -> dict[str, Any]:
    role = {"coding": [{"system": PARTICIPATION, "code": RECIPIENT}]}
    return {
        "actor": [
            {"role": role, "reference": directory.grantee_reference(one)} for one in grantees
        ],
        "purpose": [
            {"system": PURPOSES[word][0], "code": PURPOSES[word][1]} for word in sorted(purposes)
        ],
        "data": [
            {"meaning": "instance", "reference": directory.record_reference(one)} for one in records
        ],
    }


def _limits_extension(visits_max: int, visit_seconds: int) -> dict[str, Any]:
    return {
        "url": LIMITS_URL,
        "extension": [
            {"url": "visits_max", "valuePositiveInt": visits_max},
            {"url": "visit_seconds", "valuePositiveInt": visit_seconds},
        ],
    }
