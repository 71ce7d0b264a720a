"""Everything that contracts of a template can do: its states times what its policies tell apart.

From the beginning on, every transition is tried, as every party that may take it, in every world
that its policies tell from others. What lasts (terms, the record, who began it) is remembered along
a history where another transition asks for it too, and what can only grow (block time, uses) never
shrinks then. A contract may also come from another version of the template, in any state that goes
on. Timers may be late: a block fires a bounded number of them, so no state is assumed to
have ended when its time is over. The walk is complete: more can be tried than can happen, never
less.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cipherward_contract.analysis.actors import equal_attributes, sorts_of
from cipherward_contract.analysis.atoms import Vocables
from cipherward_contract.analysis.bounds import Moment
from cipherward_contract.analysis.evaluation import Rules, read_rules
from cipherward_contract.analysis.possible import NOBODY, PARTIES, Possible
from cipherward_contract.analysis.vocabulary import Vocabulary, vocabularies
from cipherward_contract.analysis.worlds import Answer, Asked, Effort, Question, outcomes
from cipherward_contract.instructions.begin_opening import OPENING
from cipherward_contract.templates.document import INSTANTIATE, Template, Transition

# Questions of one analysis: a hundred times what the largest shipped template takes. So many take
# about a second, and a proposal is analysed inside a block.
QUESTIONS_MAX = 200_000
# The templates that instructions begin without an act: no policy is asked then.
BEGUN = frozenset({OPENING})


R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a history: a state, what is known to last, and how it was reached.

    upgraded: the contract was moved here from another version of the template.
    """

    state: str
    known: Mapping[Question, Answer]
    creator: str | None
    used: bool = False
    step: Taken | None = None
    upgraded: bool = False

    @property
    def begins(self) -> bool:
        """Whether there is no contract yet."""
        return self.step is None and not self.upgraded

    @property
    def key(self) -> object:
        """What makes two points the same, whatever led there."""
        return self.state, frozenset(self.known.items()), self.creator, self.used


@dataclass(frozen=True, slots=True)
class Taken:
    """A transition that is taken from a point, in the world of `answers`.

    sort: what the actor is. party: as whom; "" where nobody acts.
    """

    name: str
    source: Point
    sort: str
    party: str
    answers: Mapping[Question, Answer]
    possible: Possible


@dataclass(slots=True)
class Exploration:
    """The walk, and what it has seen.

    taken: each transition with each way of taking it. upgraded: the same for contracts that come
    from another version. points: how many histories were told apart.
    """

    template: Template
    rules: Mapping[str, Rules]
    words: Mapping[str, Vocabulary]
    vocables: Vocables
    taken: list[Taken] = field(default_factory=list["Taken"])
    upgraded: list[Taken] = field(default_factory=list["Taken"])
    effort: Effort = field(default_factory=lambda: Effort(QUESTIONS_MAX))
    points: int = 0

    @classmethod
    def of(cls, template: Template) -> Exploration:
        """Prepare the exploration of a template that passed the checks of form."""
        words = vocabularies(template)
        rules = {
            name: read_rules(template.policies, name, words[name])
            for name, transition in template.transitions.items()
            if is_judged(transition)
        }
        vocables = Vocables()
        for name, found in rules.items():
            vocables.note(name, found.conditions())
        return cls(template, rules, words, vocables)

    def outcomes(
        self, asked: Asked[R], possible: Possible, known: Mapping[Question, Answer]
    ) -> Iterator[tuple[Mapping[Question, Answer], R]]:
        """Yield every outcome of what is asked.

        Raises:
            TooMuchEffort: the bound of an analysis is reached.
        """
        return outcomes(asked, known, possible, self.effort)

    def walk(self) -> None:
        """Take every transition in every world, breadth first: the shortest histories come first.

        Raises:
            TooMuchEffort: the bound of an analysis is reached.
        """
        _settle(self.template, self.vocables)
        self._walk([Point("", {}, None)], self.taken)
        # What another version asked before it made the contract, nobody knows here.
        states = [
            one for one in self.template.states.names if one not in self.template.states.finals
        ]
        elsewhere = [Point(state, {}, None, used=True, upgraded=True) for state in states]
        self._walk(elsewhere, self.upgraded)

    def _walk(self, beginnings: Sequence[Point], seen_taken: list[Taken]) -> None:
        waiting, seen = deque(beginnings), {point.key for point in beginnings}
        while waiting:
            point = waiting.popleft()
            self.points += 1
            for name, transition in self.template.transitions.items():
                leaves = point.state in transition.sources
                if not leaves and not (name == INSTANTIATE and point.begins):
                    continue
                for taken in self._ways(point, name, transition):
                    seen_taken.append(taken)
                    after = self._after(taken, transition)
                    if after.key not in seen:
                        seen.add(after.key)
                        waiting.append(after)

    def _ways(self, point: Point, name: str, transition: Transition) -> Iterator[Taken]:
        if not is_judged(transition):
            yield self._unjudged(point, name, transition)
            return
        if name == INSTANTIATE and self.template.name in BEGUN:
            yield self._unjudged(point, name, transition)
        for party in transition.by:
            for sort in sorts_of(self.template.parties[party]):
                possible = self._possible(point, transition, sort, party)
                if party_is_out(possible):
                    continue
                decide = self.rules[name].decide
                for answers, verdict in self.outcomes(decide, possible, possible.assumed()):
                    if verdict.allowed:
                        yield Taken(name, point, sort, party, answers, possible)

    def _unjudged(self, point: Point, name: str, transition: Transition) -> Taken:
        possible = self._possible(point, transition, NOBODY, "")
        return Taken(name, point, NOBODY, "", possible.assumed(), possible)

    def _possible(self, point: Point, transition: Transition, sort: str, party: str) -> Possible:
        moment = Moment(self.template, transition, point.begins, point.used)
        creator = sort if point.begins else point.creator
        return Possible(moment, self.vocables, point.state, sort, party, creator, point.known)

    def _after(self, taken: Taken, transition: Transition) -> Point:
        before, effects = taken.source, transition.effects
        known = {
            **before.known,
            **{
                question: answer
                for question, answer in taken.answers.items()
                if question.lasts and self.vocables.is_shared(question.subject)
            },
        }
        creator = taken.sort if before.begins else before.creator
        used = before.used or effects.counts_use
        return Point(transition.target, known, creator, used, taken)


def is_judged(transition: Transition) -> bool:
    """Say whether policies are asked before a transition is taken."""
    return transition.kind in ("transition", "vote")


def party_is_out(possible: Possible) -> bool:
    """Say whether who acts cannot be the party: somebody else began the contract."""
    return not possible(Question("among", PARTIES, possible.party), {})[-1]


def _settle(template: Template, vocables: Vocables) -> None:
    """Give attributes their words, once everything that is asked was noted."""
    for party in template.parties.values():
        pair = equal_attributes(party)
        if pair is not None:
            vocables.meet(*pair)
    for transition in template.transitions.values():
        for name, kind in transition.arguments.items():
            if kind.kind == "text":
                vocables.offer(f"context.arguments.{name}", kind.names)
    for name, kind in template.terms.items():
        if kind.kind == "text":
            vocables.offer(f"resource.terms.{name}", kind.names)
