"""A guardian's verdict on opened counts: whether the study goes on, and without which cells.

The study fails when fewer than three members contribute, or when the patients *minus this member's
own* are fewer than the minimum. A cell fails, and is left out of what is encrypted, when its
patients minus this member's own are fewer than the minimum.

An empty cell fails like any small one. An empty cell says of everybody in the cohort that they are
not in it, and leaving out only the cells of 1 to minimum - 1 would say which ones are empty.

When one cell of a partition fails, its number follows from the total of the others. So cells of
the partition fail as well, the smallest first, until those that fail hold the minimum together. The
values leave out the union over all guardians' verdicts; adding cells to a union keeps that true.

Two analyses may count by one variable: a histogram of ages, and a table of sex by age. Then what is
left out of the one could follow from the other, and a partition of which one cell fails is left out
whole. (Cuts of one variable in one study are nested, `document`: no bin lies between the others'.)

Cells are judged within one study. What two studies say of the same patients together is bounded by
quota, by noise and by the differencing rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from cipherward_chain.canonical import NotCanonical, decode_map, encode
from cipherward_chain.fields import Fields
from cipherward_studies.analysis import DOMINANCE_PATIENTS, DOMINANCE_STEPS, AnalysisPlan, Cell
from cipherward_studies.errors import (
    CohortTooSmall,
    ContributorsTooFew,
    CountsMalformed,
    VerdictMalformed,
)

CONTRIBUTORS_MIN = 3  # of two, each could subtract its own part and read the other's
HEADER_COUNTS = 2  # patients; 1 if the member has any


def judged_cells(analyses: Sequence[AnalysisPlan]) -> list[Cell]:
    """Return all cells; partitions of one name in two analyses are two, and may be whole."""
    counted = [{name for cell in plan.cells for name in cell.by} for plan in analyses]
    found: list[Cell] = []
    for place, plan in enumerate(analyses):
        elsewhere = set[str]().union(*counted[:place], *counted[place + 1 :])
        found += [
            replace(
                cell,
                partition=f"{place} {cell.partition}",
                whole=not elsewhere.isdisjoint(cell.by),
            )
            if cell.partition
            else cell
            for cell in plan.cells
        ]
    return found


def judge(
    cells: Sequence[Cell], counts: Sequence[int], own: Sequence[int], minimum: int
) -> tuple[int, ...]:
    """Return the places of the cells that fail, ascending.

    Args:
        counts: of all members: patients, contributors, then the cells.
        own: the same of this member.
        minimum: patients behind every published figure.

    Raises:
        CountsMalformed: another number of counts, or counts that no patients have.
        ContributorsTooFew, CohortTooSmall: the study cannot go on.
    """
    _check(cells, counts, own)
    if counts[1] < CONTRIBUTORS_MIN:
        raise ContributorsTooFew(
            f"{counts[1]} members have patients in the study", need=CONTRIBUTORS_MIN
        )
    if counts[0] - own[0] < minimum:
        raise CohortTooSmall(
            "beside this member's own there are fewer patients than the minimum", minimum=minimum
        )
    totals = counts[HEADER_COUNTS:]
    others = [total - mine for total, mine in zip(totals, own[HEADER_COUNTS:], strict=True)]
    failed = {
        place
        for place, (cell, number) in enumerate(zip(cells, others, strict=True))
        if number < _least(cell, minimum)
    }
    for places in _partitions(cells):
        if any(cells[place].whole for place in places) and not failed.isdisjoint(places):
            failed.update(places)
        by_size = sorted(places, key=lambda place: totals[place])
        _hide_remainder(by_size, others, failed, minimum)
    return tuple(sorted(failed))


def _least(cell: Cell, minimum: int) -> int:
    return DOMINANCE_PATIENTS * DOMINANCE_STEPS if cell.dominance else minimum


def _partitions(cells: Sequence[Cell]) -> Iterable[list[int]]:
    """Return the places of the cells of each partition."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for place, cell in enumerate(cells):
        if cell.partition:
            found[cell.partition].append(place)
    return found.values()


def _hide_remainder(
    places: Sequence[int], others: Sequence[int], failed: set[int], minimum: int
) -> None:
    """Add cells of a partition to `failed` until those in it hold the minimum, if any is in it.

    Args:
        places: the partition's, the smallest cell of all members first, so that guardians whose
            own parts differ choose the same cells.
    """
    hidden = [place for place in places if place in failed]
    if not hidden:
        return
    together = sum(others[place] for place in hidden)
    for place in places:
        if together >= minimum:
            return
        if place not in failed:
            failed.add(place)
            together += others[place]


def _check(cells: Sequence[Cell], counts: Sequence[int], own: Sequence[int]) -> None:
    if not len(counts) == len(own) == HEADER_COUNTS + len(cells):
        raise CountsMalformed("another number of counts", need=HEADER_COUNTS + len(cells))
    if any(mine < 0 or mine > total for total, mine in zip(counts, own, strict=True)):
        raise CountsMalformed("a count is below this member's own")


def verdict_octets(failed: Sequence[int]) -> bytes:
    """Return a verdict as members exchange it; its digest stands on the chain."""
    return encode({"failed": list(failed)})


def parse_verdict(octets: bytes, cells: int) -> tuple[int, ...]:
    """Return the places that a verdict of a plan with so many cells names.

    Raises:
        VerdictMalformed: not such a list.
    """
    try:
        fields = Fields(decode_map(octets))
        failed = fields.items("failed")
        fields.end()
    except NotCanonical as error:
        raise VerdictMalformed(f"the verdict: {error}") from None
    before = -1
    for place in failed:
        if not isinstance(place, int) or type(place) is bool or not before < place < cells:
            raise VerdictMalformed("the verdict names no cells of the plan in ascending order")
        before = place
    return tuple(place for place in failed if isinstance(place, int))


def left_out(verdicts: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """Return the cells that any guardian's verdict fails, ascending."""
    return tuple(sorted({place for failed in verdicts for place in failed}))
