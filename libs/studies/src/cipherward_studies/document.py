"""The entries of a study's document, and how they hang together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from cipherward_chain.canonical import Value
from cipherward_studies.analyses.product_sum import ProductSum
from cipherward_studies.analyses.registry import ANALYSES
from cipherward_studies.analysis import Analysis, Cutting
from cipherward_studies.data_keys import DataKeyForm
from cipherward_studies.errors import AnalysisRefused, Fault
from cipherward_studies.forms import (
    ABSENT,
    REQUIRED,
    Absent,
    Form,
    Labels,
    Schema,
    Text,
    Word,
    map_schema,
    map_value,
    pointer,
    read_list,
    read_map,
    variable_name,
)
from cipherward_studies.number_forms import Integer, Number, Numbers
from cipherward_studies.variables import OPERATORS, Condition, Variable

VARIABLES_MAX = 64  # 2,145 sums of products: a quarter of a ciphertext, and more than a model bears
CONDITIONS_MAX = 16  # more would describe a patient rather than a cohort
ANALYSES_MAX = 16  # all answers of one study fit on a page or two
PRODUCTS_MAX = 2  # of four ciphertexts each: what one batch of re-randomising zeros covers
PRODUCT_PROFILE = "product-1"  # of every data key
ROUNDS_MAX = 50  # as the contract's terms; Newton's method needs fewer than ten
MINIMUM_LEAST = 10  # the least that the contract allows
RHO_MICRO_MAX = 10_000_000  # rho = 10: beyond it the noise hides nobody
KEY_BYTES_MAX = 800 * 1024  # a requester's key has 196,646, of the profile that multiplies 786,470
BOUND = 999_999_999_999.0  # the twelve digits that a decimal text has
STEP_SECONDS_LEAST = 30  # with the most, a day, what the contracts' terms allow
STEP_SECONDS = (STEP_SECONDS_LEAST, 86_400, 300)  # least; most; default

_VARIABLE: tuple[Form, ...] = (
    variable_name("name"),
    Word("kind", ("number", "flag"), "number"),
    Text("unit", r"[^\x00-\x1f\x7f]{0,32}", "a unit of at most 32 characters", ""),
    Number("low", -BOUND, BOUND, None),
    Number("high", -BOUND, BOUND, None),
    Word("missing", ("exclude", "refuse"), "exclude"),
    Word("outside", ("exclude", "clip", "refuse"), "exclude"),
)
_CONDITION: tuple[Form, ...] = (
    variable_name("variable"),
    Word("op", OPERATORS),
    Numbers("values", 1, 2),
)


def _variable(entries: dict[str, Any], at: str, faults: list[Fault]) -> Variable | Absent:
    low, high = entries["low"], entries["high"]
    if entries["kind"] == "flag":
        low, high = (0.0 if low is None else low), (1.0 if high is None else high)
    if low is None or high is None:
        faults.append(Fault(at, f"lacks {'low' if low is None else 'high'}"))
        return ABSENT
    if low >= high:
        faults.append(Fault(pointer(at, "high"), "is not above low"))
        return ABSENT
    entries |= {"low": low, "high": high}
    return Variable(**entries)


def _condition(entries: dict[str, Any], at: str, faults: list[Fault]) -> Condition | Absent:
    wanted = 2 if entries["op"] == "between" else 1
    if len(entries["values"]) != wanted:
        faults.append(Fault(pointer(at, "values"), f"{entries['op']} takes {wanted}"))
        return ABSENT
    return Condition(**entries)


@dataclass(frozen=True, slots=True)
class Maps:
    """A list of maps with the same forms, each made into a value of its own."""

    name: str
    forms: tuple[Form, ...]
    make: Callable[[dict[str, Any], str, list[Fault]], Any]
    least: int
    most: int
    default: Any = REQUIRED

    def read(self, value: object, at: str, faults: list[Fault]) -> Any:
        """Return the values as a tuple."""
        made: list[Any] = []
        for place, item in enumerate(read_list(value, at, faults, self.least, self.most)):
            below = pointer(at, place)
            entries = read_map(self.forms, item, below, faults)
            made.append(ABSENT if entries is None else self.make(entries, below, faults))
        return tuple(made)

    def value(self, read: Any) -> Value:
        """Return the canonical maps."""
        return [map_value(self.forms, item) for item in cast("tuple[object, ...]", read)]

    def schema(self) -> Schema:
        """Return the items' schema and number."""
        return {
            "type": "array",
            "items": map_schema(self.forms),
            "minItems": self.least,
            "maxItems": self.most,
        }


@dataclass(frozen=True, slots=True)
class AnalysisList:
    """The analyses of a study; `kind` says which forms the rest of a map has."""

    name: str
    default: Any = REQUIRED

    def read(self, value: object, at: str, faults: list[Fault]) -> Any:
        """Return the analyses as a tuple."""
        return tuple(
            _analysis(item, pointer(at, place), faults)
            for place, item in enumerate(read_list(value, at, faults, 0, ANALYSES_MAX))
        )

    def value(self, read: Any) -> Value:
        """Return the canonical maps."""
        return [
            {"kind": one.kind} | map_value(one.forms, one)
            for one in cast("tuple[Analysis, ...]", read)
        ]

    def schema(self) -> Schema:
        """Return one alternative for each kind."""
        return {
            "type": "array",
            "items": {"oneOf": [_kind_schema(cls) for cls in ANALYSES.values()]},
            "maxItems": ANALYSES_MAX,
        }


def _kind_schema(cls: type[Analysis]) -> Schema:
    """Return the schema of one kind of analysis, with the first line of what it is."""
    first = (cls.__doc__ or "").partition("\n")[0]
    return {"description": first} | map_schema(cls.forms, cls.kind)


def _analysis(item: object, at: str, faults: list[Fault]) -> Analysis | Absent:
    if not isinstance(item, Mapping):
        faults.append(Fault(at, "is not a list of named entries"))
        return ABSENT
    named = cast("Mapping[str, object]", item)
    kind = named.get("kind")
    cls = ANALYSES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        faults.append(Fault(pointer(at, "kind"), f"is not one of {', '.join(ANALYSES)}"))
        return ABSENT
    entries = read_map(cls.forms, named, at, faults, also=("kind",))
    if entries is None:
        return ABSENT
    make = cast("Callable[..., Analysis]", cls)
    try:
        return make(**entries)
    except AnalysisRefused as error:
        faults.append(Fault(at, str(error)))
        return ABSENT


CONTENT: tuple[Form, ...] = (
    Text("data_set", r"cohort-[1-9][0-9]?", "cohort-1 to cohort-99"),
    Maps("variables", _VARIABLE, _variable, 1, VARIABLES_MAX),
    Maps("cohort", _CONDITION, _condition, 0, CONDITIONS_MAX, ()),
    AnalysisList("analyses", ()),  # without any, the study counts its cohort
    Integer("minimum", MINIMUM_LEAST, 1_000_000, MINIMUM_LEAST),
    Integer("rho_micro", 0, RHO_MICRO_MAX, 0),
    Integer("rounds_max", 1, ROUNDS_MAX, ROUNDS_MAX),
    Text("profile", r"[a-z]+-[1-9]", "the name of a profile", "additive-1"),
)
REQUEST: tuple[Form, ...] = (
    Labels("members", r"[a-z][a-z0-9-]{1,30}", "the name of a member", 0, 100, ()),
    Integer("approvals", 0, 100, 0),
    Integer("step_seconds", *STEP_SECONDS),
    DataKeyForm("data_key"),  # for product_sum
)


def read_document(
    forms: Sequence[Form], document: object, faults: list[Fault]
) -> dict[str, Any] | None:
    """Return the entries of a document by name, or None after adding what is wrong with it."""
    found = read_map(forms, document, "", faults)
    if found is None:
        return None
    _check_uses(found, faults)
    return None if faults else found


def _check_uses(found: dict[str, Any], faults: list[Fault]) -> None:
    """Hold variables, cohort and analyses against each other."""
    variables: dict[str, Variable] = {}
    for place, variable in enumerate(cast("tuple[Variable, ...]", found["variables"])):
        if variable.name in variables:
            faults.append(Fault(pointer("/variables", place, "name"), "stands there twice"))
        variables[variable.name] = variable
    used: set[str] = set()
    cuts: dict[str, list[set[float]]] = {}
    for place, condition in enumerate(cast("tuple[Condition, ...]", found["cohort"])):
        used.add(condition.variable)
        if condition.variable not in variables:
            at = pointer("/cohort", place, "variable")
            faults.append(Fault(at, f"{condition.variable} is none of the variables"))
    for place, analysis in enumerate(cast("tuple[Analysis, ...]", found["analyses"])):
        at = pointer("/analyses", place)
        used.update(analysis.variables)
        unknown = [name for name in analysis.variables if name not in variables]
        faults.extend(Fault(at, f"{name} is none of the variables") for name in unknown)
        if unknown or isinstance(analysis, ProductSum):
            continue
        try:
            compiled = analysis.plan(variables)
        except AnalysisRefused as error:
            faults.append(Fault(at, str(error)))
            continue
        if isinstance(compiled, Cutting):
            _check_cuts(compiled.cuts, cuts, at, faults)
    _check_products(found, faults)
    for place, name in enumerate(variables):
        if name not in used:
            text = "is used by no condition and no analysis, and would leave patients out"
            faults.append(Fault(pointer("/variables", place), text))


def _check_products(found: dict[str, Any], faults: list[Fault]) -> None:
    """Refuse what cannot stand beside an analysis of stored columns."""
    analyses = cast("tuple[Analysis, ...]", found["analyses"])
    products = [one for one in analyses if isinstance(one, ProductSum)]
    if "data_key" in found and (found["data_key"] is None) != (not products):
        faults.append(Fault("/data_key", "belongs to product_sum, and to nothing else"))
    if not products:
        return
    if len(products) < len(analyses):
        faults.append(Fault("/analyses", "has product_sum beside analyses of rows: ask twice"))
    if len(products) > PRODUCTS_MAX:
        faults.append(Fault("/analyses", f"has more than {PRODUCTS_MAX} of product_sum"))
    if len({frozenset((one.x, one.y)) for one in products}) < len(products):
        faults.append(Fault("/analyses", "asks for one product twice"))
    if found["cohort"]:
        faults.append(Fault("/cohort", "is of rows: stored columns hold all who enrolled"))
    if found["rho_micro"]:
        faults.append(Fault("/rho_micro", "is above 0: a study of stored columns is exact"))
    if found["profile"] != PRODUCT_PROFILE:
        faults.append(Fault("/profile", f"is not {PRODUCT_PROFILE}, of stored columns"))


def _check_cuts(
    found: Mapping[str, tuple[float, ...]],
    before: dict[str, list[set[float]]],
    at: str,
    faults: list[Fault],
) -> None:
    """Refuse cuts of a variable that are not nested with those of an analysis before.

    Between two cuts that are not of one analysis lie patients whom no cell counts, and whose number
    would follow from the two analyses' difference.
    """
    for name, cuts in found.items():
        own = set(cuts)
        for other in before.setdefault(name, []):
            if not (own <= other or own >= other):
                text = f"cuts {name} in other places than another analysis, and neither refines"
                faults.append(Fault(at, f"{text} the other"))
        before[name].append(own)
