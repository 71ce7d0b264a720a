"""What a researcher asks: the document that is written, and its one text, named by its SHA-256.

The document (YAML or JSON; docs/study.schema.json) says who is asked and what; the text says what,
and with which key the answer can be read. The text is canonical CBOR:

| field | value |
|---|---|
| version | 2 |
| data_set | `cohort-<1..99>`: a name that can name no disease |
| variables | 1 to 64 of {name, kind, unit, low, high, missing, outside}; bounds are decimal texts |
| cohort | up to 16 of {variable, op, values}; all must hold |
| analyses | up to 16 of {kind, ...}, with every entry of that kind's forms |
| minimum | patients in every published cell, as in the contract's terms |
| rho_micro | zCDP of one released round in millionths; 0 is exact |
| rounds_max | rounds of values that may be released |
| profile | name of the parameters of the encryption |
| requester_public_key | who alone can read the answer |
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from cipherward_chain.canonical import NotCanonical, Value, decode_map, encode
from cipherward_studies.analysis import Analysis
from cipherward_studies.data_keys import NamedDataKey
from cipherward_studies.document import (
    CONTENT,
    KEY_BYTES_MAX,
    REQUEST,
    read_document,
)
from cipherward_studies.errors import DraftInvalid, Fault, SpecMalformed
from cipherward_studies.forms import map_value
from cipherward_studies.variables import Condition, Variable

VERSION = 2
SPEC_BYTES_MAX = 900 * 1024  # the requester's key has up to 786,470; the rest is below 60,000


@dataclass(frozen=True, slots=True)
class StudySpec:
    """A study's text, checked: all its analyses can be computed over its variables.

    Attributes:
        cohort: conditions of which all hold; patients who opted out were never there.
        rho_micro: zCDP of one released round of values in millionths; 0 is exact.
        rounds_max: 1, or more for iterative analyses.
        requester_public_key: its form is the service's to check, with the profile's ring.
        octets: the text; `digest` is its name on the chain.
    """

    data_set: str
    variables: tuple[Variable, ...]
    cohort: tuple[Condition, ...]
    analyses: tuple[Analysis, ...]
    minimum: int
    rho_micro: int
    rounds_max: int
    profile: str
    requester_public_key: bytes = field(repr=False)
    octets: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """The text's name on the chain."""
        return hashlib.sha256(self.octets).digest()

    @property
    def requester_key_digest(self) -> bytes:
        """The name of the requester's key on the chain."""
        return hashlib.sha256(self.requester_public_key).digest()

    @property
    def outputs(self) -> tuple[str, ...]:
        """What is published, in words of the contract's closed list, sorted; "count" always."""
        return outputs_of(self.analyses)

    @property
    def names(self) -> tuple[str, ...]:
        """The variables' names, in order."""
        return tuple(variable.name for variable in self.variables)


@dataclass(frozen=True, slots=True)
class Draft:
    """A study as it is written, before a key for its answer is chosen.

    Attributes:
        members: who is asked; empty means all of the alliance.
        approvals: how many must vote yes; 0 means as many as must take part to decrypt.
        step_seconds: what each step of the study may take before it fails.
        data_key: whose stored columns it is computed on; None for a study over rows.
    """

    data_set: str
    variables: tuple[Variable, ...]
    cohort: tuple[Condition, ...]
    analyses: tuple[Analysis, ...]
    minimum: int
    rho_micro: int
    rounds_max: int
    profile: str
    members: tuple[str, ...]
    approvals: int
    step_seconds: int
    data_key: NamedDataKey | None

    @classmethod
    def from_document(cls, document: object) -> Draft:
        """Return the study of a parsed YAML or JSON document.

        Numbers may be numbers or their texts, so that 1.10 can stay what was written.

        Raises:
            DraftInvalid: with every fault and its JSON pointer.
        """
        faults: list[Fault] = []
        found = read_document((*CONTENT, *REQUEST), document, faults)
        if found is None:
            raise DraftInvalid(faults)
        return cls(**found)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What is published, in words of the contract's closed list, sorted; "count" always."""
        return outputs_of(self.analyses)

    def to_document(self) -> dict[str, Value]:
        """Return a document that `from_document` reads as this study: canonical values only."""
        return _content(self) | map_value(REQUEST, self)

    def text(self, requester_public_key: bytes) -> bytes:
        """Return the study's text for a key."""
        head: dict[str, Value] = {
            "version": VERSION,
            "requester_public_key": requester_public_key,
        }
        return encode(head | _content(self))

    def spec(self, requester_public_key: bytes) -> StudySpec:
        """Return the study for a key.

        Raises:
            SpecMalformed: the key is longer than any.
        """
        return parse_spec(self.text(requester_public_key))

    def for_members(self, members: tuple[str, ...]) -> Draft:
        """Return the same study asked of these members."""
        return replace(self, members=members)


def parse_spec(octets: bytes) -> StudySpec:
    """Return the study whose text is `octets`; every part is checked but the requester's key.

    Raises:
        SpecMalformed: not such a text, or what it asks for cannot be computed.
    """
    if len(octets) > SPEC_BYTES_MAX:
        raise SpecMalformed(
            f"the text of a study has at most {SPEC_BYTES_MAX} bytes", bytes_max=SPEC_BYTES_MAX
        )
    try:
        value = decode_map(octets)
    except NotCanonical as error:
        raise SpecMalformed(f"the text of the study: {error}") from None
    if value.pop("version", None) != VERSION:
        raise SpecMalformed(f"the version of the text is not {VERSION}")
    key = value.pop("requester_public_key", None)
    if not isinstance(key, bytes) or not 0 < len(key) <= KEY_BYTES_MAX:
        raise SpecMalformed("the text has no requester's key")
    faults: list[Fault] = []
    found = read_document(CONTENT, value, faults)
    if found is None:
        raise SpecMalformed(f"the text of the study: {DraftInvalid(faults)}")
    spec = StudySpec(**found, requester_public_key=key, octets=octets)
    if encode({"version": VERSION, "requester_public_key": key} | _content(spec)) != octets:
        raise SpecMalformed("the text of the study is not in its one form")
    return spec


def outputs_of(analyses: tuple[Analysis, ...]) -> tuple[str, ...]:
    """Return the sorted words of what analyses publish; every study counts its patients."""
    return tuple(sorted({"count", *(word for one in analyses for word in one.outputs)}))


def _content(source: StudySpec | Draft) -> dict[str, Value]:
    """Return the part of a document that is in the text too, as canonical values."""
    return map_value(CONTENT, source)
