"""What the analysis found, in words: facts of a world, steps of a history, who may read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cipherward_contract.analysis.atoms import ANOTHER, sign_words
from cipherward_contract.analysis.exploration import Taken
from cipherward_contract.analysis.linear import short
from cipherward_contract.analysis.possible import KIND, NOBODY, PARTIES, SCHEMA
from cipherward_contract.analysis.vocabulary import STATE
from cipherward_contract.analysis.worlds import Answer, Question
from cipherward_contract.templates.document import INSTANTIATE, Template

_UNSAID = frozenset({SCHEMA, KIND, STATE})  # what the party and the step say already


def trace(template: Template, last: Taken, answers: Mapping[Question, Answer]) -> tuple[str, ...]:
    """Return a history step by step: how the last transition comes to be taken in that world.

    Args:
        answers: what is the case in the last step, with what a property asked of it.
    """
    steps = [(last, answers)]
    while (before := steps[-1][0].source.step) is not None:
        steps.append((before, before.answers))
    steps.reverse()
    first = steps[0][0].source
    said = [f"upgraded from another version; it is {first.state}"] if first.upgraded else []
    said += [_step(template, taken, known) for taken, known in steps]
    return tuple(f"{number}. {step}" for number, step in enumerate(said, 1))


def _step(template: Template, taken: Taken, answers: Mapping[Question, Answer]) -> str:
    transition = template.transitions[taken.name]
    who = {
        "vote": f"{taken.party} votes, and decides {taken.name}",
        "report": f"the members' reports take {taken.name}",
        "timer": f"a timer takes {taken.name}",
    }.get(transition.kind, f"{taken.name} follows by itself")
    if transition.kind == "transition":
        who = f"{taken.party} takes {taken.name}" if taken.party else "another contract begins it"
    facts = facts_of(answers, taken)
    said = f" with {' and '.join(facts)}" if facts else ""
    return f"{who}{said}; then it is {transition.target}"


def facts_of(answers: Mapping[Question, Answer], taken: Taken) -> list[str]:
    """Return what is new in a step, in words; not what its party and its past imply."""
    known = taken.source.known
    return [
        fact
        for question, answer in answers.items()
        if known.get(question) != answer
        and (fact := _fact(question, answer, taken.party, taken.sort == NOBODY))
    ]


def _fact(question: Question, answer: Answer, party: str, is_nobody: bool) -> str:
    if question.path in _UNSAID or (is_nobody and question.path.startswith("principal.")):
        return ""
    path = short(question.path)
    if question.kind == "signs" and isinstance(answer, frozenset):
        return sign_words(question.form, answer)
    if question.kind == "text":
        word = str(answer)
        if word.startswith(ANOTHER):
            return f"{path} that no policy names"
        return f'{path} = "{word}"'
    if question.path == PARTIES:
        return f"being {question.word} too" if answer and question.word != party else ""
    if question.kind == "among":
        return f"{path} {'having' if answer else 'without'} {question.word}"
    if question.kind == "flag":
        return f"{path} {'set' if answer else 'not set'}"
    return "an expression that " + ("errs" if answer is None else f"is {str(answer).lower()}")


def readers(ways: Sequence[Taken]) -> list[str]:
    """Return who takes a transition, as `grantee (clinician, researcher)`, by party."""
    roles: dict[str, set[str]] = {}
    for taken in [one for one in ways if not _is_more(one)] or ways:
        role = taken.answers.get(Question("text", "principal.role"), "")
        roles.setdefault(taken.party, set()).add(str(role))
    return [_reader(party, roles[party]) for party in sorted(roles)]


def _is_more(taken: Taken) -> bool:
    """Say whether somebody takes it as more than one party: then the role may be another's."""
    return any(
        question.path == PARTIES and answer is True and question.word != taken.party
        for question, answer in taken.answers.items()
    )


def _reader(party: str, roles: Iterable[str]) -> str:
    named = sorted(role for role in roles if role and not role.startswith(ANOTHER))
    is_any = any(not role or role.startswith(ANOTHER) for role in roles)
    who = party or "no act of anybody"
    return who if is_any or not named else f"{who} ({', '.join(named)})"


def conditions(ways: Sequence[Taken]) -> list[str]:
    """Return what is the same of times and uses in every way of taking a transition."""
    shared: dict[Question, Answer] | None = None
    for taken in ways:
        signs = {q: answer for q, answer in taken.answers.items() if q.kind == "signs"}
        shared = signs if shared is None else {q: a for q, a in shared.items() if signs.get(q) == a}
    found: list[str] = []
    for question, answer in (shared or {}).items():
        if isinstance(answer, frozenset):
            found.append(sign_words(question.form, answer))
    return sorted(found)


def purposes(ways: Sequence[Taken]) -> list[str]:
    """Return the purposes that are claimed when a transition is taken, where policies ask."""
    asked = Question("text", "context.arguments.purpose")
    return sorted(
        {
            "others of the list" if str(answer).startswith(ANOTHER) else str(answer)
            for taken in ways
            if (answer := taken.answers.get(asked)) is not None
        }
    )


def verb(name: str) -> str:
    """Return a transition's name as part of a sentence."""
    return "beginning" if name == INSTANTIATE else name
