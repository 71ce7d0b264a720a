"""What an order means for the study that it is of: its stage, who hears of it, what is over."""

from __future__ import annotations

from collections.abc import Mapping

from cipherward_compute.instructions import (
    COLUMNS,
    RISK_SCORE,
    VERDICTS,
    FixColumns,
    HandOverKey,
    Instruction,
    KeyCeremony,
    ReleaseCounts,
    ReleaseResult,
    ReshareKey,
    ReshareStep,
    RetireKey,
    StartStudy,
)

# What the contract of a resharing calls its states.
_RESHARING_STATES: Mapping[ReshareStep, str] = {
    "ready": "readying",
    "deal": "dealing",
    "answer": "answering",
    "confirm": "confirming",
    "test": "giving",
    "open": "opening",
}
_INSTRUCTIONS = (
    KeyCeremony,
    StartStudy,
    FixColumns,
    ReleaseCounts,
    ReleaseResult,
    ReshareKey,
)


def stage_of(instruction: Instruction) -> str:
    """Return the state of the contract in which the instruction is given."""
    match instruction:
        case KeyCeremony():
            return f"keying_{instruction.step}"
        case StartStudy() if instruction.shared.template == RISK_SCORE:
            if instruction.stage == "values":
                return "scoring"
            return "masking" if instruction.step == "commit" else "mask_ready"
        case StartStudy(step="refresh"):
            return f"{instruction.stage}_refreshing"
        case StartStudy(step="add"):
            return f"{instruction.stage}_adding"
        case StartStudy(stage="counts"):
            return "counting" if instruction.step == "commit" else "counts_ready"
        case StartStudy():
            return "valuing" if instruction.step == "commit" else "values_ready"
        case FixColumns():
            return "fixing" if instruction.step == "commit" else "checking_flags"
        case ReleaseCounts():
            return "opening_flags" if instruction.shared.template == "data-key" else "checking"
        case ReleaseResult():
            return "releasing"
        case ReshareKey():
            return _RESHARING_STATES[instruction.step]
        case HandOverKey():
            return "handed_over"
        case RetireKey():
            return "ended"


def opens(instruction: Instruction) -> str:
    """Return what peers may fetch from this order on, because all have committed; or ""."""
    match instruction:
        case KeyCeremony():
            return f"keys/{instruction.step}"
        case StartStudy(step="verify" | "add"):
            return instruction.sum.name
        case StartStudy(stage="values", step="commit"):
            return VERDICTS
        case FixColumns(step="verify"):
            return COLUMNS
        case ReshareKey():
            return f"resharing/{instruction.step}"
        case _:
            return ""


def concerned(instruction: Instruction) -> tuple[str, ...]:
    """Return the members that hear of an order and may ask each other about it, sorted.

    A resharing concerns who holds the key and who shall, whoever takes its step: a dealer that
    leaves must learn when all have committed.
    """
    if isinstance(instruction, ReshareKey | HandOverKey):
        return tuple(sorted({*instruction.resharing.holders, *instruction.resharing.new}))
    return instruction.shared.members


def awaited(instruction: Instruction) -> tuple[str, ...]:
    """Return the members whose reports the contract waits for."""
    if isinstance(instruction, ReleaseResult):
        return instruction.online
    if isinstance(instruction, HandOverKey):  # it is carried out in its block
        return ()
    return instruction.shared.members


def supersedes(instruction: Instruction) -> tuple[str, ...]:
    """Return the kinds of waiting orders of the study that mean nothing any more.

    A release whose set has failed waits for shares in vain: the next attempt, or the values that
    others' verdicts have let through, come in its place; as does the next use of a risk score. The
    end of a study takes all.
    """
    match instruction:
        case StartStudy(stage="counts") if instruction.shared.template == RISK_SCORE:
            return tuple(kind.__name__ for kind in _INSTRUCTIONS)  # of uses before
        case StartStudy(stage="values") if instruction.shared.template == RISK_SCORE:
            return (ReleaseCounts.__name__,)
        case StartStudy(step="refresh") | StartStudy(stage="values", step="commit"):
            return (ReleaseCounts.__name__, ReleaseResult.__name__)
        case FixColumns(step="verify"):  # anew, with other weights
            return (ReleaseCounts.__name__,)
        case RetireKey() | HandOverKey():
            return tuple(kind.__name__ for kind in _INSTRUCTIONS)
        case _:
            return ()
