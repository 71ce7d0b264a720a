"""What a data key's dealers hand to a new holder, which holds it against what the chain says.

Public key, evaluation key, and the columns: their text, whose slots they have, and each member's
list. A member that was not there when the key was made has none of it, nor read the registrations.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from itertools import pairwise

from cipherward_chain.canonical import NotCanonical
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.column_keys import ColumnKeys, DataKey, Slots
from cipherward_compute.columns import (
    Layout,
    ManifestMalformed,
    Manifests,
    parse_manifest,
)
from cipherward_compute.errors import DataKeyUnknown, StepFailed
from cipherward_compute.failures import CommitmentsIncomplete
from cipherward_compute.handed_columns import HandedColumns
from cipherward_compute.instructions import ReshareKey
from cipherward_compute.keyring import Keyring, MessageKind
from cipherward_compute.peers import Peers
from cipherward_studies.columns import ColumnTextMalformed, parse_column_text

HANDED: tuple[MessageKind, ...] = ("public_key", "evaluation_key", "columns")


@dataclass(frozen=True, slots=True)
class HandedKey:
    """What a new holder was handed, and found to be what the chain names."""

    public_key: bytes
    evaluation_key: bytes
    columns: bytes


class Handing:
    """Hands over what this member holds of a data key beside its share."""

    def __init__(self, keyring: Keyring, keys: ColumnKeys, manifests: Manifests) -> None:
        self._keyring = keyring
        self._keys = keys
        self._manifests = manifests

    async def message(self, study: bytes, kind: MessageKind) -> bytes:
        """Return one of `HANDED` of the data key that a resharing is of; b"" if it is not here."""
        source = await self._keyring.source(study)
        try:
            match kind:
                case "public_key":
                    return (await self._keyring.ceremony(source)).public_key
                case "evaluation_key":
                    return await self._keyring.evaluation_key(source)
                case _:
                    return await self._columns(source)
        except (StepFailed, DataKeyUnknown):  # the key has ended, or this member never held it
            return b""

    async def _columns(self, source: bytes) -> bytes:
        key, slots = await self._keys.data_key(source), await self._keys.slots(source)
        lists = await self._manifests.all(source)
        handed = HandedColumns(key.text.octets, slots.pseudonyms, lists)
        return await asyncio.to_thread(handed.to_bytes)


async def handed_by(peers: Peers, dealer: str, order: ReshareKey) -> HandedKey:
    """Return what a dealer hands over of the order's data key.

    Raises:
        PeerWrong: it is not what the chain names.
        CommitmentsIncomplete: the order names nobody's columns.
    """
    if not order.columns:
        raise CommitmentsIncomplete("the order names no columns of the data key")
    study = order.shared.study
    public_key = await peers.ceremony_message(dealer, study, "public_key")
    if await _digest(public_key) != order.resharing.key_digest:
        raise PeerWrong(dealer, "it hands over another public key")
    evaluation_key = await peers.ceremony_message(dealer, study, "evaluation_key")
    if await _digest(evaluation_key) != order.evaluation_digest:
        raise PeerWrong(dealer, "it hands over another evaluation key")
    columns = await peers.ceremony_message(dealer, study, "columns")
    await asyncio.to_thread(_check_columns, order, dealer, columns)
    return HandedKey(public_key, evaluation_key, columns)


def _check_columns(order: ReshareKey, dealer: str, octets: bytes) -> None:
    """Accept columns as those that all members of the data key have committed to.

    Each list names the slots by digest, and the chain has a commitment to each list.
    """
    source = order.resharing.source
    try:
        handed = HandedColumns.parse(octets)
        text = parse_column_text(handed.text)
        if text.digest != order.spec_digest:
            raise PeerWrong(dealer, "it hands over another text of the columns")
        if sorted(handed.lists) != sorted(order.columns):
            raise PeerWrong(dealer, "it hands over the lists of other members")
        if any(first >= second for first, second in pairwise(handed.pseudonyms)):
            raise PeerWrong(dealer, "the slots that it hands over are not in order")
        slots = Slots.of(source, handed.pseudonyms)
        layout = Layout(DataKey(source, text.data_set, 0, text.digest, text, 0), slots)
        for member, listed in handed.lists.items():
            manifest = parse_manifest(listed, layout, member)
            if manifest.commitment != order.columns[member]:
                raise PeerWrong(dealer, f"it hands over another list of {member}'s columns")
    except (NotCanonical, ColumnTextMalformed, ManifestMalformed) as error:
        raise PeerWrong(dealer, f"what it hands over of the columns: {error}") from None


async def _digest(octets: bytes) -> bytes:
    return await asyncio.to_thread(lambda: hashlib.sha256(octets).digest())
