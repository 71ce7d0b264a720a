"""Every way on which something of a record is read, and what came of taking it."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from grpc import aio

from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.release_orders import release_read
from cipherward_client.sdk.retries import is_passing
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import eventually
from tests.integration.enforcement.openings import Opening
from tests.integration.enforcement.town import CUSTODIAN, MEMBERS, POLL_SECONDS, WAIT_SECONDS, Town

CONTRACT = "/cipherward.contract.v1.ContractService"
CALL_SECONDS = 20.0
RESUME_AT = 1 << 20  # a part of a record
# Of what was handed over before an end, 7 to 31 MiB were seen on their way to a reader that had
# stopped: windows of gRPC and buffers of the kernel grow with the line. This is more.
LARGE = bytes(60 << 20)
HANDED_OUT = "cipherward_storage_downloaded_bytes_total"
RUNNING = "cipherward_storage_downloads_running"


@dataclass(frozen=True)
class Answer:
    """How many octets were given, and the reason why no more were; "" when all were."""

    given: int
    reason: str = ""

    @property
    def refused(self) -> bool:
        """Whether there was a no, and nothing before it."""
        return self.given == 0 and self.reason != ""


Path = Callable[[Town, Opening], Awaitable[Answer]]


async def _answered(call: Callable[[], Awaitable[Any]]) -> Answer:
    """Return what a unary call gives; a service that is busy or restarts is asked again."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                return Answer((await call()).ByteSize())
            except aio.AioRpcError as error:
                if not is_passing(error):
                    return Answer(0, reason_of(error) or error.code().name)
            await asyncio.sleep(POLL_SECONDS)


async def released_key(town: Town, opening: Opening) -> Answer:
    """Ask the custodian for its part of the key."""
    storage = town.alliance.storage_of(opening.release.custodian)

    async def call() -> Any:
        read = release_read(town.alliance, opening.release, opening.signer, "GetReleasedKey")
        return await storage.GetReleasedKey(
            pb.GetReleasedKeyRequest(read=read), timeout=CALL_SECONDS
        )

    return await _answered(call)


def guardian_share(guardian: str) -> Path:
    """Return the way to a guardian's share."""

    async def ask(town: Town, opening: Opening) -> Answer:
        storage = town.alliance.storage_of(guardian)

        async def call() -> Any:
            read = release_read(town.alliance, opening.release, opening.signer, "GetGuardianShare")
            return await storage.GetGuardianShare(
                pb.GetGuardianShareRequest(read=read), timeout=CALL_SECONDS
            )

        return await _answered(call)

    return ask


def ciphertext(town: Town, opening: Opening, offset: int) -> AsyncIterator[pb.GetRecordResponse]:
    """Return the stream of a record's ciphertext, begun now."""
    storage = town.alliance.storage_of(opening.release.custodian)
    read = release_read(town.alliance, opening.release, opening.signer, "GetRecord")
    request = pb.GetRecordRequest(read=read, offset=offset)
    return aiter(storage.GetRecord(request, timeout=WAIT_SECONDS))


async def drained(stream: AsyncIterator[pb.GetRecordResponse]) -> Answer:
    """Return what a stream gives to its end."""
    given = 0
    try:
        async for response in stream:
            given += len(response.part)
    except aio.AioRpcError as error:
        return Answer(given, reason_of(error) or error.code().name)
    return Answer(given)


async def handed_out(town: Town) -> float:
    """Return how many octets of ciphertext the custodian has handed over, as it counts them."""
    return await _metric(town, HANDED_OUT)


async def nothing_runs(town: Town) -> bool:
    """Say whether the custodian serves no download now."""
    return await _metric(town, RUNNING) == 0


async def _metric(town: Town, name: str) -> float:
    address = town.running.endpoints.of(CUSTODIAN, "storage").metrics
    page = await asyncio.to_thread(_get, f"http://{address}/metrics")
    found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
    assert found is not None
    return float(found[1])


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=CALL_SECONDS) as answer:
        return answer.read().decode()


def record_from(offset: int) -> Path:
    """Return the way to the ciphertext behind an offset."""

    async def ask(town: Town, opening: Opening) -> Answer:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                found = await drained(ciphertext(town, opening, offset))
                if found.reason not in ("CHAIN_STALE", "UNAVAILABLE", "SERVER_BUSY"):
                    return found
                await asyncio.sleep(POLL_SECONDS)

    return ask


async def key_by_sdk(town: Town, opening: Opening) -> Answer:
    """Have the SDK fetch the key, over the connection that has fetched it before."""
    try:
        return Answer(len((await opening.fetch(town)).key))
    except ClientError as error:
        return Answer(0, error.reason)


def page(method: str) -> Path:
    """Return the way to a page about the record, for its reader."""

    async def ask(town: Town, opening: Opening) -> Answer:
        asker = Asker(town.alliance, opening.signer)
        contract: Any = town.alliance.contract

        async def call() -> Any:
            read = asker.read(f"{CONTRACT}/{method}", opening.record_id)
            request = getattr(contract_pb, f"{method}Request")(read=read)
            return await getattr(contract, method)(request, timeout=CALL_SECONDS)

        return await _answered(call)

    return ask


# What an order gives the right to, for as long as it stands.
READS: Mapping[str, Path] = {
    "GetReleasedKey": released_key,
    **{f"GetGuardianShare of {member}": guardian_share(member) for member in MEMBERS},
    "GetRecord": record_from(0),
    "GetRecord, resumed": record_from(RESUME_AT),
    "the SDK": key_by_sdk,
}
# What says who opened a record is for its owner and its hospitals: a reader is never shown it.
PAGES: Mapping[str, Path] = {
    method: page(method) for method in ("ListContracts", "ListDisclosures", "ListNotices")
}


async def settled(town: Town, opening: Opening) -> None:
    """Wait until every member has carried out the end of a right: each says no, once."""
    for path in (released_key, *(guardian_share(member) for member in MEMBERS)):

        async def refuses(path: Path = path) -> bool:
            return (await path(town, opening)).refused

        await eventually(refuses, seconds=WAIT_SECONDS)


async def taken(town: Town, opening: Opening, paths: Mapping[str, Path]) -> dict[str, Answer]:
    """Take every path once, and return what each gave."""
    return {name: await path(town, opening) for name, path in paths.items()}


def wrong(answers: Mapping[str, Answer], reasons: Collection[str]) -> dict[str, Answer]:
    """Return the answers that gave something, or that were refused for another reason."""
    return {
        name: answer
        for name, answer in answers.items()
        if answer.given or answer.reason not in reasons
    }


def withheld(answers: Mapping[str, Answer]) -> dict[str, Answer]:
    """Return the answers that kept something back."""
    return {name: answer for name, answer in answers.items() if answer.reason or not answer.given}
