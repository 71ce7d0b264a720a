"""What an instruction of the closed list is: its arguments, who carries it out, what it does here.

An instruction is total and bounded: its arguments are exactly those listed, each taken from the
instance, its record or the block by an expression of the template. Who carries it out is read from
the order itself: one custodian, all members of a study, or the members of a release's set. What
contract carries out itself happens in the block: its order names nobody, is reported by nobody, and
tells every service what has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cipherward_chain.canonical import Value
from cipherward_chain.fields import Fields
from cipherward_contract.actors import Actor
from cipherward_contract.blocks import Block
from cipherward_contract.entries import Instance
from cipherward_contract.templates.values import member_list


@dataclass(frozen=True, slots=True)
class Given:
    """An instruction as a transition gives it.

    instance: as it was before the transition. actor: who takes it; nobody, when a timer does.
    released: the place (height, index) of the release that the same transition has ordered before.
    """

    instance: Instance
    actor: Actor
    arguments: Mapping[str, Value]
    released: tuple[int, int] | None = None

    def fields(self) -> Fields:
        """Return a typed reader over the arguments."""
        return Fields(self.arguments)


@dataclass(frozen=True, slots=True)
class Begin:
    """A contract that an instruction begins; nobody acts, and no policy is asked.

    terms: the canonical document.
    """

    template: str
    version: int
    instance: bytes
    terms: bytes


@dataclass(frozen=True, slots=True)
class Move:
    """An automatic transition that an instruction takes in another contract, if it can be taken
    from where that contract stands.
    """

    instance: bytes
    transition: str


@dataclass(frozen=True, slots=True)
class Consequence:
    """What is left to do when an instruction has had its effect.

    ordered: an order is written; not when the instruction had nothing (left) to do.
    """

    ordered: bool = True
    begins: tuple[Begin, ...] = ()
    moves: tuple[Move, ...] = ()


ORDERED = Consequence()
NOTHING = Consequence(ordered=False)

# Changes the block, or raises `Refused`: then nothing of the transition happens.
Effect: TypeAlias = Callable[[Block, Given], Consequence]
# Says by a word why a report or a vote cannot lead to this instruction now, or "".
Obstacle: TypeAlias = Callable[[Block, Mapping[str, Value]], str]
# Returns what an order says besides its arguments, from what the block knows, or raises `Refused`.
Completion: TypeAlias = Callable[[Block, Mapping[str, Value]], Mapping[str, Value]]


@dataclass(frozen=True, slots=True)
class InstructionKind:
    """One entry of the closed list.

    arguments: what a template gives, exactly.
    executors: the argument that names who carries it out; "" for what is done in the block.
    is_step: the state that is entered waits for the executors' reports.
    effect: what contract itself does in the block, if anything.
    obstacle: what makes a step fall back instead of refusing the report or vote that decides it.
    completes: what the order says besides; no template can give it, so none can get it wrong.
    """

    name: str
    arguments: frozenset[str]
    executors: str = ""
    is_step: bool = False
    effect: Effect | None = None
    obstacle: Obstacle | None = None
    completes: Completion | None = None

    def executors_of(self, arguments: Mapping[str, Value]) -> tuple[str, ...]:
        """Return the members that an order with these arguments names, sorted."""
        named = arguments.get(self.executors, ())
        if isinstance(named, str):
            return (named,)
        return tuple(sorted(member_list(named)))


def ordered(
    name: str,
    executors: str,
    arguments: str,
    *,
    is_step: bool = False,
    effect: Effect | None = None,
    completes: Completion | None = None,
) -> InstructionKind:
    """Return an instruction that members carry out: `arguments` are names with spaces between."""
    found = frozenset(arguments.split())
    return InstructionKind(name, found, executors, is_step, effect, completes=completes)


def own(
    name: str,
    arguments: str,
    effect: Effect,
    obstacle: Obstacle | None = None,
    completes: Completion | None = None,
) -> InstructionKind:
    """Return an instruction that contract carries out itself, in the block."""
    found = frozenset(arguments.split())
    return InstructionKind(name, found, effect=effect, obstacle=obstacle, completes=completes)
