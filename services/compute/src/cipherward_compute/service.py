"""ComputeService: the gRPC face. Protobuf is turned into the domain's values here and only here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward.compute.v1 import compute_service_pb2_grpc as pb_grpc
from cipherward_chain.batches import chunks_of
from cipherward_chain.opt_outs import Choice
from cipherward_compute.choices import Choices, Patients, Receipt
from cipherward_compute.column_keys import ColumnKeys
from cipherward_compute.contribution_stream import read_contribution
from cipherward_compute.datasets import DataSets
from cipherward_compute.enrolments_shown import EnrolmentDesk
from cipherward_compute.errors import MessageKindUnknown, OptOutMalformed
from cipherward_compute.exchange import Exchange
from cipherward_compute.inference.answers import inference_of, order_of
from cipherward_compute.inference.desk import InferenceDesk
from cipherward_compute.inference.models import Models
from cipherward_compute.iterates import Iterates
from cipherward_compute.keyring import MessageKind
from cipherward_compute.peers import KINDS as MESSAGE_KINDS
from cipherward_compute.readers import StudyReads
from cipherward_compute.specs import Specs
from cipherward_compute.studies import Studies, Study, happens
from cipherward_compute.sums import Stage, Sum
from cipherward_kit.access import calling_member
from cipherward_kit.drain import Drain
from cipherward_member.reports import OrderKey

DOMAIN = "compute.cipherward"
# What makes its state grow; all else goes on when the disk is full down to its reserve.
GROWING = (
    "Contribute",
    "Enrol",
    "Infer",
    "PutColumnText",
    "PutIterate",
    "PutModel",
    "PutStudySpec",
)
SERVICE = "/cipherward.compute.v1.ComputeService"
GET_STUDY = f"{SERVICE}/GetStudy"
WATCH_STUDY = f"{SERVICE}/WatchStudy"
GET_RESULT = f"{SERVICE}/GetResult"
OPT_OUT = f"{SERVICE}/OptOut"
ENROL = f"{SERVICE}/Enrol"

# A watcher gets the study again at least this often, so that a dead one is noticed.
WATCH_SECONDS = 30.0
STAGES: dict[int, Stage] = {
    pb.CONTRIBUTION_STAGE_COUNTS: "counts",
    pb.CONTRIBUTION_STAGE_VALUES: "values",
}
KINDS: dict[int, MessageKind] = {number: kind for kind, number in MESSAGE_KINDS.items()}
CHOICES: dict[int, Choice] = {pb.OPT_OUT_CHOICE_OUT: "out", pb.OPT_OUT_CHOICE_IN: "in"}


@dataclass(frozen=True, slots=True)
class Jobs:
    """What the service does for its callers."""

    data_sets: DataSets
    patients: Patients
    choices: Choices
    specs: Specs
    iterates: Iterates
    studies: Studies
    reads: StudyReads
    exchange: Exchange
    desk: EnrolmentDesk
    column_keys: ColumnKeys
    models: Models
    inferences: InferenceDesk
    drain: Drain


class ComputeService(pb_grpc.ComputeServiceServicer):
    """Serves the studies of one member."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def Contribute(
        self, request_iterator: AsyncIterator[pb.ContributeRequest], context: Any
    ) -> pb.ContributeResponse:
        """Take the rows of a data set."""
        header, parts = await read_contribution(request_iterator)
        return pb.ContributeResponse(rows=await self._jobs.data_sets.contribute(header, parts))

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

    async def PutIterate(
        self, request: pb.PutIterateRequest, context: Any
    ) -> pb.PutIterateResponse:
        """Take the parameters of a round."""
        return pb.PutIterateResponse(digest=await self._jobs.iterates.put(request.iterate))

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

    async def GetResult(
        self, request: pb.GetResultRequest, context: Any
    ) -> AsyncIterator[pb.GetResultResponse]:
        """Send this member's part of a released result."""
        study, order = await self._jobs.reads.released_to(request.read, GET_RESULT)
        exchange = self._jobs.exchange
        part = await exchange.result(study, order)
        verdicts = await exchange.verdicts(study.id)
        head = pb.GetResultResponse(
            contributors=study.members,
            verdicts=[pb.Verdict(member=name, verdict=one) for name, one in verdicts.items()],
        )
        for chunk in chunks_of(part):
            head.chunk = chunk
            yield head
            head = pb.GetResultResponse()

    async def GetCeremonyMessage(
        self, request: pb.GetCeremonyMessageRequest, context: Any
    ) -> AsyncIterator[pb.GetCeremonyMessageResponse]:
        """Send a stored message of a ceremony."""
        kind = KINDS.get(request.kind)
        if kind is None:
            raise MessageKindUnknown("a ceremony has no message of that kind")
        exchange = self._jobs.exchange
        message = await exchange.ceremony_message(request.study_id, kind, calling_member())
        for chunk in chunks_of(message):
            yield pb.GetCeremonyMessageResponse(chunk=chunk)

    async def GetContribution(
        self, request: pb.GetContributionRequest, context: Any
    ) -> AsyncIterator[pb.GetContributionResponse]:
        """Send a stored contribution."""
        stage = STAGES.get(request.stage)
        if stage is None:
            raise MessageKindUnknown("a study has counts and values")
        wanted = Sum(request.study_id, stage, request.round, request.refreshed)
        found = await self._jobs.exchange.contribution(wanted, calling_member())
        height = found.opt_outs_height
        for chunk in chunks_of(found.batch):
            yield pb.GetContributionResponse(opt_outs_height=height, chunk=chunk)
            height = 0

    async def GetVerdict(
        self, request: pb.GetVerdictRequest, context: Any
    ) -> pb.GetVerdictResponse:
        """Answer which cells this member leaves out."""
        verdict = await self._jobs.exchange.verdict(request.study_id, calling_member())
        return pb.GetVerdictResponse(verdict=verdict)

    async def Enrol(self, request: pb.EnrolRequest, context: Any) -> pb.EnrolResponse:
        """Take a patient's part in stored columns, shown by a wallet."""
        taken = await self._jobs.desk.take(request.care, request.study, ENROL)
        return pb.EnrolResponse(linked=taken.linked, registered=taken.registered)

    async def PutColumnText(
        self, request: pb.PutColumnTextRequest, context: Any
    ) -> pb.PutColumnTextResponse:
        """Take the text of a data key's columns."""
        return pb.PutColumnTextResponse(digest=await self._jobs.column_keys.put_text(request.text))

    async def GetHeldDataKeys(
        self, request: pb.GetHeldDataKeysRequest, context: Any
    ) -> pb.GetHeldDataKeysResponse:
        """Answer which data keys this member holds a share of."""
        return pb.GetHeldDataKeysResponse(data_keys=await self._jobs.column_keys.held())

    async def GetColumnManifest(
        self, request: pb.GetColumnManifestRequest, context: Any
    ) -> pb.GetColumnManifestResponse:
        """Answer the list of this member's columns."""
        manifest = await self._jobs.exchange.column_manifest(request.study_id, calling_member())
        return pb.GetColumnManifestResponse(manifest=manifest)

    async def PutModel(self, request: pb.PutModelRequest, context: Any) -> pb.PutModelResponse:
        """Take the text of a risk model."""
        return pb.PutModelResponse(digest=await self._jobs.models.put(request.model))

    async def Infer(self, request: pb.InferRequest, context: Any) -> pb.InferResponse:
        """Begin a use of a risk score."""
        begun = await self._jobs.inferences.infer(
            request.request_id, request.risk_score, request.references
        )
        return pb.InferResponse(inference_id=begun)

    async def GetInference(
        self, request: pb.GetInferenceRequest, context: Any
    ) -> pb.GetInferenceResponse:
        """Answer what came of a use."""
        return inference_of(await self._jobs.inferences.find(request.inference_id))

    async def GetDecryptionShare(
        self, request: pb.GetDecryptionShareRequest, context: Any
    ) -> AsyncIterator[pb.GetDecryptionShareResponse]:
        """Send the stored shares of the counts."""
        order = OrderKey(request.order.height, request.order.index)
        shares = await self._jobs.exchange.decryption_shares(
            request.study_id, order, calling_member()
        )
        for chunk in chunks_of(shares):
            yield pb.GetDecryptionShareResponse(chunk=chunk)

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
    return pb.Study(
        study_id=study.id,
        stage=study.stage,
        steps_done=min(study.steps_done, study.steps_total),
        steps_total=study.steps_total,
        ended=study.ended,
        failure=study.failure,
        failure_reason=study.failure_reason,
        release_order=order_of(study.release),
        round=study.round,
        members=study.members,
        reported=study.reported,
        failed=study.failed,
        template=study.template,
        awaited=study.awaited,
    )
