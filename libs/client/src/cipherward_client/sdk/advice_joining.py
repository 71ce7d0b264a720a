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
    "ADMISSION_MISSING": (
        "The genesis does not name that member, and no proof that it joined is in the folder.",
        "Run `cipherward alliance join --member MEMBER` as that member: it fetches the proof.",
    ),
    "INVITER_UNPROVEN": (
        "Nothing proves that who invites is a member of the alliance now.",
        "Try again in a minute; if it stays so, ask another member to invite you.",
    ),
    "INVITER_REMOVED": (
        "Who invites is not a member of the alliance now.",
        "Do not go on: ask somebody whom you know at another member, by telephone.",
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
    "CHAIN_NOT_BEGUN": (
        "This ledger has no block: a chain begins when more than two thirds of its members run.",
        "Wait: other founders accept their invitations and start, a newcomer fetches the chain.",
    ),
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
    "AUTHORITY_UNUSABLE": (
        "Services could not go by these authorities, or one of them is another member's.",
        "Give the certificate of an authority of the member's own that is still valid.",
    ),
    "AUTHORITY_IN_USE": (
        "A certificate of the member would be refused with these authorities alone.",
        "Propose with --keep-old first, issue all certificates anew, then propose with --only.",
    ),
    "AUTHORITY_NOT_PROPOSED": (
        "That member has not proposed these authorities.",
        "Ask it for the file that it proposed, or to propose it.",
    ),
    "AUTHORITIES_REJECTED": (
        "A file beside alliance.json does not prove that a member changed its authorities.",
        "Get authorities/MEMBER.json from a member that voted for it.",
    ),
    "ORDERS_PROOF_REJECTED": (
        "A document does not prove what a block has ordered.",
        "Get it again from a member.",
    ),
    "CERTIFICATES_MALFORMED": (
        "A text is not the certificates of one to four authorities.",
        "Give them in PEM, one after the other.",
    ),
    "ADMISSION_NOT_KEPT": (
        "That ledger keeps no proof of the member's admission.",
        "Ask a member that voted for it.",
    ),
    "REGISTRY_ENTRY_MALFORMED": (
        "What the chain has of a member is out of form.",
        "Use a release of the same version as the members'.",
    ),
    "MEMBERS_ELSEWHERE": (
        "The folder is one member's part of an alliance; the others have machines of their own.",
        "Run that member: `cipherward alliance start --member MEMBER --alliance DIR`.",
    ),
    "MEMBER_KEYS_MISSING": (
        "The folder has no keys of that member.",
        "Name the folder in which `cipherward alliance init` or `join` made them, or its member.",
    ),
    "MEMBER_NOT_ADMITTED": (
        "The member has not joined yet, as far as this folder knows.",
        "Go on with `cipherward alliance join --member MEMBER`: it says what it waits for.",
    ),
    "MEMBER_ADDRESSES_MISSING": (
        "Nothing in the folder says where the member's services listen.",
        "Run `cipherward alliance join --member MEMBER`, which enters what its registration says.",
    ),
    "RELEASE_FILES_MISSING": (
        "The folder lacks something that a release of that member mounts.",
        "Use the folder in which `cipherward alliance init` or `join` made the member's keys.",
    ),
    "PROPOSALS_SPENT": (
        "The same was proposed too often.",
        "Make a new registration: its keys are part of what is proposed.",
    ),
}
