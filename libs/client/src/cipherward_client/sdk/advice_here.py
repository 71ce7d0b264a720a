"""Advice for what is found on this side: (cause, fix) by reason."""

from __future__ import annotations

from collections.abc import Mapping

from cipherward_client.sdk.advice_phrases import (
    AGAIN,
    BACKUP,
    DESK,
    FOLDER,
    OTHER_PEER,
    UNEXPECTED,
    WAIT_CHAIN,
)

# Found on this side: nothing that was received is believed before it is checked.
HERE: Mapping[str, tuple[str, str]] = {
    UNEXPECTED: ("Something went wrong that nobody has foreseen.", "Report it, with what you did."),
    "FILE_UNREADABLE": ("A file cannot be read or written.", "Check its path and permissions."),
    "ARGUMENT_INVALID": ("An argument is out of its range.", "Check what was given."),
    "CHECK_FAILED": ("What was received is not what was asked for.", OTHER_PEER),
    "CHAIN_ERROR": ("Something of the chain does not verify.", OTHER_PEER),
    "OPENING_REJECTED": ("What was sealed does not open with this key here.", OTHER_PEER),
    "ORDERS_REJECTED": ("The chain does not prove these orders.", OTHER_PEER),
    "RECEIPT_REJECTED": (
        "The receipt does not prove what it says.",
        "Fetch it again, and do not rely on this one.",
    ),
    "RECEIPT_OF_ANOTHER": ("The receipt is of another transaction.", OTHER_PEER),
    "ORDER_DIFFERS": ("The proven order is not about what was asked for.", OTHER_PEER),
    "DISCLOSURE_DIFFERS": ("A receipt proves something else than its row says.", OTHER_PEER),
    "ADMISSION_REJECTED": (
        "The chain does not prove that a member of the endpoints file was admitted.",
        "Get the proof of its admission again, from the folder that `dev --data` names.",
    ),
    "ANCHOR_DIFFERS": ("The custodian sent the anchor of another record.", OTHER_PEER),
    "CIPHERTEXT_DIFFERS": ("The custodian sent other bytes than were anchored.", OTHER_PEER),
    "KEY_PART_WRONG": ("The custodian sent another key than was anchored.", OTHER_PEER),
    "RECORD_ERROR": ("The record does not open.", OTHER_PEER),
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
    "WALLET_FILE_MALFORMED": ("The wallet's file is damaged or no wallet.", BACKUP),
    "WALLET_FILE_TOO_WEAK": ("The wallet's file protects the passphrase too little.", BACKUP),
    "WALLET_PASSPHRASE_WRONG": ("The passphrase does not open the wallet.", "Try it again."),
    "WALLET_PASSPHRASE_EMPTY": ("A wallet needs a passphrase.", "Choose one."),
    "WALLET_OF_ANOTHER_CHAIN": ("The wallet is of another alliance.", "Use this alliance's."),
    "WALLET_IN_USE": ("Another program works with this wallet.", "Wait until it has ended."),
    "CREDENTIAL_MISSING": ("The wallet has no credential for this.", DESK),
    "ENTRY_UNKNOWN": ("The wallet knows nothing of that id.", "Check the id, or use its wallet."),
    "ANONCRED_ERROR": ("A credential is damaged or not what it should be.", DESK),
    "THRESHOLD_ERROR": ("A part of the result does not fit.", "Fetch the result again."),
    "TOO_FEW_SHARES": ("Too few members have given their part.", "Wait for the others."),
    "RESULT_IS_NOISE": ("A member's part is wrong: no result comes out.", "Propose a new study."),
    "WRONG_REQUESTER": ("The result is for another researcher's key.", "Use that wallet."),
    "RESULT_INCOMPLETE": ("A member of the release set gave no part.", AGAIN),
    "RESULT_DIFFERS": ("The members' parts are not of the result that was ordered.", OTHER_PEER),
    "ROUNDS_MISSING": (
        "The wallet lacks rounds of the study that were read before.",
        "Use the newest copy of the wallet, or propose the study again: members keep one round.",
    ),
    "EXTRA_MISSING": (
        "Frames and pictures need packages that are not installed.",
        "Install the extra that is named.",
    ),
    "NOT_DRAWN": ("There is no picture of such a result.", "Use its frame or its document."),
    "STUDY_ENDED": ("The study ended without a result.", "Look at its failure."),
    "DRAFT_INVALID": ("The study's document has faults.", "Mend the entries that it names."),
    "STUDY_ERROR": ("The study, or a part of its result, does not fit.", "Check the study."),
    "STUDY_REQUEST_INVALID": ("The study asks for something impossible.", "Check the request."),
    "CERTIFICATE_UNREADABLE": ("A certificate or key cannot be read.", "Check the path."),
    "ENDPOINTS_MALFORMED": ("The endpoints file is damaged or not one.", FOLDER),
    "ENDPOINT_UNKNOWN": ("The alliance has no such service.", "Name a member of the alliance."),
    "ALLIANCE_FILES_DIFFER": ("Genesis and endpoints are of different chains.", FOLDER),
    "PROCESS_REFUSED": ("A service cannot start.", "Do what its sentence says."),
    "PROCESS_NOT_READY": ("A service did not start in time.", "Read its log, and try again."),
    "REGISTRATION_MALFORMED": (
        "The file is no registration of a member.",
        "Give the file that `cipherward member prepare` wrote.",
    ),
    "MEMBER_NOT_READY": (
        "The newcomer's node did not get the chain, or does not vote.",
        "Read the log of its ledger, and start it again.",
    ),
    "CHANGE_NOT_DECIDED": (
        "The votes were not enough to decide it.",
        "Let more members vote.",
    ),
    "PORT_BASE_TOO_HIGH": ("The ports do not fit.", "Give a lower --port-base."),
    "TEMPLATES_UNAVAILABLE": ("The contract templates are not installed.", "Run `make setup`."),
    "PARTS_DIFFER": (
        "The folder's alliance runs on other parts: engine, feed and store stay as they are.",
        "Leave out --engine, --feed and --store, or choose another folder with --data.",
    ),
    "PARTS_MALFORMED": ("The folder's parts.json is damaged.", BACKUP),
    "COMETBFT_MISSING": (
        "The program of the consensus node is not there.",
        "Run `make install-servers`, or name it with --cometbft.",
    ),
    "KAFKA_UNREACHABLE": (
        "The Kafka broker does not answer.",
        "Run `make servers`, or name a broker with --kafka HOST:PORT.",
    ),
    "MONGO_UNREACHABLE": (
        "The MongoDB server does not answer.",
        "Run `make servers`, or name a server with --mongo URI.",
    ),
    "CANNOT_START": ("A part of this program cannot start.", "Do what its sentence says."),
    "STATE_UNPROVEN": ("The chain does not certify what was answered.", OTHER_PEER),
    "STATE_TOO_OLD": ("The chain has made no block for too long.", WAIT_CHAIN),
    "SHARES_MISSING": (
        "Too few members have handed over a right part of the record's key.",
        "Open the record again in a moment: a member may be away or renew its share.",
    ),
    "PART_REFUSED": ("A member has not signed its part of the key for this.", OTHER_PEER),
    "ALLIANCE_SLOT_DIFFERS": ("The custodian sent another slot than was anchored.", OTHER_PEER),
    "SHARE_REJECTED": ("A member's part of a key is wrong.", "Ask again: others may be enough."),
    "CEREMONY_FAILED": (
        "The members' services have not made the key.",
        "See that the services of all members run, and propose it again.",
    ),
    "ERASURE_UNFINISHED": (
        "Not all members have said in time that they erased the record.",
        "Ask those whose statement is missing; no key of it is released anyway.",
    ),
    "STATEMENT_MISSING": ("A ledger's blocks lack the report of a member.", OTHER_PEER),
    "TEMPLATE_UNWANTED": (
        "The hospital would let more open the record than its owner chose.",
        "Have the record put with the templates that the owner chose, or choose those.",
    ),
    "OPENING_OUTDATED": (
        "The opening key was shared anew since the warrant was ordered.",
        "Propose the warrant again.",
    ),
    "OPENING_NOT_ORDERED": (
        "The members have not voted for the opening.",
        "Let more members vote, or look at the warrant's state.",
    ),
    "MODEL_UNREADABLE": ("The file is no YAML or JSON.", "Mend the line that is named."),
    "MODEL_DIFFERS": (
        "The contract is for another risk model than was given.",
        "Ask the hospital that proposed it for the model, and read it before you vote.",
    ),
    "RISK_SCORE_UNREADABLE": ("The contract is no risk score.", "Check the risk score's id."),
    "DATA_KEY_NOT_READY": (
        "The data key's columns cannot be computed with yet, or not any more.",
        "Look at it with: cipherward study key show KEY.",
    ),
    "RESHARING_UNREADABLE": ("The contract is no resharing.", "Check the resharing's id."),
    "HOLDERS_TOO_FEW": (
        "Fewer members than decrypt are left of those that hold the data key.",
        "Nothing under it can be opened any more, and it ends by its time: make a new data key.",
    ),
    "KEY_HOLDERS_MALFORMED": ("What the state says of a key's holders is out of form.", OTHER_PEER),
    "INFERENCE_UNFINISHED": (
        "The members have not made the scores yet.",
        "Look again with: cipherward score show SCORE --use USE.",
    ),
    "PERMIT_UNREADABLE": ("The contract is no data permit.", "Check the permit's id."),
    "OPT_OUT_RECEIPT_DIFFERS": ("The member has signed another choice.", OTHER_PEER),
    "CONSENT_NOT_EXPRESSIBLE": (
        "No contract can say exactly what this FHIR Consent says.",
        "Change the elements that are named; nothing is approximated.",
    ),
    "TIME_NOT_EXACT": ("A time of the document is not exact.", "Give date, time and zone."),
    "DIRECTORY_MALFORMED": (
        "The directory file is out of form.",
        "Correct the entry that is named.",
    ),
}
