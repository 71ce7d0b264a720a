"""A record that an act has released, opened by whoever the act released it to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.sealing import SealingKey
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.downloads import Download, Fault
from cipherward_client.sdk.ledger import Progress, ProvenAct
from cipherward_client.sdk.proven_orders import orders_of
from cipherward_client.sdk.release_orders import release_of


@dataclass(frozen=True, slots=True)
class OpenedRecord:
    """The content of a record as its author sealed it; `act` is the opening's, with its receipt.

    `faults` are members that signed a wrong part of its key: it opened without theirs.
    """

    content: bytes = field(repr=False)
    act: ProvenAct
    custodian: str
    faults: Sequence[Fault] = ()


async def fetch_released(
    alliance: Alliance,
    act: ProvenAct,
    record_id: bytes,
    signer: PseudonymSigner,
    key: SealingKey,
    progress: Progress | None = None,
) -> OpenedRecord:
    """Fetch and open the record that an act has had released to `key`.

    Args:
        act: proven; one of its orders is `release_key` for the signer's key and `key`.
        progress: told "download" with done and total.

    Raises:
        OrderDiffers: the act released something else.
        ClientError: see `Download.record`.
    """
    release = release_of(
        await orders_of(alliance, act), record_id, signer.public_key, key.public_key
    )
    found = await Download(alliance, release, signer, key, progress).record()
    return OpenedRecord(found.content, act, release.custodian, found.faults)
