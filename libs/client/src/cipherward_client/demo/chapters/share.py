"""Chapter: a patient lets one hospital read, and takes it back."""

from __future__ import annotations

import time
from dataclasses import dataclass

from grpc import aio

from cipherward.storage.v1 import storage_service_pb2 as storage_pb
from cipherward_chain.reads import build_read
from cipherward_chain.wire import NANOS
from cipherward_client.demo.cast import Case, Cast
from cipherward_client.demo.report import size
from cipherward_client.demo.staff import Staff, on_duty
from cipherward_client.sdk.consents import ConsentTerms, grant_consent, revoke_consent
from cipherward_client.sdk.errors import ClientError, explained
from cipherward_client.sdk.opened import OpenedRecord
from cipherward_client.sdk.records import get_record
from cipherward_client.wallet.scopes import duty_scope

DAY_SECONDS = 86_400
CALL_SECONDS = 15.0
GET_RELEASED_KEY = "/cipherward.storage.v1.StorageService/GetReleasedKey"


@dataclass(frozen=True, slots=True)
class Shared:
    """What the chapter leaves to others: the patient, and who did what to the record."""

    case: Case
    reader: Staff
    stranger: Staff
    refusals: int


async def share(cast: Cast) -> Shared:
    """Tell the chapter."""
    teller, case = cast.teller, cast.cases[0]
    teller.chapter("A patient lets one hospital read, and takes it back")
    others = [member for member in cast.hospitals if member != case.hospital]
    reader, stranger = await on_duty(cast, others[0]), await on_duty(cast, others[1])
    teller.explain(
        "A consent is a contract on the chain: one record, one hospital, one purpose, an end. The "
        "key is given out because a block orders it, never because a server was asked nicely."
    )
    terms = ConsentTerms(
        record_id=case.record.record_id,
        grantee_member=reader.member,
        expires=int(time.time()) + DAY_SECONDS,
    )
    given = await grant_consent(cast.alliance, case.wallet, terms)
    cast.acts.append(given.act)
    teller.say(
        f"The patient of {case.hospital} lets the clinicians of {reader.member} read the record "
        "for treatment, for one day."
    )
    opened = await _opens(cast, case, reader, given.grant_id)
    refusals = await _is_refused(cast, case, stranger, given.grant_id)
    refusals += await _is_revoked(cast, case, reader, given.grant_id, opened)
    return Shared(case, reader, stranger, refusals)


async def _opens(cast: Cast, case: Case, reader: Staff, grant_id: bytes) -> OpenedRecord:
    with cast.report.timed("open a record"):
        opened = await get_record(cast.alliance, reader.wallet, case.record.record_id, grant_id)
    cast.acts.append(opened.act)
    milliseconds = 1000 * cast.report.timings["open a record"]
    same = opened.content == case.content
    cast.teller.say(
        f"A clinician of {reader.member} opens it: block {opened.act.height} orders the key, "
        f"{opened.custodian} and the others hand out their parts of it, "
        f"{size(len(opened.content))} of FHIR are decrypted at the clinician's, "
        f"{milliseconds:.0f} ms in all."
    )
    cast.report.check(
        "the clinician got the original bytes",
        same,
        f"{size(len(opened.content))} in {milliseconds:.0f} ms",
    )
    return opened


async def _is_refused(cast: Cast, case: Case, stranger: Staff, grant_id: bytes) -> int:
    reason = await _attempt(cast, case, stranger, grant_id)
    cast.teller.say(f"A clinician of {stranger.member} asks for the same record: {reason}.")
    return int(cast.report.check("a third hospital is refused", reason == "POLICY_DENIED", reason))


async def _attempt(cast: Cast, case: Case, clinician: Staff, grant_id: bytes) -> str:
    """Return why the clinician may not open the record, or that it was opened."""
    try:
        await get_record(cast.alliance, clinician.wallet, case.record.record_id, grant_id)
    except ClientError as refusal:
        return refusal.reason
    return "opened"


async def _is_revoked(
    cast: Cast, case: Case, reader: Staff, grant_id: bytes, opened: OpenedRecord
) -> int:
    before = await _released_key(cast, case, reader, opened)
    with cast.report.timed("revoke to refused"):
        end = await revoke_consent(cast.alliance, case.wallet, grant_id)
        after = await _until_refused(cast, case, reader, opened)
    cast.acts.append(end)
    milliseconds = 1000 * cast.report.timings["revoke to refused"]
    cast.teller.say(
        f"The patient takes the consent back. The key that was given out a moment ago ({before}) "
        f"is not given again ({after}), {milliseconds:.0f} ms after the patient said so."
    )
    cast.report.check(
        "a release from before is dead after the revocation",
        before == "given" and after == "RELEASE_ENDED",
        f"{before}, then {after}, after {milliseconds:.0f} ms",
    )
    reason = await _attempt(cast, case, reader, grant_id)
    cast.teller.say(f"The same clinician asks again: {reason}.")
    return int(
        cast.report.check(
            "after the revocation the next read is refused", reason == "STATE_FORBIDS", reason
        )
    )


async def _until_refused(cast: Cast, case: Case, reader: Staff, opened: OpenedRecord) -> str:
    """Return the first refusal of the old release; the custodian may be a moment behind."""
    ends = time.monotonic() + CALL_SECONDS
    while (answer := await _released_key(cast, case, reader, opened)) == "given":
        if time.monotonic() > ends:
            break
    return answer


async def _released_key(cast: Cast, case: Case, reader: Staff, opened: OpenedRecord) -> str:
    """Ask the custodian for the key of the earlier order, as the reader may; return its word."""
    alliance, custodian = cast.alliance, opened.custodian
    read = build_read(
        GET_RELEASED_KEY,
        case.record.record_id,
        chain_id=alliance.chain_id,
        signer=reader.wallet.signer(duty_scope(reader.member, alliance.epoch())),
        time_ns=int(alliance.now() * NANOS),
        order=opened.act.order(),
    )
    request = storage_pb.GetReleasedKeyRequest(read=read)
    try:
        await alliance.storage_of(custodian).GetReleasedKey(request, timeout=CALL_SECONDS)
    except aio.AioRpcError as error:
        return explained(error).reason
    return "given"
