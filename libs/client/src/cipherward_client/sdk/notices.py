"""What contracts had to tell somebody: emergencies, reviews that are due, wrong shares.

A notice is the contract service's own index; the contract that it names is on the chain.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.questions import Asker, ask, every_page
from cipherward_client.wallet.wallet import Wallet

METHOD = "/cipherward.contract.v1.ContractService/ListNotices"
PAGE_ROWS = 100  # the most that a page has


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a contract told a member or a record's owner.

    `kind` is of the closed list of the instruction `notify`, or review-due. `record_id` is empty if
    it is about none. `time_seconds` is the block's, `due_seconds` until when something is to be
    done; 0 if nothing is.
    """

    kind: str
    record_id: bytes
    instance_id: bytes
    height: int
    time_seconds: int
    due_seconds: int


async def notices_of_record(alliance: Alliance, wallet: Wallet, record_id: bytes) -> list[Notice]:
    """Return what the owner of a record was told about it, oldest first.

    Raises:
        ClientError: the record is not this wallet's.
    """
    with explaining():
        owned = wallet.record(record_id).record_id
        return await _notices(await Asker.owner(alliance, wallet, owned), owned)


async def notices_of_member(hospital: Hospital) -> list[Notice]:
    """Return what a member was told, oldest first.

    Raises:
        ClientError: its contract service does not answer.
    """
    with explaining():
        return await _notices(Asker.member(hospital), b"")


async def _notices(asker: Asker, object_id: bytes) -> list[Notice]:
    def page(token: str) -> Awaitable[pb.ListNoticesResponse]:
        return ask(
            asker,
            METHOD,
            object_id,
            lambda read, left: asker.alliance.contract.ListNotices(
                pb.ListNoticesRequest(read=read, page_size=PAGE_ROWS, page_token=token),
                timeout=left,
            ),
        )

    return [_notice(row) async for found in every_page(page) for row in found.notices]


def _notice(row: pb.Notice) -> Notice:
    return Notice(
        row.kind,
        row.record_id,
        row.instance_id,
        row.height,
        row.time.seconds,
        row.due.seconds if row.HasField("due") else 0,
    )
