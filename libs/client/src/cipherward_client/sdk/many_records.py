"""Many small records, put at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cipherward_client.records.sealing import RELEASE_TEMPLATES
from cipherward_client.sdk.errors import explained
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import Progress
from cipherward_client.sdk.records import Owner, RecordReceipt, put_record

RECORDS_AT_ONCE = 64  # fuller blocks: a third less work for everybody than with 16


async def put_records(
    hospital: Hospital,
    records: Sequence[tuple[bytes, Owner | None]],
    *,
    release_templates: Sequence[str] = RELEASE_TEMPLATES,
    progress: Progress | None = None,
) -> list[RecordReceipt]:
    """Put many small records at once; each as `put_record`, in the order given.

    Args:
        records: (content, owner) of each; 64 of them are in memory twice.
        release_templates: of each; see `put_record`.
        progress: told "record" with how many are proven.

    Raises:
        ActRefused, ClientError: the first failure; the others under way are given up. Records that
            were anchored stay: the wallets know them.
    """
    places = asyncio.Semaphore(RECORDS_AT_ONCE)
    done = 0

    async def put(content: bytes, owner: Owner | None) -> RecordReceipt:
        nonlocal done
        async with places:
            receipt = await put_record(
                hospital, content, owner, release_templates=release_templates
            )
        done += 1
        if progress is not None:
            progress("record", done, len(records))
        return receipt

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(put(*record)) for record in records]
    except BaseExceptionGroup as failures:
        raise explained(failures) from failures
    return [task.result() for task in tasks]
