"""The text of a study: canonical CBOR, named on the chain by its SHA-256.

| field | value |
|---|---|
| version | 1 |
| data_set | `cohort-<1..99>`: a name that can name no disease |
| variables | 1 to 64 of {name, low, high, unit}; low and high are decimal texts |
| outcome | one of the variables' names; "" without a regression |
| statistics | of cipherward_threshold.study.STATISTICS, in that order, "count" first |
| minimum | patients in every published cell, as in the contract's terms |
| fraction_bits | 0..52: sums are in steps of 2^-fraction_bits |
| profile | name of the parameters of the encryption |
| requester_public_key | who alone can read the result |
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from cipherward_chain.canonical import NotCanonical, decode_map, encode
from cipherward_chain.fields import Fields
from cipherward_compute.errors import StudySpecMalformed
from cipherward_threshold.errors import ThresholdError
from cipherward_threshold.messages import RequesterPublicKey
from cipherward_threshold.parameters import profile
from cipherward_threshold.study import STATISTICS, StudyPlan, Variable

VERSION = 1
SPEC_BYTES_MAX = 256 * 1024  # the requester's key has 196,646; 64 variables have less than 10,000
DATA_SET = re.compile(r"cohort-[1-9][0-9]?")
VARIABLE = re.compile(r"[a-z][a-z0-9_]{0,31}")
UNIT_CHARACTERS_MAX = 32
# A sign, at most twelve digits and nine decimals: any physical quantity, always a finite double.
DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class StudySpec:
    """A study's text, checked; `digest` is its name on the chain."""

    data_set: str
    plan: StudyPlan
    units: tuple[str, ...]
    minimum: int
    profile: str
    requester_public_key: bytes
    digest: bytes

    @property
    def requester_key_digest(self) -> bytes:
        """The name of the requester's key on the chain."""
        return hashlib.sha256(self.requester_public_key).digest()


def parse_spec(octets: bytes) -> StudySpec:
    """Return the study whose text is `octets`; every part is checked, the requester's key too.

    Blocks for about 1 ms: the key's residues are range-checked.

    Raises:
        StudySpecMalformed: not such a text, or what it asks for cannot be computed.
    """
    if len(octets) > SPEC_BYTES_MAX:
        raise StudySpecMalformed(
            f"the text of a study has at most {SPEC_BYTES_MAX} bytes", bytes_max=SPEC_BYTES_MAX
        )
    try:
        fields = Fields(decode_map(octets))
        if fields.integer("version") != VERSION:
            raise StudySpecMalformed(f"the version of the text is not {VERSION}")
        data_set = fields.text("data_set")
        variables, units = _variables(fields)
        plan = StudyPlan(
            variables,
            fields.text("outcome"),
            fields.texts("statistics"),
            fields.integer("fraction_bits"),
        )
        found = StudySpec(
            data_set,
            plan,
            units,
            fields.integer("minimum", minimum=1),
            fields.text("profile"),
            fields.octets("requester_public_key"),
            hashlib.sha256(octets).digest(),
        )
        fields.end()
        RequesterPublicKey.parse(profile(found.profile), found.requester_public_key)
    except (NotCanonical, ThresholdError) as error:
        raise StudySpecMalformed(f"the text of the study: {error}") from None
    if not DATA_SET.fullmatch(data_set):
        raise StudySpecMalformed("a data set is named cohort-1 to cohort-99")
    ordered = tuple(name for name in STATISTICS if name in plan.statistics)
    if plan.statistics != ordered:
        raise StudySpecMalformed("the statistics are not in their order")
    return found


def spec_bytes(spec: StudySpec) -> bytes:
    """Return the text of a study; what `parse_spec` reads. The digest is not part of it."""
    variables = [
        {"name": v.name, "low": decimal_text(v.low), "high": decimal_text(v.high), "unit": unit}
        for v, unit in zip(spec.plan.variables, spec.units, strict=True)
    ]
    return encode(
        {
            "version": VERSION,
            "data_set": spec.data_set,
            "variables": variables,
            "outcome": spec.plan.outcome,
            "statistics": spec.plan.statistics,
            "minimum": spec.minimum,
            "fraction_bits": spec.plan.fraction_bits,
            "profile": spec.profile,
            "requester_public_key": spec.requester_public_key,
        }
    )


def decimal_text(value: float) -> str:
    """Return the shortest decimal text of a bound, at most nine decimals."""
    text = f"{value:.9f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _variables(fields: Fields) -> tuple[tuple[Variable, ...], tuple[str, ...]]:
    variables: list[Variable] = []
    units: list[str] = []
    for item in fields.items("variables"):
        entry = Fields(item)
        name, unit = entry.text("name"), entry.text("unit")
        variables.append(Variable(name, _decimal(entry, "low"), _decimal(entry, "high")))
        units.append(unit)
        entry.end()
        if not VARIABLE.fullmatch(name) or len(unit) > UNIT_CHARACTERS_MAX:
            raise StudySpecMalformed("a variable's name or unit is out of form")
    return tuple(variables), tuple(units)


def _decimal(fields: Fields, name: str) -> float:
    text = fields.text(name)
    if not DECIMAL.fullmatch(text):
        raise StudySpecMalformed(f"the bound {name} of a variable is not a decimal number")
    return float(text)
