from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from cipherward_chain.canonical import Value
from cipherward_contract.analysis.arguments import ARGUMENT_KINDS
from cipherward_contract.analysis.conditions import Opaque
from cipherward_contract.analysis.evaluation import Erred, read_condition, read_rules
from cipherward_contract.analysis.evaluation import holds as is_true
from cipherward_contract.analysis.exploration import Exploration, is_judged
from cipherward_contract.analysis.linear import Linear
from cipherward_contract.analysis.vocabulary import Vocabulary, vocabularies
from cipherward_contract.instructions.closed_list import INSTRUCTIONS
from cipherward_contract.policies import Policies, Request
from cipherward_contract.templates.document import Template
from cipherward_contract.templates.shipped import SHIPPED, load_shipped
from cipherward_contract.templates.types import FieldType
from cipherward_contract.templates.values import for_policy

REQUESTS = 400  # a template; seeded, so that a failure can be repeated
ROLES = ("clinician", "researcher", "dpo", "nurse", "")
NUMBERS = (0, 1, 59, 60, 61, 1000, 1_790_000_000, 1_790_000_001)


class OneRequest:
    """The world of one request, for the evaluator under test; it knows everything."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values

    def text(self, path: str) -> str:
        value = self._values[path]
        assert isinstance(value, str)
        return value

    def flag(self, path: str) -> bool:
        return self._values[path] is True

    def among(self, path: str, element: str) -> bool:
        value = self._values[path]
        assert isinstance(value, list)
        return element in value

    def signs(self, form: Linear) -> frozenset[int]:
        total = form.constant
        for path, factor in form.parts:
            value = self._values[path]
            assert isinstance(value, int)
            total += factor * value
        return frozenset({(total > 0) - (total < 0)})

    def opaque(self, atom: Opaque) -> bool:
        if atom.errs:
            raise Erred(atom.source)
        return False


def some(draw: random.Random, words: list[str], kind: FieldType) -> Value:
    """Return a value that a policy may meet; not always one that the type allows."""
    match kind.cedar:
        case "Long":
            return draw.choice(NUMBERS)
        case "Bool":
            return draw.random() < 0.5
        case "Set<String>":
            pool = [*words, *kind.names]
            return sorted(set(draw.choices(pool, k=draw.randrange(3))))
        case _:
            return draw.choice([*words, *(kind.names or words)])


def asked(draw: random.Random, template: Template, action: str, words: list[str]) -> Request:
    transition = template.transitions[action]
    arguments = {name: some(draw, words, kind) for name, kind in transition.arguments.items()}
    if transition.kind == "vote":
        arguments["approve"] = draw.choice(["yes", "no"])
    parties = sorted(draw.sample(sorted(template.parties), draw.randint(0, len(template.parties))))
    kind = draw.choice(["member", "pseudonym"])
    return Request(
        action=action,
        actor={
            "kind": kind,
            "member": draw.choice(words),
            "schema": draw.choice(["", "patient", "staff"]),
            "role": draw.choice(ROLES),
            "scope": draw.choice(words),
            "key": draw.choice(words),
            "parties": parties,
        },
        instance={
            "state": draw.choice(["", *template.states.names]),
            "uses": draw.choice(NUMBERS[:6]),
            **{name: draw.choice(words) for name in ("owner", "creator", "author", "custodian")},
        },
        terms={name: some(draw, words, kind) for name, kind in template.terms.items()},
        arguments=arguments,
        now=draw.choice(NUMBERS),
    )


def flat(request: Request) -> dict[str, Value]:
    found: dict[str, Value] = {"context.now": request.now}
    found |= {f"principal.{name}": value for name, value in request.actor.items()}
    found |= {f"resource.{name}": value for name, value in request.instance.items()}
    found |= {f"resource.terms.{name}": for_policy(v) for name, v in request.terms.items()}
    found |= {f"context.arguments.{n}": for_policy(v) for n, v in request.arguments.items()}
    return found


@pytest.mark.parametrize("name", SHIPPED)
def test_our_evaluator_decides_as_cedar_does(name: str) -> None:
    template, _ = load_shipped()[name]
    policies, words = Policies(template), vocabularies(template)
    draw = random.Random(name)  # noqa: S311 - repeatable, not secret
    allowed = 0
    for action, transition in template.transitions.items():
        if not is_judged(transition):
            continue
        rules = read_rules(template.policies, action, words[action])
        for _ in range(REQUESTS):
            request = asked(draw, template, action, ["", "hospital-a", "hospital-b"])
            ours, theirs = rules.decide(OneRequest(flat(request))), policies.decide(request)
            assert (ours.allowed, ours.erred) == (theirs.allowed, theirs.erred), request
            if theirs.allowed or (theirs.policies and not theirs.erred):
                assert ours.policy in theirs.policies
            allowed += theirs.allowed
    assert allowed, "no request was ever allowed: they show nothing"


@pytest.mark.parametrize("name", SHIPPED)
def test_whatever_cedar_allows_was_explored(name: str) -> None:
    template, _ = load_shipped()[name]
    exploration = Exploration.of(template)
    exploration.walk()
    explored = {(taken.name, taken.source.state, taken.party) for taken in exploration.taken}
    policies = Policies(template)
    draw = random.Random(name)  # noqa: S311 - repeatable, not secret
    for action, transition in template.transitions.items():
        if not is_judged(transition):
            continue
        for _ in range(REQUESTS):
            request = asked(draw, template, action, ["", "hospital-a", "hospital-b"])
            state = request.instance["state"]
            if state not in (transition.sources or ("",)) or not is_possible(template, request):
                continue
            if policies.decide(request).allowed:
                for party in set(transition.by) & set(request.actor["parties"]):
                    assert (action, state, party) in explored, request


def is_possible(template: Template, request: Request) -> bool:
    """Say whether somebody can be all of the parties that a request says."""
    schema = str(request.actor["schema"])
    sorts = {
        "record_owner": "patient",
        "key_holder": "patient",
        "staff_of": "staff",
        "any_staff": "staff",
        "custodian_staff": "staff",
        "author_staff": "staff",
        "creator": schema,
    }
    wanted = {sorts.get(template.parties[name].kind, "") for name in request.actor["parties"]}
    kinds = {"member": {""}, "pseudonym": {"patient", "staff"}}
    return (
        wanted <= {schema}
        and schema in kinds[str(request.actor["kind"])]
        and (request.actor["role"] != "") == (schema == "staff")
        and request.actor["member"] != ""
    )


VOCABULARY = Vocabulary(
    {
        "principal.role": "String",
        "principal.parties": "Set<String>",
        "context.now": "Long",
        "resource.uses": "Long",
        "resource.terms.end": "Long",
        "resource.terms.urgent": "Bool",
        "context.arguments.purpose": "String",
    }
)
WORLD = OneRequest(
    {
        "principal.role": "clinician",
        "principal.parties": ["grantee", "owner"],
        "context.now": 100,
        "resource.uses": 2,
        "resource.terms.end": 160,
        "resource.terms.urgent": True,
        "context.arguments.purpose": "TREAT",
    }
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("context.now + 60 == resource.terms.end", True),
        ("context.now + 61 <= resource.terms.end", False),
        ("2 * 3 > resource.uses + 3", True),
        ("-context.now < resource.uses - 101", True),
        ("[1, 2].contains(resource.uses)", True),
        ('["TREAT", "ETREAT"].contains(context.arguments.purpose)', True),
        ('principal.parties.containsAny(["nobody", "owner"])', True),
        ('principal.parties.containsAll(["nobody", "owner"])', False),
        ('principal.role != "clinician" || resource.terms.urgent', True),
        ("resource.terms.urgent == (resource.uses > 2)", False),
        (
            '(if resource.terms.urgent then "TREAT" else "HRESCH") == context.arguments.purpose',
            True,
        ),
        ("(if resource.uses > 5 then 1 else 200) > context.now", True),
        ("context.arguments has purpose && !(context.arguments has reason)", True),
        ("principal is Actor && !(resource is Actor)", True),
    ],
)
def test_every_form_of_condition_is_taken_apart(text: str, holds: bool) -> None:
    condition = read_condition(text, VOCABULARY)
    assert is_true(condition, WORLD) is holds


@pytest.mark.parametrize(
    ("text", "errs"),
    [
        ('principal.role like "clin*"', False),
        ("context.now * resource.uses > 5", True),
        ("2 * context.now > resource.terms.end", True),
        ("context.now + resource.uses + resource.terms.end > 5", True),
        ('decimal("1.0").lessThan(decimal("2.0"))', True),
        ("principal.parties.isEmpty()", False),
    ],
)
def test_what_cannot_be_taken_apart_is_one_atom_that_errs_where_cedar_could(
    text: str, errs: bool
) -> None:
    condition = read_condition(text, VOCABULARY)
    assert isinstance(condition, Opaque)
    assert condition.errs is errs


def test_every_argument_of_the_closed_list_has_a_kind() -> None:
    named = {argument for kind in INSTRUCTIONS.values() for argument in kind.arguments}
    assert named == set(ARGUMENT_KINDS)
