"""Worlds: what is assumed so far, and what else could be the case.

A world is asked only for what a decision needs; where it does not know, `Unknown` names the
question, and the exploration tries each answer that the types and what is assumed already leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from cipherward_contract.analysis.conditions import Opaque
from cipherward_contract.analysis.evaluation import Erred
from cipherward_contract.analysis.linear import Linear
from cipherward_contract.analysis.vocabulary import STATE

NO_FORM = Linear()
# The answer to a question: a text, yes or no, the signs of a sum, or None: it errs.
Answer: TypeAlias = str | bool | frozenset[int] | None
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Question:
    """What may be asked of a world: `text`, `flag`, `among`, `signs` or `opaque`.

    path: the attribute, or the opaque atom. word: what a set may hold. form: whose sign.
    """

    kind: str
    path: str = ""
    word: str = ""
    form: Linear = NO_FORM
    errs: bool = False

    @property
    def lasts(self) -> bool:
        """Whether the answer stays what it is, or can only grow, while the contract lives."""
        if self.kind == "signs":
            return self.form.is_growing
        lasting = self.path.startswith("resource.") and self.path not in _CHANGING
        return lasting and self.kind != "opaque"

    @property
    def subject(self) -> str | Linear:
        """The attribute or the sum that is asked for."""
        return self.form if self.kind == "signs" else self.path


_CHANGING = frozenset({STATE, "resource.owner"})  # a record may be claimed in between


class Unknown(Exception):
    """A world was asked what it does not say."""

    def __init__(self, question: Question) -> None:
        super().__init__(question.path)
        self.question = question


class TooMuchEffort(ValueError):
    """More is to be told apart than is looked at."""


@dataclass(slots=True)
class Effort:
    """How many questions may be asked in all worlds together, and how many were."""

    questions_max: int
    questions: int = 0

    def spend(self) -> None:
        """Count a question, or raise `TooMuchEffort`."""
        self.questions += 1
        if self.questions > self.questions_max:
            raise TooMuchEffort(f"more than {self.questions_max} questions are to be answered")


class Assumed:
    """A world of the answers that were assumed; it knows nothing else."""

    __slots__ = ("_answers", "_effort")

    def __init__(self, answers: Mapping[Question, Answer], effort: Effort) -> None:
        self._answers = answers
        self._effort = effort

    def _answer(self, question: Question) -> Answer:
        self._effort.spend()
        try:
            return self._answers[question]
        except KeyError:
            raise Unknown(question) from None

    def text(self, path: str) -> str:
        """Return a text attribute."""
        return str(self._answer(Question("text", path)))

    def flag(self, path: str) -> bool:
        """Return a boolean attribute."""
        return self._answer(Question("flag", path)) is True

    def among(self, path: str, element: str) -> bool:
        """Say whether a set attribute holds a text."""
        return self._answer(Question("among", path, element)) is True

    def signs(self, form: Linear) -> frozenset[int]:
        """Return the signs that a sum may have."""
        found = self._answer(Question("signs", form=form))
        assert isinstance(found, frozenset)  # the only kind of answer to that question
        return found

    def opaque(self, atom: Opaque) -> bool:
        """Say whether an opaque atom holds, or raise `Erred`."""
        found = self._answer(Question("opaque", atom.source, errs=atom.errs))
        if found is None:
            raise Erred(atom.source)
        return found is True


# Something that a world is asked; it raises `Unknown` where the world does not say.
Asked: TypeAlias = Callable[[Assumed], R]
# What the answers to a question may be, given those that are assumed, in a fixed order.
Choices: TypeAlias = Callable[[Question, Mapping[Question, Answer]], Sequence[Answer]]


def outcomes(
    asked: Asked[R], assumed: Mapping[Question, Answer], choices: Choices, effort: Effort
) -> Iterator[tuple[Mapping[Question, Answer], R]]:
    """Yield every way in which something can come out, each with what was assumed for it.

    Raises:
        TooMuchEffort: the bound of the effort is reached.
    """
    effort.spend()
    try:
        found = asked(Assumed(assumed, effort))
    except Unknown as unknown:
        question = unknown.question
        for answer in choices(question, assumed):
            yield from outcomes(asked, {**assumed, question: answer}, choices, effort)
    else:
        yield assumed, found
