"""IdentityService: the gRPC face of admission, issuance, renewal, verification and opening."""

from __future__ import annotations

from typing import Any

from grpc import aio

from cipherward.identity.v1 import identity_service_pb2 as pb
from cipherward.identity.v1 import identity_service_pb2_grpc as pb_grpc
from cipherward_chain.wire import timestamp_of
from cipherward_identity.admissions import Admissions
from cipherward_identity.arithmetic import Shown
from cipherward_identity.issuance import HolderRequest, Issuance
from cipherward_identity.openings import Openings
from cipherward_identity.registry import Registry
from cipherward_identity.renewal import Renewal
from cipherward_identity.verification import verdicts_of
from cipherward_kit.access import calling_member
from cipherward_kit.jobs import WorkerPool

DOMAIN = "identity.cipherward"
# What makes its state grow; all else goes on when the disk is full down to its reserve.
GROWING = ("AdmitHolder", "BeginCredential")


class IdentityService(pb_grpc.IdentityServiceServicer):
    """Converts at the edge; every rule lives in the modules behind it."""

    def __init__(
        self,
        admissions: Admissions,
        issuance: Issuance,
        renewal: Renewal,
        registry: Registry,
        verifiers: WorkerPool,
        openings: Openings,
    ) -> None:
        self._admissions = admissions
        self._issuance = issuance
        self._renewal = renewal
        self._registry = registry
        self._verifiers = verifiers
        self._openings = openings

    async def AdmitHolder(
        self, request: pb.AdmitHolderRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.AdmitHolderResponse:
        code = await self._admissions.admit(
            request.request_id, request.schema, dict(request.attributes)
        )
        return pb.AdmitHolderResponse(admission_code=code)

    async def BeginCredential(
        self, request: pb.BeginCredentialRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.BeginCredentialResponse:
        offer = await self._issuance.begin(request.admission_code)
        return pb.BeginCredentialResponse(
            session=offer.session,
            issuer=offer.issuer,
            public_key=offer.public_key,
            header=offer.header,
            attributes=offer.attributes,
        )

    async def RequestCredential(
        self, request: pb.RequestCredentialRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.RequestCredentialResponse:
        asked = HolderRequest(
            admission_code=request.admission_code,
            session=request.session,
            request=request.request,
            earlier_public_key=request.earlier_public_key,
            earlier_header=request.earlier_header,
        )
        return pb.RequestCredentialResponse(grant=await self._issuance.request(asked))

    async def RenewCredential(
        self, request: pb.RenewCredentialRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.RenewCredentialResponse:
        renewed = await self._renewal.renew(request.identity)
        return pb.RenewCredentialResponse(signature=renewed.signature, header=renewed.header)

    async def StopRenewal(
        self, request: pb.StopRenewalRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.StopRenewalResponse:
        await self._renewal.end(request.request_id)
        return pb.StopRenewalResponse()

    async def VerifyPresentations(
        self, request: pb.VerifyPresentationsRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.VerifyPresentationsResponse:
        batch = [_shown(item) for item in request.presentations]
        return pb.VerifyPresentationsResponse(valid=await verdicts_of(self._verifiers, batch))

    async def GetOpeningShare(
        self, request: pb.GetOpeningShareRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.GetOpeningShareResponse:
        sealed = await self._openings.share(request.warrant_id, calling_member())
        return pb.GetOpeningShareResponse(sealed_share=sealed)

    async def FindHolder(
        self, request: pb.FindHolderRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.FindHolderResponse:
        admission = await self._openings.holder(request.warrant_id, request.identity_key)
        return pb.FindHolderResponse(admission_id=admission)

    async def ListIssuers(
        self, request: pb.ListIssuersRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.ListIssuersResponse:
        epoch = self._registry.epoch()
        response = pb.ListIssuersResponse(epoch=epoch.number)
        response.epoch_ends_at.CopyFrom(timestamp_of(epoch.ends_at_ns))
        for issuer in self._registry.issuers():
            response.issuers.add(
                member=issuer.member,
                public_key=issuer.public_key,
                schemas=sorted(issuer.schemas),
            )
        return response

    async def ListMembers(
        self, request: pb.ListMembersRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.ListMembersResponse:
        response = pb.ListMembersResponse()
        for member in self._registry.members():
            response.members.add(
                id=member.id,
                name=member.name,
                index=member.index,
                public_key=member.public_key,
                custodian_public_key=member.custodian_public_key,
            )
        return response


def _shown(item: pb.PresentationToVerify) -> Shown:
    shown = item.presentation
    return Shown(
        issuer_public_key=shown.issuer_public_key,
        header=shown.header,
        disclosed=tuple((each.index, each.value) for each in shown.disclosed),
        scope=shown.scope.encode(),
        context=item.context,
        proof=shown.proof,
        pseudonym=shown.pseudonym,
        opening_key=shown.opening_key,
        opening=shown.opening,
    )
