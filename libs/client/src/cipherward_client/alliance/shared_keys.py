"""The keys that the members of an alliance on this machine share, made when it is young."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from cipherward_chain.group_keys import GroupKeyEntry
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.sdk.ceremonies import ensure_group_keys
from cipherward_client.sdk.hospital import open_hospital

# All members run here and answer at once. A member's message makes two blocks, so four members'
# messages of two ceremonies are a quarter of this; a phase in which somebody is silent is over
# after ten minutes of heartbeats.
WINDOW_BLOCKS = 64


async def ensure_shared_keys(
    folder: AllianceFolder, members: Sequence[str]
) -> Mapping[str, GroupKeyEntry]:
    """Return the alliance's record key and opening key by purpose; they are made if it has none.

    Args:
        folder: of an alliance that runs.
        members: whose keys lie in the folder; all of them vote.

    Raises:
        ClientError: a ceremony failed, or the alliance does not answer.
    """
    async with AsyncExitStack() as stack:
        hospitals = [
            await stack.enter_async_context(open_hospital(folder, member)) for member in members
        ]
        return await ensure_group_keys(hospitals, window=WINDOW_BLOCKS)
