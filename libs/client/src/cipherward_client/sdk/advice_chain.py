"""Advice for what the chain's rules refuse, before or in a block: (cause, fix) by reason."""

from __future__ import annotations

from collections.abc import Mapping

from cipherward_client.sdk.advice_phrases import DESK, FOLDER, UPDATE

# Refused by the chain's rules, before or in a block.
CONTRACTS: Mapping[str, tuple[str, str]] = {
    "GENESIS_MALFORMED": ("The genesis document is damaged or not one.", FOLDER),
    "TRANSACTION_MALFORMED": ("The transaction is out of form.", UPDATE),
    "TRANSACTION_TOO_LARGE": ("The transaction is too large.", "Do fewer acts at once."),
    "WRONG_CHAIN": ("The transaction is for another chain.", FOLDER),
    "TRANSACTION_EXPIRED": (
        "The transaction's time was over before it was in a block.",
        "Do it again, and check this machine's clock.",
    ),
    "EXPIRY_TOO_FAR": ("The transaction would live too long.", "Check this machine's clock."),
    "AUTHORIZATION_REJECTED": (
        "The signature or presentation does not authorise this.",
        "Sign with the key that may do it.",
    ),
    "TRANSACTION_REPLAYED": ("The same transaction was there before.", "Look at its receipt."),
    "MEMBER_UNKNOWN": (
        "The signing key is not that member's in the registry.",
        "Sign with the member's key of this alliance.",
    ),
    "KEY_NOT_REGISTERED": (
        "No pseudonym has registered the signing key.",
        "Register the pseudonym first.",
    ),
    "EPOCH_OVER": (
        "The credential or registration is of an epoch that is over.",
        "Renew the credential and register again.",
    ),
    "ISSUER_UNKNOWN": ("The credential's issuer is not in the registry.", FOLDER),
    "PRESENTATION_REFUSED": ("The credential does not show what is asked for.", DESK),
    "SCOPE_REFUSED": ("The credential may not be used in that scope.", "Use the scope's own kind."),
    "PRESENTATION_REQUIRED": ("A pseudonym is registered by showing a credential.", DESK),
    "KEY_REGISTERED": ("The key is registered already.", "Use it as it is."),
    "PSEUDONYM_REGISTERED": (
        "The pseudonym has registered another key.",
        "Use the wallet that registered it.",
    ),
    "NOT_THE_AUTHOR": ("Only a record's author may anchor it.", "Sign with the author's key."),
    "ANCHOR_MALFORMED": ("The record's anchor is out of form.", UPDATE),
    "CUSTODIAN_UNKNOWN": ("The record's custodian is no member.", FOLDER),
    "MEMBER_NOT_IN_REGISTRY": ("A member that is named is not in the registry.", FOLDER),
    "RECORD_EXISTS": ("A record of that id exists.", "Put it under a new id."),
    "OWNER_NOT_REGISTERED": (
        "The owner's key is not registered for this record.",
        "Let the owner register its pseudonym first.",
    ),
    "TEMPLATE_UNKNOWN": ("The alliance has no such contract template.", UPDATE),
    "TEMPLATE_NOT_ALLOWED": (
        "The record's anchor does not allow this kind of contract.",
        "Use a kind that the author allowed.",
    ),
    "RECORD_UNKNOWN": ("No such record is there.", "Check its id."),
    "RECORD_UNCLAIMED": ("The record has no owner.", "Let its owner claim it first."),
    "INSTANCE_EXISTS": ("A contract of that id exists.", "Draw a new id."),
    "INSTANCE_UNKNOWN": ("There is no such contract.", "Check its id."),
    "TERMS_MALFORMED": ("The contract's terms are out of form or bounds.", "Check the terms."),
    "ARGUMENTS_MALFORMED": ("The step's arguments are out of form.", "Check the arguments."),
    "TRANSITION_UNKNOWN": ("The contract has no such step.", UPDATE),
    "STATE_FORBIDS": (
        "The contract's state does not allow this: it is over, revoked or further on.",
        "Look at the contract's state.",
    ),
    "POLICY_DENIED": (
        "The contract's policies do not allow this to you.",
        "Ask whoever may: the patient for a consent, the members for a vote.",
    ),
    "POLICY_ERROR": ("A policy of the contract could not be evaluated.", "Report the template."),
    "NOT_A_PARTY": ("You are no party of this contract.", "Act with a key that is."),
    "KEY_REQUIRED": ("This needs a registered key, not a presentation.", "Register first."),
    "NOT_RECORDED": ("The contract has not recorded what this needs.", "Look at its state."),
    "NOT_A_MEMBER": ("Only members may do this.", "Sign with a member's key."),
    "ORDER_UNKNOWN": ("There is no such order.", "Check its height and index."),
    "NOT_NAMED": ("The order does not name this member.", "Report only one's own orders."),
    "ALREADY_REPORTED": ("The member has reported this already.", "Nothing is to be done."),
    "ORDER_NOT_CURRENT": ("The step is decided already.", "Nothing is to be done."),
    "DIGEST_REQUIRED": ("The report needs a digest.", UPDATE),
    "OUTCOME_UNSPECIFIED": ("The report has no outcome.", UPDATE),
    "REGISTRATION_REFUSED": (
        "The newcomer cannot be entered like this: an id, a number or a key is not its own.",
        "Make a registration with fresh keys and the next number, and propose it again.",
    ),
    "REMOVAL_REFUSED": (
        "The member cannot be removed: it is none, or nobody would be left to make blocks.",
        "Look at `cipherward member list`.",
    ),
    "UPGRADE_REFUSED": (
        "The alliance cannot go over to that version at that height.",
        "Propose the next version, at a height that is far enough ahead.",
    ),
    "RECORD_ERASED": ("The record is erased, for good.", "Nothing of it can be opened any more."),
    "SUITE_TOO_OLD": ("The record was sealed by an earlier release.", "Update, and seal it again."),
    "KEY_EPOCH_UNKNOWN": (
        "The record was sealed under a shared key that is not in force.",
        "Put the record again: it is sealed under the key of now.",
    ),
    "PSEUDONYM_SUSPENDED": (
        "This person may not act now: an emergency was not reviewed, or members voted it.",
        "Ask the data-protection officer of your hospital.",
    ),
    "MEMBER_SUSPENDED": (
        "The member is suspended by the vote of the others.",
        "Wait until it is reinstated; patients may still give rights up.",
    ),
    "OPENING_REQUIRED": (
        "Staff have to show that the members together could find out who they are.",
        "Show the credential again: the members have made or changed their opening key.",
    ),
    "BUDGET_SPENT": (
        "The permit's releases are used up.",
        "Apply for another permit.",
    ),
    "KEY_REFUSED": (
        "The data key is not what the study or score names, or does not serve it.",
        "Look at it with: cipherward study key show KEY; name its digest and its members.",
    ),
    "PERMIT_REFUSED": (
        "The study is not what its permit allows.",
        "Propose it with the permit's user, data sets, outputs and minimum.",
    ),
    "TEMPLATE_NOT_ACTIVE": (
        "The template is not active yet: members have time to object first.",
        "Try again when the delay after the vote is over.",
    ),
    "TEMPLATE_REFUSED": (
        "The analysis finds faults in the template.",
        "Run `cipherward contract check` on it: it names line and fix.",
    ),
    "INSTANCE_NOT_IN_STATE": (
        "A contract that is named is not in the state that this needs.",
        "Look at that contract's state.",
    ),
    "CEREMONY_REFUSED": (
        "The ceremony does not take this now: it runs, is over, or the message does not fit.",
        "Look at the ceremony, and begin another one when it has ended.",
    ),
    "EVIDENCE_REFUSED": (
        "The part that was published is not wrong, or nobody has signed it.",
        "Nothing is to be done: it proves nothing against anybody.",
    ),
}
