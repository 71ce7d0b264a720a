"""Texts of risk models: those that contracts name are kept, others wait a while for one.

Anybody may hand one over, so there is a bound on how many wait and on how long. A text grants
nothing: members read it before they grant scores by it, and the chain names it by its digest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cipherward_compute.column_keys import DataKey
from cipherward_compute.errors import ModelMalformed, ModelsFull
from cipherward_compute.failures import ColumnsDiffer, SpecNotHandedOver, WeightsRefused
from cipherward_compute.waiting_texts import WaitingTexts
from cipherward_kit.database import Database
from cipherward_studies import errors as study_errors
from cipherward_studies import models as model_texts
from cipherward_studies.models import parse_model
from cipherward_studies.scores import ScorePlan, WeightVanishes, plan_scores

WAITING_SECONDS = 2 * 86_400  # for the proposal, which whoever hands it over is about to make


class Models:
    """Takes and finds texts of risk models."""

    def __init__(self, database: Database, waiting_max: int, clock: Callable[[], float]) -> None:
        """Describe the store.

        Args:
            database: where they are kept.
            waiting_max: texts that may wait.
            clock: Unix seconds now.
        """
        self._waiting = WaitingTexts(
            database,
            "models",
            WAITING_SECONDS,
            waiting_max,
            lambda waiting: ModelsFull(
                f"{waiting} models wait; try again later", models_max=waiting_max
            ),
            waits="digest NOT IN (SELECT model FROM risk_scores)",
        )
        self._clock = clock

    async def put(self, octets: bytes) -> bytes:
        """Keep a text and return its digest; the same text again changes nothing.

        Raises:
            ModelMalformed: it is no text of a model.
            ModelsFull: too many wait for a contract.
        """
        try:
            model = await asyncio.to_thread(parse_model, octets)
        except model_texts.ModelMalformed as error:
            raise ModelMalformed(str(error)) from None
        await self._waiting.keep(model.digest, octets, int(self._clock()))
        return model.digest

    async def plan(self, digest: bytes, data_key: DataKey, members: tuple[str, ...]) -> ScorePlan:
        """Return how the model of that digest is computed on the columns of a data key.

        Raises:
            SpecNotHandedOver: nobody has given its text to this member.
            ColumnsDiffer: it names columns that are not stored.
            WeightsRefused: its weights are too far apart for integers of twenty bits.
        """
        octets = await self._waiting.find(digest)
        if octets is None:
            raise SpecNotHandedOver("the text of the model was not handed to this member")
        try:
            return await asyncio.to_thread(_planned, octets, data_key, members)
        except WeightVanishes as error:
            raise WeightsRefused(str(error)) from None
        except study_errors.ColumnsDiffer as error:
            raise ColumnsDiffer(str(error)) from None


def _planned(octets: bytes, data_key: DataKey, members: tuple[str, ...]) -> ScorePlan:
    model = parse_model(octets)
    model.check_members(members)
    return plan_scores(model, data_key.text)
