"""ComputeService: the gRPC face. Protobuf is turned into the domain's values here and only here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward.compute.v1 import compute_service_pb2_grpc as pb_grpc
from cipherward_chain.opt_outs import Choice
from cipherward_compute.choices import Choices, Patients, Receipt
from cipherward_compute.datasets import DataSets, table_of
from cipherward_compute.errors import MessageKindUnknown, OptOutMalformed
from cipherward_compute.exchange import Exchange
from cipherward_compute.instructions import Stage
from cipherward_compute.readers import StudyReads
from cipherward_compute.specs import Specs
from cipherward_compute.studies import STEPS_TOTAL, Studies, Study, happens
from cipherward_kit.access import calling_member
from cipherward_kit.drain import Drain
from cipherward_member.reports import OrderKey

DOMAIN = "compute.cipherward"
SERVICE = "/cipherward.compute.v1.ComputeService"
GET_STUDY = f"{SERVICE}/GetStudy"
WATCH_STUDY = f"{SERVICE}/WatchStudy"
GET_RESULT = f"{SERVICE}/GetResult"
OPT_OUT = f"{SERVICE}/OptOut"

# A watcher gets the study again at least this often, so that a dead one is noticed.
WATCH_SECONDS = 30.0
STAGES: dict[int, Stage] = {
    pb.CONTRIBUTION_STAGE_COUNTS: "counts",
    pb.CONTRIBUTION_STAGE_VALUES: "values",
}
CHOICES: dict[int, Choice] = {pb.OPT_OUT_CHOICE_OUT: "out", pb.OPT_OUT_CHOICE_IN: "in"}


@dataclass(frozen=True, slots=True)
class Jobs:
    """What the service does for its callers."""

    data_sets: DataSets
    patients: Patients
    choices: Choices
    specs: Specs
    studies: Studies
    reads: StudyReads
    exchange: Exchange
    drain: Drain


class ComputeService(pb_grpc.ComputeServiceServicer):
    """Serves the studies of one member."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def Contribute(
        self, request: pb.ContributeRequest, context: Any
    ) -> pb.ContributeResponse:
        """Take the rows of a data set."""
        values = await asyncio.to_thread(np.array, request.values, np.float64)
        variables = tuple(request.variables)
        table = table_of(request.data_set, variables, values, request.references)
        rows = await self._jobs.data_sets.contribute(request.request_id, table)
        return pb.ContributeResponse(rows=rows)

    async def OptOut(self, request: pb.OptOutRequest, context: Any) -> pb.OptOutResponse:
        """Take a patient's choice, shown by a wallet."""
        pseudonym, choice = await self._jobs.patients.choice_of(request.read, OPT_OUT)
        receipt = await self._jobs.choices.take("pseudonym", pseudonym, choice)
        linked = await self._jobs.choices.is_linked(pseudonym)
        return pb.OptOutResponse(receipt=_receipt(receipt), linked=linked)

    async def PutOptOut(self, request: pb.PutOptOutRequest, context: Any) -> pb.PutOptOutResponse:
        """Take a patient's choice, made at the hospital."""
        choice = CHOICES.get(request.choice)
        if choice is None:
            raise OptOutMalformed("a patient is out, or in")
        receipt = await self._jobs.choices.take("reference", request.reference, choice)
        return pb.PutOptOutResponse(receipt=_receipt(receipt))

    async def LinkReferences(
        self, request: pb.LinkReferencesRequest, context: Any
    ) -> pb.LinkReferencesResponse:
        """Keep which rows are those of a pseudonym."""
        await self._jobs.choices.link(request.pseudonym, request.references)
        return pb.LinkReferencesResponse()

    async def CountOptOuts(
        self, request: pb.CountOptOutsRequest, context: Any
    ) -> pb.CountOptOutsResponse:
        """Answer how many are out."""
        found = await self._jobs.choices.counts()
        return pb.CountOptOutsResponse(
            pseudonyms=found.pseudonyms,
            pseudonyms_unlinked=found.pseudonyms_unlinked,
            references=found.references,
            height=found.height,
        )

    async def PutStudySpec(
        self, request: pb.PutStudySpecRequest, context: Any
    ) -> pb.PutStudySpecResponse:
        """Take a study's text."""
        return pb.PutStudySpecResponse(digest=await self._jobs.specs.put(request.spec))

    async def GetStudy(self, request: pb.GetStudyRequest, context: Any) -> pb.GetStudyResponse:
        """Answer how far a study is."""
        study = await self._jobs.reads.study_of(request.read, GET_STUDY)
        return pb.GetStudyResponse(study=_study(study))

    async def WatchStudy(
        self, request: pb.WatchStudyRequest, context: Any
    ) -> AsyncIterator[pb.WatchStudyResponse]:
        """Send a study whenever it changes."""
        study = await self._jobs.reads.study_of(request.read, WATCH_STUDY)
        async with aclosing(self._changes(study.id)) as changes:
            async for changed in self._jobs.drain.until(changes):
                yield pb.WatchStudyResponse(study=_study(changed))

    async def GetResult(self, request: pb.GetResultRequest, context: Any) -> pb.GetResultResponse:
        """Answer this member's part of a released result."""
        study = await self._jobs.reads.released_to(request.read, GET_RESULT)
        total, share = await self._jobs.exchange.result(study)
        return pb.GetResultResponse(ciphertext=total, share=share, contributors=study.members)

    async def GetCeremonyMessage(
        self, request: pb.GetCeremonyMessageRequest, context: Any
    ) -> pb.GetCeremonyMessageResponse:
        """Answer a stored message of a ceremony."""
        exchange, caller = self._jobs.exchange, calling_member()
        if request.kind == pb.CEREMONY_MESSAGE_KIND_PUBLIC_KEY_SHARE:
            message = await exchange.ceremony_message(request.study_id, caller)
        elif request.kind == pb.CEREMONY_MESSAGE_KIND_DEAL:
            message = await exchange.deal(request.study_id, caller)
        else:
            raise MessageKindUnknown("a ceremony has public-key shares and deals")
        return pb.GetCeremonyMessageResponse(message=message)

    async def GetContribution(
        self, request: pb.GetContributionRequest, context: Any
    ) -> pb.GetContributionResponse:
        """Answer a stored contribution."""
        stage = STAGES.get(request.stage)
        if stage is None:
            raise MessageKindUnknown("a study has counts and values")
        found = await self._jobs.exchange.contribution(request.study_id, stage, calling_member())
        return pb.GetContributionResponse(
            ciphertext=found.ciphertext, opt_outs_height=found.opt_outs_height
        )

    async def GetDecryptionShare(
        self, request: pb.GetDecryptionShareRequest, context: Any
    ) -> pb.GetDecryptionShareResponse:
        """Answer a stored share of the counts."""
        order = OrderKey(request.order.height, request.order.index)
        share = await self._jobs.exchange.decryption_share(
            request.study_id, order, calling_member()
        )
        return pb.GetDecryptionShareResponse(share=share)

    async def _changes(self, study: bytes) -> AsyncGenerator[Study, None]:
        last: Study | None = None
        while last is None or not last.ended:
            with self._jobs.studies.news.listening(study) as event:
                found = await self._jobs.studies.known(study)
                if found != last:
                    last = found
                    yield found
                    continue  # it may have changed meanwhile
                if not await happens(event, WATCH_SECONDS):
                    yield found


def _receipt(receipt: Receipt) -> pb.OptOutReceipt:
    return pb.OptOutReceipt(statement=receipt.statement, authorization=receipt.authorization)


def _study(study: Study) -> pb.Study:
    release = study.release
    return pb.Study(
        study_id=study.id,
        stage=study.stage,
        steps_done=min(study.steps_done, STEPS_TOTAL),
        steps_total=STEPS_TOTAL,
        ended=study.ended,
        failure=study.failure,
        release_order=(
            None
            if release is None
            else chain_pb.OrderRef(height=release.height, index=release.index)
        ),
    )
