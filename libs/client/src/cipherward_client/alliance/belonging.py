"""Whether the folder is that of a member: its keys lie here, and the chain has it."""

from __future__ import annotations

from cipherward_chain.genesis import Genesis
from cipherward_client.alliance.layout import MEMBER_KEY, AllianceFolder
from cipherward_client.sdk.connection import admission_file
from cipherward_client.sdk.errors import CheckFailed


class KeysMissing(CheckFailed):
    """The folder has no keys of that member."""

    reason = "MEMBER_KEYS_MISSING"


class NotAdmitted(CheckFailed):
    """The genesis does not name the member, and the proof that it was admitted is not here."""

    reason = "MEMBER_NOT_ADMITTED"


def genesis_of(folder: AllianceFolder, member: str) -> Genesis:
    """Return the genesis of a folder that is this member's.

    Raises:
        KeysMissing: its keys were not made here.
        NotAdmitted: it has not joined, as far as the folder knows.
        GenesisMalformed: the genesis is damaged.
        OSError: there is none.
    """
    if not folder.member(member).key(MEMBER_KEY).exists():
        raise KeysMissing(f"{member} in {folder.root}")
    genesis = Genesis.parse(folder.genesis_file.read_bytes())
    if member not in genesis.members and not admission_file(folder.endpoints_file, member).exists():
        raise NotAdmitted(member)
    return genesis


def members_elsewhere(folder: AllianceFolder, genesis: Genesis) -> list[str]:
    """Return the founders whose keys are not in the folder: who run on machines of their own."""
    return [one for one in genesis.members if not folder.member(one).key(MEMBER_KEY).exists()]
