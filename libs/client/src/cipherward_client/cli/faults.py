"""What the command line itself refuses, one class per cause, each with its cause and its fix."""

from __future__ import annotations

from typing import ClassVar


class CliFault(Exception):
    """A command cannot be carried out; the text is the detail: which file, which value."""

    reason: ClassVar[str]
    cause: ClassVar[str]
    fix: ClassVar[str]


class AllianceMissing(CliFault):
    """The folder holds no alliance."""

    reason = "ALLIANCE_MISSING"
    cause = "The folder holds no alliance."
    fix = (
        "Name its folder with --alliance DIR. One is started with `cipherward dev --data DIR`, "
        "founded with `cipherward alliance init`, joined with `cipherward alliance join`."
    )


class AllianceRuns(CliFault):
    """Another process runs the alliance of the folder."""

    reason = "DATA_FOLDER_LOCKED"
    cause = "Another process runs the alliance of this folder."
    fix = "Use that one, stop it, or choose another folder."


class AllianceOfAnotherChain(CliFault):
    """The folder's genesis and its state are of different chains."""

    reason = "DATA_FOLDER_OF_ANOTHER_CHAIN"
    cause = "The folder holds the state of another chain than its genesis names."
    fix = "Put the folder's own genesis.json back, or choose another folder with --data."


class FolderUnusable(CliFault):
    """The data folder cannot be made or written."""

    reason = "DATA_FOLDER_UNUSABLE"
    cause = "The data folder cannot be made or written."
    fix = "Make it writable for this user, or choose another one with --data."


class PortTaken(CliFault):
    """Another process listens on a port that was asked for."""

    reason = "PORT_IN_USE"
    cause = "Another process listens on one of the ports."
    fix = "Stop that process, give another --port-base, or leave it out to get free ports."


class MemberNotHere(CliFault):
    """The alliance has no such member, or the member's keys are not in the folder."""

    reason = "MEMBER_NOT_HERE"
    cause = "The folder has no keys of a member of that name."
    fix = "Name one of the members that `cipherward dev` prints."


class TracesMisconfigured(CliFault):
    """The variables that say where traces go are out of form."""

    reason = "TRACES_MISCONFIGURED"
    cause = "A setting of traces (CIPHERWARD_OTLP_*) is out of form."
    fix = "Give host:port of the collector, as in docs/traces.md, or unset it."


class SecretsOnScreen(CliFault):
    """Manifests with secrets would be printed where they stay to be read."""

    reason = "SECRETS_ON_SCREEN"
    cause = "The manifests hold secrets, and a terminal keeps what it shows."
    fix = "Pipe them: cipherward alliance manifests --member MEMBER | kubectl apply -f -"


class ChainBegun(CliFault):
    """The folder has a genesis: no chain can begin in it once more."""

    reason = "CHAIN_BEGUN"
    cause = "The folder has a genesis already: a chain has begun in it, or was joined from it."
    fix = "Go on with `invite`, `join` or `start`, or name another folder with --alliance DIR."


class FolderOfAnother(CliFault):
    """The folder is another member's: one id was mistyped, or one folder."""

    reason = "FOLDER_OF_ANOTHER_MEMBER"
    cause = "The folder has the keys of another member, and each has a folder of its own."
    fix = "Check the id, or name another folder with --alliance DIR."


class InvitationMissing(CliFault):
    """A newcomer has accepted no invitation in the folder yet."""

    reason = "INVITATION_MISSING"
    cause = "No invitation was accepted in this folder yet."
    fix = "Give the file of the invitation that a member sent, or the folder of the last time."


class MemberIdMalformed(CliFault):
    """An id of a member is out of form."""

    reason = "MEMBER_ID_MALFORMED"
    cause = "A member's id has another form."
    fix = "Use 2 to 31 lower-case letters, digits and hyphens; a letter comes first."


class PassphraseMissing(CliFault):
    """There is neither a passphrase file nor a terminal to ask at."""

    reason = "PASSPHRASE_MISSING"
    cause = "The wallet's passphrase is not known, and there is no terminal to ask for it."
    fix = "Name a file that holds it with --passphrase-file or CIPHERWARD_PASSPHRASE_FILE."


class PassphrasesDiffer(CliFault):
    """The passphrase was typed differently the second time."""

    reason = "PASSPHRASES_DIFFER"
    cause = "The two passphrases differ."
    fix = "Type the same passphrase twice."


class WalletExists(CliFault):
    """A new wallet would take the place of a file."""

    reason = "WALLET_EXISTS"
    cause = "A file of that name exists, and a wallet is never overwritten."
    fix = "Choose another name."


class RoleUnknown(CliFault):
    """The desk admits no holders of that role."""

    reason = "ROLE_UNKNOWN"
    cause = "No credential is issued for that role."
    fix = "Use patient, clinician, researcher or dpo."


class IdMalformed(CliFault):
    """An id is not 32 hexadecimal digits."""

    reason = "ID_MALFORMED"
    cause = "The id does not have the form of one."
    fix = "Give all 32 hexadecimal digits, as the command that made it printed them."


class PseudonymMalformed(CliFault):
    """A pseudonym is not 96 hexadecimal digits."""

    reason = "PSEUDONYM_MALFORMED"
    cause = "The pseudonym does not have the form of one."
    fix = "Give all 96 hexadecimal digits, as `cipherward study opt-out set` printed them."


class GranteeMalformed(CliFault):
    """A grantee is not MEMBER or MEMBER/KEY."""

    reason = "GRANTEE_MALFORMED"
    cause = "The grantee is neither a member nor a member's key."
    fix = "Give the name of a member, or member/key with the key's 64 hexadecimal digits."


class PurposeUnknown(CliFault):
    """No consent is given for that purpose."""

    reason = "PURPOSE_UNKNOWN"
    cause = "The alliance knows no such purpose."
    fix = "Use a code that `cipherward consent grant --help` lists."


class GrantMissing(CliFault):
    """A record was to be opened and no consent was named."""

    reason = "GRANT_MISSING"
    cause = "A record is opened under a consent, and none was named."
    fix = "Give --grant ID: the patient got it from `cipherward consent grant`."


class PermitMissing(CliFault):
    """A study was to be run and no data permit was named."""

    reason = "PERMIT_MISSING"
    cause = "A study runs under a data permit, and none was named."
    fix = "Give --permit ID: apply for one with `cipherward study permit apply`."


class ReviewerMissing(CliFault):
    """An emergency was to be reviewed by nobody."""

    reason = "REVIEWER_MISSING"
    cause = "A review is somebody's, and nobody was named."
    fix = "Give --wallet of a data-protection officer, or --member."


class ListenerMissing(CliFault):
    """Notices were asked for and nobody was named who was told."""

    reason = "LISTENER_MISSING"
    cause = "Notices are somebody's, and nobody was named."
    fix = "Give --member, or --record and the wallet of its owner."


class SpecMalformed(CliFault):
    """A study's file is out of form."""

    reason = "SPEC_MALFORMED"
    cause = "The study's file is out of form."
    fix = "Correct the entry that is named; `cipherward study run --help` shows an example."


class TableMalformed(CliFault):
    """A file of rows is out of form."""

    reason = "TABLE_MALFORMED"
    cause = "The file is no table of numbers under a line of names."
    fix = "Give a CSV file: names in the first line, then numbers; an empty field is missing."


class FileExists(CliFault):
    """A result would overwrite a file."""

    reason = "FILE_EXISTS"
    cause = "A file of that name exists, and is not overwritten."
    fix = "Choose another name, or remove the file."


class StoryFailed(CliFault):
    """A check of the demonstration did not pass."""

    reason = "STORY_FAILED"
    cause = "At least one check of the demonstration did not pass."
    fix = "Run it with --data DIR and report the table together with DIR/logs."
