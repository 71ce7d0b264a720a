"""Proofs that members joined after the genesis, from whatever ledger keeps one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from grpc import aio

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.admission import Admission, AdmissionRejected
from cipherward_chain.endpoints import EndpointUnknown
from cipherward_client.sdk.connection import Alliance

# A server on another continent answers in one second; a person waits at the screen.
FETCH_SECONDS: Final = 15.0


async def fetch_admission(alliance: Alliance, member: str) -> Admission | None:
    """Return the proof that a member joined, from the first ledger that has one that verifies."""
    request = pb.GetAdmissionRequest(member=member)
    for asked in alliance.present:
        with suppress(aio.AioRpcError, AdmissionRejected, EndpointUnknown):
            stub = alliance.ledger_of(asked)
            answer = await stub.GetAdmission(request, timeout=FETCH_SECONDS)
            admission = Admission.from_bytes(answer.admission)
            await asyncio.to_thread(admission.verify, alliance.trust_root, member)
            return admission
    return None
