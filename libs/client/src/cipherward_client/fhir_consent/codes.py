"""The code systems that a consent speaks in, and what they are called in a contract.

Sources: HL7 v3 ActReason (PurposeOfUse); GA4GH Data Use Ontology, of whose codes those are here
that name no disease; IHE ITI Privacy Consent on FHIR (PCF) 1.1.0; FHIR R4 (4.0.1) Consent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ACT_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
DUO: Final = "http://purl.obolibrary.org/obo/duo.owl"
CONSENT_SCOPE: Final = "http://terminology.hl7.org/CodeSystem/consentscope"
PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
LOINC: Final = "http://loinc.org"

PATIENT_PRIVACY: Final = "patient-privacy"
CONSENT_DOCUMENT: Final = "59284-0"  # LOINC: Consent Document
RECIPIENT: Final = "IRCP"  # information recipient

# Names of this alliance's own things, as FHIR identifiers.
MEMBER_SYSTEM: Final = "urn:cipherward:member"  # an institution's id
KEY_SYSTEM: Final = "urn:cipherward:key"  # a person's registered key: MEMBER/HEX or HEX
RECORD_SYSTEM: Final = "urn:cipherward:record"  # a record's id, hexadecimal
LIMITS_URL: Final = "urn:cipherward:consent-limits"  # an extension: how often, and how long a visit

# (system, code) by the word of the template's closed list.
PURPOSES: Final[Mapping[str, tuple[str, str]]] = {
    "CAREMGT": (ACT_REASON, "CAREMGT"),
    "ETREAT": (ACT_REASON, "ETREAT"),
    "HOPERAT": (ACT_REASON, "HOPERAT"),
    "HPAYMT": (ACT_REASON, "HPAYMT"),
    "HRESCH": (ACT_REASON, "HRESCH"),
    "PATRQT": (ACT_REASON, "PATRQT"),
    "TREAT": (ACT_REASON, "TREAT"),
    "GRU": (DUO, "DUO_0000042"),
    "HMB": (DUO, "DUO_0000006"),
    "NPUNCU": (DUO, "DUO_0000018"),
}
WORDS: Final[Mapping[tuple[str, str], str]] = {coding: word for word, coding in PURPOSES.items()}
BREAK_GLASS: Final = (ACT_REASON, "BTG")
