"""Study texts that wait for the order that names them.

Anybody may hand one over, so there is a bound on how many wait and on how long. A text grants
nothing: the chain names it by its digest, and approves it, or does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cipherward_compute.datasets import DataSets
from cipherward_compute.errors import (
    StudySpecMalformed,
    StudySpecsFull,
    UnitDiffers,
    VariableUnknown,
)
from cipherward_compute.waiting_texts import WaitingTexts
from cipherward_kit.database import Database
from cipherward_studies.column_plan import is_of_columns, plan_for
from cipherward_studies.errors import StudyError
from cipherward_studies.spec import StudySpec, parse_spec
from cipherward_threshold.errors import ThresholdError
from cipherward_threshold.messages import RequesterPublicKey
from cipherward_threshold.parameters import profile

# A study may wait a day for its approval (the longest step), and as long for its key.
WAITING_SECONDS = 2 * 86_400


class Specs:
    """Takes and finds study texts."""

    def __init__(
        self, database: Database, data_sets: DataSets, waiting_max: int, clock: Callable[[], float]
    ) -> None:
        """Describe the store.

        Args:
            database: where they are kept.
            data_sets: this member's, whose variables studies name.
            waiting_max: texts that may wait.
            clock: Unix seconds now.
        """
        self._data_sets = data_sets
        self._waiting = WaitingTexts(
            database,
            "specs",
            WAITING_SECONDS,
            waiting_max,
            lambda waiting: StudySpecsFull(
                f"{waiting} study texts wait; try again later", specs_max=waiting_max
            ),
        )
        self._clock = clock

    async def put(self, octets: bytes) -> bytes:
        """Keep a text and return its digest; the same text again changes nothing.

        Raises:
            StudySpecMalformed: not the text of a study.
            VariableUnknown: this member's data set has no such variable.
            UnitDiffers: it has the variable in another unit.
            StudySpecsFull: too many wait.
        """
        spec = await asyncio.to_thread(_checked, octets)
        await self._check_variables(spec)
        await self._waiting.keep(spec.digest, octets, int(self._clock()))
        return spec.digest

    async def find(self, digest: bytes) -> bytes | None:
        """Return the text of that digest, or None."""
        return await self._waiting.find(digest)

    async def _check_variables(self, spec: StudySpec) -> None:
        if is_of_columns(spec):  # what is stored decides, not what this member has in the clear
            return
        columns = await self._data_sets.columns(spec.data_set)
        if columns is None:  # another member may have it; here the study will fail
            return
        units = {column.name: column.unit for column in columns}
        for variable in spec.variables:
            about = {"data_set": spec.data_set, "variable": variable.name}
            unit = units.get(variable.name)
            if unit is None:
                raise VariableUnknown(f"{spec.data_set} has no variable {variable.name}", **about)
            if unit not in ("", variable.unit):
                raise UnitDiffers(
                    f"{variable.name} is in {variable.unit or 'no unit'} in the study, and in"
                    f" {unit} in {spec.data_set}",
                    **about,
                )


def _checked(octets: bytes) -> StudySpec:
    """Return the study of a text: it can be computed, and the requester's key is one.

    Takes some milliseconds: the key's residues are range-checked.
    """
    try:
        spec = parse_spec(octets)
        plan_for(spec)
        RequesterPublicKey.parse(profile(spec.profile), spec.requester_public_key)
    except (StudyError, ThresholdError) as error:
        raise StudySpecMalformed(str(error)) from None
    return spec
