"""Advice for who founds an alliance, joins one or lets others in: (cause, fix) by reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ASK = "Ask the member that invited you for it again, and compare by telephone."
_OTHER_ID = "Choose another id: one that was a member's is never used again."

JOINING: Final[Mapping[str, tuple[str, str]]] = {
    "INVITATION_MALFORMED": ("The text is no invitation.", _ASK),
    "INVITATION_DAMAGED": (
        "The invitation was changed: its last line does not fit the others.",
        _ASK,
    ),
    "INVITATION_EXPIRED": ("The time to accept the invitation is over.", "Ask for a new one."),
    "INVITATION_ADDRESS_MISSING": (
        "There is no address at which a newcomer reaches the ledger.",
        "Name its port for holders with --address HOST:PORT.",
    ),
    "INVITER_NOT_A_FOUNDER": (
        "Only a member that the genesis names can be named in an invitation.",
        "Let a founder of the alliance invite.",
    ),
    "INVITER_AWAY": (
        "Nobody answers at the address in the invitation.",
        "Ask the member that invited you whether its ledger runs and is reached from here.",
    ),
    "GENESIS_NOT_INVITED": (
        "The genesis is not the one that the invitation names.",
        "Do not go on: ask the member that invited you, by telephone.",
    ),
    "AUTHORITY_NOT_INVITED": (
        "Who answers is not the member that the invitation names.",
        "Do not go on: ask the member that invited you, by telephone.",
    ),
    "FINGERPRINT_MALFORMED": ("A fingerprint is out of form.", _ASK),
    "CHAIN_NAME_MALFORMED": (
        "A chain has another kind of name.",
        "Use up to 50 lower-case letters, digits and hyphens; a letter comes first.",
    ),
    "MEMBER_ID_TAKEN": ("Another member has, or had, that id.", _OTHER_ID),
    "REGISTRATION_KEY_TAKEN": (
        "A key or certificate of the registration is another member's.",
        "Let that member make new keys in an empty folder.",
    ),
    "REGISTRATION_OF_ANOTHER_ENGINE": (
        "The registration was made for another engine than the alliance's.",
        "Make keys in an empty folder with `cipherward alliance join`, or the right --engine.",
    ),
    "REGISTRATION_MISSING": (
        "No keys of that member were made in this folder.",
        "Run `cipherward alliance init` or `join` with its invitation first.",
    ),
    "MEMBER_FOLDER_EXISTS": (
        "The folder holds something of that member that is not whole.",
        "Move it away, or choose another folder with --alliance.",
    ),
    "ADMISSION_OF_ANOTHER": (
        "The alliance admitted somebody of that id with other keys.",
        "Tell the members at once: the keys that they trust are not yours.",
    ),
    "ADMISSION_NOT_KEPT": (
        "That ledger keeps no proof of the member's admission.",
        "Ask a member that voted for it.",
    ),
    "PROPOSALS_SPENT": (
        "The same was proposed too often.",
        "Make a new registration: its keys are part of what is proposed.",
    ),
}
