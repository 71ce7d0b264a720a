"""Data keys: under which the members of an alliance store columns of a data set encrypted.

A member proposes one, the members vote and make it together; then patients enrol, until the time
that the contract says. What is computed with the columns are contracts of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cipherward.compute.v1 import compute_service_pb2 as compute_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import NotCanonical, decode_map, encode
from cipherward_chain.fields import Fields
from cipherward_chain.key_holders import KeyHolders
from cipherward_client.sdk.column_studies import threshold_of
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.contract_acts import begin, take, vote_on
from cipherward_client.sdk.contract_reads import failure_of, read_contract
from cipherward_client.sdk.document_files import read_document
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.key_holders import handed_over
from cipherward_client.sdk.ledger import ProvenAct
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.retries import patiently
from cipherward_studies.columns import ColumnText
from cipherward_studies.document import MINIMUM_LEAST

TEMPLATE, VERSION = "data-key", 1
READY = "ready"
DAY_SECONDS = 86_400
ENROL_DAYS, LIFE_DAYS = 90, 365
RELEASES = 1000  # decrypted sums: each study under the key takes two
STEP_SECONDS = 600  # a step moves and verifies some ten MB of each member
TEXT_SECONDS = 30.0  # until a member's service has seen the block of the proposal
HELD_SECONDS = 10.0  # one look into its database


class DataKeyUnreadable(CheckFailed):
    """What a contract service answers for a data key is none."""

    reason = "DATA_KEY_UNREADABLE"


class DataKeyNotReady(CheckFailed):
    """The data key has no columns yet, or not any more."""

    reason = "DATA_KEY_NOT_READY"


class ColumnsUnreadable(CheckFailed):
    """A file describes no columns."""

    reason = "COLUMNS_UNREADABLE"


@dataclass(frozen=True, slots=True)
class DataKeyRequest:
    """What a data key is to be for; `members` empty means all of the alliance.

    enrol_seconds: from now until the columns are fixed. seconds: from now until the key ends.
    approvals: how many members must vote yes; 0 means as many as must take part to decrypt.
    """

    text: ColumnText
    year: int
    enrol_seconds: int = ENROL_DAYS * DAY_SECONDS
    seconds: int = LIFE_DAYS * DAY_SECONDS
    minimum: int = MINIMUM_LEAST
    releases_max: int = RELEASES
    step_seconds: int = STEP_SECONDS
    members: tuple[str, ...] = ()
    approvals: int = 0

    def terms(self, members: tuple[str, ...], now: int) -> bytes:
        """Return the canonical terms; `now` is Unix time."""
        threshold = threshold_of(len(members))
        return encode(
            {
                "data_set": self.text.data_set,
                "year": self.year,
                "members": sorted(members),
                "threshold": threshold,
                "approvals": self.approvals or threshold,
                "spec_digest": self.text.digest,
                "minimum": self.minimum,
                "releases_max": self.releases_max,
                "enrol_until": now + self.enrol_seconds,
                "expires": now + self.seconds,
                "step_seconds": self.step_seconds,
            }
        )


@dataclass(frozen=True, slots=True)
class ProposedDataKey:
    """A data key on the chain that waits for the members' votes."""

    data_key: bytes
    act: ProvenAct


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key as a contract service says that it stands; times are Unix seconds.

    members: who made the key and stores columns under it. holders: who holds it now, and how many
    of them decrypt. key_digest: the name of its public key; empty before its ceremony is over.
    failure: why it has failed, as a word; empty if it has not.
    """

    data_key: bytes
    state: str
    data_set: str
    year: int
    members: tuple[str, ...]
    holders: KeyHolders
    minimum: int
    releases_max: int
    enrol_until: int
    expires: int
    key_digest: bytes = b""
    failure: str = ""

    def require_ready(self) -> None:
        """Accept a key whose columns can be computed with, or raise `DataKeyNotReady`."""
        if not self.key_digest or self.state != READY:
            raise DataKeyNotReady(f"the data key is {self.state}")


def read_columns(path: Path) -> ColumnText:
    """Return the columns that a YAML or JSON file describes.

    Raises:
        OSError: the file cannot be read.
        ColumnsUnreadable: it is no YAML or JSON.
        DraftInvalid: it describes no columns; every fault is named.
    """
    return ColumnText.from_document(read_document(path, ColumnsUnreadable))


async def propose_data_key(hospital: Hospital, request: DataKeyRequest) -> ProposedDataKey:
    """Propose a data key as a member, and hand the text of its columns to all members.

    Raises:
        ActRefused: the terms are out of bounds.
        ClientError: a member's service does not take the text; propose again, or hand it over.
    """
    with explaining():
        alliance = hospital.alliance
        members = request.members or tuple(sorted(alliance.present))
        terms = request.terms(members, int(alliance.now()))
        data_key, act = await begin(alliance, hospital.signer, TEMPLATE, VERSION, terms)
        await hand_over_columns(alliance, members, request.text)
        return ProposedDataKey(data_key, act)


async def hand_over_columns(alliance: Alliance, members: tuple[str, ...], text: ColumnText) -> None:
    """Give the text of a proposed data key's columns to members; the same again changes nothing.

    Raises:
        ClientError: one of them does not know, in some seconds, of a data key with that text.
    """
    request = compute_pb.PutColumnTextRequest(text=text.octets)
    with explaining():
        for member in members:
            compute = alliance.compute_of(member)
            await patiently(
                lambda left, compute=compute: compute.PutColumnText(request, timeout=left),
                TEXT_SECONDS,
                not_yet=("COLUMN_TEXT_UNKNOWN",),
            )


async def vote_data_key(hospital: Hospital, data_key: bytes, approve: bool = True) -> ProvenAct:
    """Say a member's yes or no to a proposed data key.

    Raises:
        ActRefused: it is decided already, or the member is none of the key's.
    """
    with explaining():
        return await vote_on(hospital, data_key, "approve", approve)


async def vote_to_retire(hospital: Hospital, data_key: bytes, retire: bool = True) -> ProvenAct:
    """Say a holder's yes or no to ending a data key that is ready: its columns go with it.

    Those to whom it was handed over vote in the contract that did.

    Raises:
        ActRefused: it is not ready, or the member does not hold it.
    """
    with explaining():
        held = await handed_over(hospital, data_key)
        contract = data_key if held is None else held.sharing
        return await vote_on(hospital, contract, "retire", retire)


async def withdraw_data_key(hospital: Hospital, data_key: bytes) -> ProvenAct:
    """End a data key as one of its members, before it is ready.

    Raises:
        ActRefused: it is ready or has ended, or the member is none of the key's.
    """
    with explaining():
        return await take(hospital.alliance, hospital.signer, data_key, "withdraw")


async def show_data_key(hospital: Hospital, data_key: bytes) -> DataKey:
    """Return a data key to a member.

    Raises:
        ClientError: there is none, or it is not this one's to see; or who holds it is not proven.
    """
    with explaining():
        contract = await read_contract(Asker.member(hospital), data_key)
        return data_key_of(contract, await handed_over(hospital, data_key))


async def held_data_keys(hospital: Hospital) -> list[DataKey]:
    """Return the data keys of which the member's own compute service holds a share.

    Raises:
        ClientError: it does not answer, or who holds one is not proven.
    """
    with explaining():
        compute = hospital.alliance.compute_of(hospital.member)
        request = compute_pb.GetHeldDataKeysRequest()
        found = await compute.GetHeldDataKeys(request, timeout=HELD_SECONDS)
        return [await show_data_key(hospital, data_key) for data_key in found.data_keys]


def data_key_of(contract: pb.Contract, held: KeyHolders | None = None) -> DataKey:
    """Return the data key that a contract is.

    Args:
        held: who holds it since it was handed over; None as long as those do that made it.

    Raises:
        DataKeyUnreadable: it is another contract, or out of form.
    """
    if contract.template != TEMPLATE:
        raise DataKeyUnreadable(f"the contract is a {contract.template}, and no data key")
    try:
        fields = Fields(decode_map(contract.terms))
        variables = Fields(decode_map(contract.variables))
        members = fields.texts("members")
        return DataKey(
            contract.instance_id,
            contract.state,
            data_set=fields.text("data_set"),
            year=fields.integer("year"),
            members=members,
            holders=held or KeyHolders(members, fields.integer("threshold")),
            minimum=fields.integer("minimum"),
            releases_max=fields.integer("releases_max"),
            enrol_until=fields.integer("enrol_until"),
            expires=fields.integer("expires"),
            key_digest=variables.octets("key_digest") if variables.has("key_digest") else b"",
            failure=failure_of(contract),
        )
    except NotCanonical as error:
        raise DataKeyUnreadable(f"the data key is out of form: {error}") from error
