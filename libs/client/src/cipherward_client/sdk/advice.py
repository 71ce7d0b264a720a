"""What every reason means to a person: one cause and one fix.

Reasons are what the services, the chain and this package give in their errors; a test holds that
none of them is missing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Advice:
    """One sentence for the cause, one for what to do."""

    cause: str
    fix: str


UNEXPECTED = "UNEXPECTED"  # for what nobody has foreseen; its advice is always there

_UPDATE = "Use the same release on both sides."
_AGAIN = "Try again in a few seconds."
_DESK = "Ask the hospital's desk for a new admission code."
_WAIT_CHAIN = "Try again when the alliance makes blocks; `cipherward dev` shows whether it does."
_REPORT = "Report it with the service's log."
_OTHER_PEER = "Fetch it again, from another member if it happens again."
_FOLDER = "Use the genesis and endpoints of one alliance, from the folder that `dev --data` names."
_BACKUP = "Restore the file from a backup."

# Asked of a service and refused by it, or not answered.
SERVICES: Mapping[str, tuple[str, str]] = {
    "SERVICE_AWAY": (
        "The service does not answer.",
        "Check that the alliance runs, and try again.",
    ),
    "DEADLINE_EXCEEDED": ("The service did not answer in time.", _AGAIN),
    "CALL_CANCELLED": ("The call was cancelled.", _AGAIN),
    "SERVICE_FAILED": ("The service failed in a way that it does not explain.", _REPORT),
    "NOT_SERVED": ("The service does not know this call.", _UPDATE),
    "PEER_NOT_TRUSTED": (
        "A certificate does not prove the name that it claims.",
        "Use a certificate that the member's own authority issued and that is still valid.",
    ),
    "CALLER_REFUSED": (
        "This call is for other callers.",
        "Make it with the certificate of the member's own systems.",
    ),
    "DEADLINE_MISSING": ("The call had no deadline.", "Give it a timeout."),
    "SERVER_BUSY": ("The service has too many calls in flight.", _AGAIN),
    "DRAINING": ("The service is going away.", _AGAIN),
    "DEPENDENCY_AWAY": ("A service behind the one that was asked does not answer.", _AGAIN),
    "WORKERS_BUSY": ("All workers of the service are busy.", _AGAIN),
    "WORKER_LOST": ("A worker of the service ended in the middle of the job.", _AGAIN),
    "CHAIN_STALE": ("The service has seen no new block for too long.", _WAIT_CHAIN),
    "CHAIN_NOT_INITIALISED": ("The chain has no state yet.", _AGAIN),
    "READ_MALFORMED": ("The question is out of form.", _UPDATE),
    "READ_REJECTED": (
        "You may not read this, or your clock is wrong.",
        "Ask with the key that the right was given to, and check this machine's clock.",
    ),
    "PAGE_TOKEN_MALFORMED": ("The page does not exist.", "Start from the first page."),
    "CONTRACT_AWAY": ("The chain stands still: its contract service does not answer.", _WAIT_CHAIN),
    "IDENTITY_AWAY": ("Presentations cannot be verified now.", _AGAIN),
    "OUTBOX_FULL": ("Too many transactions wait for a block.", "Send fewer at once, or later."),
    "BATCH_TOO_LARGE": ("The batch is too large.", "Send smaller batches."),
    "BLOCK_TOO_LARGE": ("The block is too large.", _REPORT),
    "BLOCK_UNKNOWN": ("There is no proven block of that height.", "Ask for a lower height."),
    "BLOCK_CORRUPT": ("A stored block is damaged and is not served.", "Restore the ledger's data."),
    "BLOCK_NOT_KEPT": ("The block is too old to be answered.", "Ask the ledger for its block."),
    "NOT_YET_PROVEN": ("The transaction's block is not proven yet.", _AGAIN),
    "TRANSACTION_UNKNOWN": ("The ledger never admitted that transaction.", "Submit it."),
    "TRANSACTION_ID_MALFORMED": ("A transaction id has 32 bytes.", "Give the whole id."),
    "LEDGER_DRAINING": ("The ledger is going away.", _AGAIN),
    "TOO_MANY_KEYS": ("Too many state keys were asked for at once.", "Ask for at most 64."),
    "GENESIS_DIFFERS": ("The chain was started from another genesis.", _FOLDER),
    "HEIGHT_GAP": ("Ledger and contract are at different heights.", _REPORT),
    "ANOTHER_BLOCK": ("Another block was executed at that height.", _REPORT),
    "NOT_EXECUTED": ("The block was not executed before it was committed.", _REPORT),
    "NOT_THE_VALIDATOR": (
        "The ledger's consensus key is not the one in the genesis.",
        "Start it with the key that the genesis names.",
    ),
    "SCHEMA_UNKNOWN": ("No credential of that kind exists.", "Use patient or staff."),
    "ATTRIBUTES_DIFFER": (
        "The attributes are not those of the credential's kind.",
        "Staff have a role (clinician, researcher or dpo), patients have none.",
    ),
    "REQUEST_ID_MALFORMED": ("A request id is a UUID in lower case.", "Draw a new one."),
    "REQUEST_ID_REUSED": ("The request id belongs to another request.", "Draw a new one."),
    "ADMISSIONS_FULL": ("Too many admission codes are open.", "Wait until some are used."),
    "ADMISSION_UNKNOWN": ("No admission has that request id.", "Give the id of the admission."),
    "CREDENTIAL_REJECTED": (
        "The code is wrong, used or too old, or the credential does not count any more.",
        _DESK,
    ),
    "UPLOAD_MALFORMED": ("The upload is out of form.", _UPDATE),
    "UPLOAD_UNKNOWN": ("There is no such upload.", "Start it from the beginning."),
    "UPLOAD_DIFFERS": ("The upload was begun with another header.", "Put the record again."),
    "UPLOAD_IN_PROGRESS": ("The same upload runs in another stream.", _AGAIN),
    "UPLOAD_STALLED": ("The upload sent nothing for too long.", "Put the record again."),
    "WRONG_OFFSET": ("The upload went on at the wrong place.", "Put the record again."),
    "DIGEST_DIFFERS": ("The ciphertext was changed on its way.", "Put the record again."),
    "SLOT_REJECTED": ("The key part was not sealed to this custodian.", _FOLDER),
    "RECORD_TOO_LARGE": ("The record is longer than one may be.", "Split the record."),
    "DISK_FULL": ("The custodian has no room left.", "Free disk space, or raise its quota."),
    "RELEASE_UNKNOWN": ("That order released no key here.", "Open the record again."),
    "RELEASE_ENDED": (
        "The right to this record was revoked or is over.",
        "Ask the patient for a new consent.",
    ),
    "OFFSET_OUT_OF_RANGE": ("The download went on beyond the record's end.", _AGAIN),
    "DOWNLOAD_STALLED": ("The download took nothing for too long.", "Get the record again."),
    "DATA_SET_MALFORMED": ("The table is out of form.", "Check its columns and numbers."),
    "DATA_SET_TOO_LARGE": ("The table is too large.", "Give fewer rows."),
    "DATA_SET_UNKNOWN": ("The member has no data set of that name.", "Name one that it has."),
    "STUDY_SPEC_MALFORMED": ("The study is out of form.", "Check its variables and bounds."),
    "STUDY_SPEC_TOO_LARGE": ("The study's text is too long.", "Name fewer variables."),
    "STUDY_SPEC_UNKNOWN": ("The member has not got the study's text.", "Propose the study again."),
    "STUDY_SPECS_FULL": ("The member keeps too many studies that never began.", "Try later."),
    "VARIABLE_UNKNOWN": ("The data set has no such variable.", "Name one that it has."),
    "STUDY_UNKNOWN": ("No such study is known here.", "Check its id."),
    "NOT_RELEASED": ("The study has no released result.", "Watch the study until it is released."),
    "MESSAGE_KIND_UNKNOWN": ("No such message of a key ceremony exists.", _UPDATE),
    "NOT_YET_MADE": ("The member has not made that yet.", _AGAIN),
    "SHARE_ALREADY_GIVEN": (
        "The member has given its one share of that ciphertext already.",
        "Propose a new study.",
    ),
}

# Refused by the chain's rules, before or in a block.
CONTRACTS: Mapping[str, tuple[str, str]] = {
    "GENESIS_MALFORMED": ("The genesis document is damaged or not one.", _FOLDER),
    "TRANSACTION_MALFORMED": ("The transaction is out of form.", _UPDATE),
    "TRANSACTION_TOO_LARGE": ("The transaction is too large.", "Do fewer acts at once."),
    "WRONG_CHAIN": ("The transaction is for another chain.", _FOLDER),
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
    "ISSUER_UNKNOWN": ("The credential's issuer is not in the registry.", _FOLDER),
    "PRESENTATION_REFUSED": ("The credential does not show what is asked for.", _DESK),
    "SCOPE_REFUSED": ("The credential may not be used in that scope.", "Use the scope's own kind."),
    "PRESENTATION_REQUIRED": ("A pseudonym is registered by showing a credential.", _DESK),
    "KEY_REGISTERED": ("The key is registered already.", "Use it as it is."),
    "PSEUDONYM_REGISTERED": (
        "The pseudonym has registered another key.",
        "Use the wallet that registered it.",
    ),
    "NOT_THE_AUTHOR": ("Only a record's author may anchor it.", "Sign with the author's key."),
    "ANCHOR_MALFORMED": ("The record's anchor is out of form.", _UPDATE),
    "CUSTODIAN_UNKNOWN": ("The record's custodian is no member.", _FOLDER),
    "MEMBER_NOT_IN_REGISTRY": ("A member that is named is not in the registry.", _FOLDER),
    "RECORD_EXISTS": ("A record of that id exists.", "Put it under a new id."),
    "OWNER_NOT_REGISTERED": (
        "The owner's key is not registered for this record.",
        "Let the owner register its pseudonym first.",
    ),
    "TEMPLATE_UNKNOWN": ("The alliance has no such contract template.", _UPDATE),
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
    "TRANSITION_UNKNOWN": ("The contract has no such step.", _UPDATE),
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
    "DIGEST_REQUIRED": ("The report needs a digest.", _UPDATE),
    "OUTCOME_UNSPECIFIED": ("The report has no outcome.", _UPDATE),
}

# Found on this side: nothing that was received is believed before it is checked.
HERE: Mapping[str, tuple[str, str]] = {
    UNEXPECTED: ("Something went wrong that nobody has foreseen.", "Report it, with what you did."),
    "FILE_UNREADABLE": ("A file cannot be read or written.", "Check its path and permissions."),
    "ARGUMENT_INVALID": ("An argument is out of its range.", "Check what was given."),
    "CHECK_FAILED": ("What was received is not what was asked for.", _OTHER_PEER),
    "CHAIN_ERROR": ("Something of the chain does not verify.", _OTHER_PEER),
    "OPENING_REJECTED": ("What was sealed does not open with this key here.", _OTHER_PEER),
    "ORDERS_REJECTED": ("The chain does not prove these orders.", _OTHER_PEER),
    "RECEIPT_REJECTED": (
        "The receipt does not prove what it says.",
        "Fetch it again, and do not rely on this one.",
    ),
    "RECEIPT_OF_ANOTHER": ("The receipt is of another transaction.", _OTHER_PEER),
    "ORDER_DIFFERS": ("The proven order is not about what was asked for.", _OTHER_PEER),
    "DISCLOSURE_DIFFERS": ("A receipt proves something else than its row says.", _OTHER_PEER),
    "ANCHOR_DIFFERS": ("The custodian sent the anchor of another record.", _OTHER_PEER),
    "CIPHERTEXT_DIFFERS": ("The custodian sent other bytes than were anchored.", _OTHER_PEER),
    "KEY_PART_WRONG": ("The custodian sent another key than was anchored.", _OTHER_PEER),
    "RECORD_ERROR": ("The record does not open.", _OTHER_PEER),
    "RECORD_KEY_WRONG": ("The key does not open this record.", "Open the record again."),
    "RECORD_TRUNCATED": ("The record ends too early.", "Get the record again."),
    "RECORD_CORRUPT": ("The record's bytes were changed.", "Restore the custodian's data."),
    "RECORD_SUITE_UNKNOWN": ("The record was sealed by a later release.", "Update this program."),
    "NOT_AN_OBSERVATION_BUNDLE": (
        "The document is no FHIR Bundle of numeric Observations.",
        "Give a Bundle of Observations.",
    ),
    "WALLET_ERROR": ("The wallet cannot do this.", "Check which wallet is used."),
    "WALLET_FILE_MISSING": ("The wallet's file cannot be read.", "Check its path."),
    "WALLET_FILE_MALFORMED": ("The wallet's file is damaged or no wallet.", _BACKUP),
    "WALLET_FILE_TOO_WEAK": ("The wallet's file protects the passphrase too little.", _BACKUP),
    "WALLET_PASSPHRASE_WRONG": ("The passphrase does not open the wallet.", "Try it again."),
    "WALLET_PASSPHRASE_EMPTY": ("A wallet needs a passphrase.", "Choose one."),
    "WALLET_OF_ANOTHER_CHAIN": ("The wallet is of another alliance.", "Use this alliance's."),
    "CREDENTIAL_MISSING": ("The wallet has no credential for this.", _DESK),
    "ENTRY_UNKNOWN": ("The wallet knows nothing of that id.", "Check the id, or use its wallet."),
    "ANONCRED_ERROR": ("A credential is damaged or not what it should be.", _DESK),
    "THRESHOLD_ERROR": ("A part of the result does not fit.", "Fetch the result again."),
    "TOO_FEW_SHARES": ("Too few members have given their part.", "Wait for the others."),
    "RESULT_IS_NOISE": ("A member's part is wrong: no result comes out.", "Propose a new study."),
    "WRONG_REQUESTER": ("The result is for another researcher's key.", "Use that wallet."),
    "RESULT_INCOMPLETE": ("A member of the release set gave no part.", _AGAIN),
    "RESULT_DIFFERS": ("The members' parts are not of the result that was ordered.", _OTHER_PEER),
    "STUDY_ENDED": ("The study ended without a result.", "Look at its failure."),
    "STUDY_REQUEST_INVALID": ("The study asks for something impossible.", "Check the request."),
    "CERTIFICATE_UNREADABLE": ("A certificate or key cannot be read.", "Check the path."),
    "ENDPOINTS_MALFORMED": ("The endpoints file is damaged or not one.", _FOLDER),
    "ENDPOINT_UNKNOWN": ("The alliance has no such service.", "Name a member of the alliance."),
    "ALLIANCE_FILES_DIFFER": ("Genesis and endpoints are of different chains.", _FOLDER),
    "PROCESS_REFUSED": ("A service cannot start.", "Do what its sentence says."),
    "PROCESS_NOT_READY": ("A service did not start in time.", "Read its log, and try again."),
    "PORT_BASE_TOO_HIGH": ("The ports do not fit.", "Give a lower --port-base."),
    "TEMPLATES_UNAVAILABLE": ("The contract templates are not installed.", "Run `make setup`."),
    "CANNOT_START": ("A part of this program cannot start.", "Do what its sentence says."),
}


def _merged(*tables: Mapping[str, tuple[str, str]]) -> Mapping[str, Advice]:
    found: dict[str, Advice] = {}
    for table in tables:
        found.update((reason, Advice(*sentences)) for reason, sentences in table.items())
    return MappingProxyType(found)


ADVICE: Mapping[str, Advice] = _merged(SERVICES, CONTRACTS, HERE)
