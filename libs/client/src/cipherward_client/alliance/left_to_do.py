"""What one member has left to do, a sentence with its command each: after others came or left, most
of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from cipherward_chain.group_keys import PURPOSES
from cipherward_client.sdk.data_keys import READY, DataKey, held_data_keys
from cipherward_client.sdk.errors import ClientError, explaining
from cipherward_client.sdk.found_changes import FoundChange
from cipherward_client.sdk.group_keys import newest_group_key
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.membership import REMOVAL, Registry

AWAY: Final = frozenset(("SERVICE_AWAY", "DEADLINE_EXCEEDED", "ENDPOINT_UNKNOWN"))


@dataclass(frozen=True, slots=True)
class Pending:
    """A change that waits for votes: `kind` is membership, removal or authority-change, of
    `member`.
    """

    kind: str
    member: str
    change: FoundChange


def votes_due(member: str, pending: Sequence[Pending]) -> list[str]:
    """Say on which proposals the member has not voted and may."""
    return [
        f"vote on the {one.kind} of {one.member}, if it is right: "
        f"cipherward member vote {one.change.change_id.hex()} --member {member}"
        for one in pending
        if member not in one.change.votes and not (one.kind == REMOVAL and one.member == member)
    ]


def seat_due(member: str, registry: Registry) -> list[str]:
    """Say whether the member runs a node that has no seat in consensus yet."""
    own = next((one for one in registry.members if one.member == member), None)
    if own is None or own.voting_power or not own.consensus_public_key:
        return []
    return [f"take the seat in consensus: cipherward alliance join --member {member}"]


async def shared_keys_due(hospital: Hospital, registry: Registry) -> list[str]:
    """Say which shared keys are missing, or shared among others than the members of now."""
    present = sorted(one.member for one in registry.members)
    found: list[str] = []
    for purpose in PURPOSES:
        with explaining():
            entry = await newest_group_key(hospital.alliance, purpose)
        propose = f"cipherward key propose {purpose} --member {hospital.member}"
        if entry is None:
            found.append(f"make the {purpose} key: {propose}")
        elif list(entry.guardians) != present:
            renew = f"{propose} --renew {entry.key_epoch}"
            found.append(f"share the {purpose} key among the members of now: {renew}")
    return found


async def data_keys_due(hospital: Hospital, registry: Registry) -> list[str]:
    """Say which data keys that this member holds are to be handed over; it asks its own compute.

    Raises:
        ClientError: that service refuses, or who holds a key is not proven.
    """
    try:
        held = await held_data_keys(hospital)
    except ClientError as error:
        if error.reason not in AWAY:
            raise
        return ["start the compute service: it does not answer which data keys are held here"]
    present = [one.member for one in registry.members]
    return [due for key in held if (due := data_key_due(key, hospital.member, present))]


def data_key_due(key: DataKey, member: str, present: Collection[str]) -> str:
    """Say what a holder has to do about a data key, or "" if nothing."""
    if key.state != READY:
        return ""
    name, holders = f"the data key of {key.data_set}, {key.year}", key.holders.members
    left = [holder for holder in holders if holder in present]
    if len(left) < key.holders.threshold:
        return (
            f"make another key instead of {name}: {len(left)} of its holders are left, "
            f"{key.holders.threshold} would have to hand it over, and nothing under it opens"
        )
    reshare = f"cipherward study key reshare {key.data_key.hex()} --member {member}"
    if len(left) < len(holders):
        gone = ", ".join(holder for holder in holders if holder not in present)
        return f"hand {name} over, {gone} holds it and is gone: {reshare}"
    others = ", ".join(sorted(other for other in present if other not in holders))
    return f"let {others} hold {name} too, unless that is not wanted: {reshare}" if others else ""
