"""What the end of a study, a data key or a use of a risk score means, and what may be done:
(cause, fix) by word.

The words are those that members' compute services and the contract give; a test holds that none
of theirs is missing here.
"""

from __future__ import annotations

from collections.abc import Mapping

from cipherward_client.sdk.advice import Advice

_MEMBER = "Ask that member to read the log of its compute service; then propose it again."
_AGAIN = "Propose it again; what was released before stays spent."
_OTHER_QUESTION = "Ask for more patients: wider conditions, fewer groups, or another data set."

ENDS: Mapping[str, Advice] = {
    reason: Advice(*sentences)
    for reason, sentences in {
        "BUDGET_SPENT": (
            "The permit, the data set or the study had no release or no privacy budget left, and "
            "nothing was encrypted for it.",
            "Apply for another permit; when the data set itself is spent, use another data set.",
        ),
        "CHALLENGE_ANSWERED": (
            "A member was asked twice to open its part of the key, and answers once.",
            _AGAIN,
        ),
        "COLUMNS_AWAY": (
            "The storage that has a column does not answer: its member may have left the alliance.",
            "Ask that member to run its storage, or compute with other members' columns.",
        ),
        "COLUMNS_DIFFER": (
            "The study names columns that are not stored under the data key, or not in such units, "
            "ranges or fraction bits.",
            "Write the variables as the data key's text has them: any of its members shows it.",
        ),
        "COLUMNS_UNVERIFIED": (
            "A member has not verified the columns of the data key, and computes on no other.",
            _MEMBER,
        ),
        "COHORT_TOO_CLOSE": (
            "The cohort differs by a few patients from one that was released before: the two "
            "answers together would say something of these few.",
            "Ask for the same cohort as before, or for one that differs by more patients.",
        ),
        "COHORT_TOO_SMALL": (
            "Beside some hospital's own there were fewer patients than the minimum. Nobody has "
            "seen a value.",
            _OTHER_QUESTION,
        ),
        "COHORTS_FULL": (
            "So many different cohorts of the data set were asked about that a member compares no "
            "new one with all of them.",
            "Ask for a cohort that was asked for before, or use another data set.",
        ),
        "COLUMNS_NOT_FIXED": (
            "At a member the columns of the data key are not fixed yet.",
            _MEMBER,
        ),
        "COMMITMENTS_INCOMPLETE": ("An order does not name every member's part.", _AGAIN),
        "CONTRIBUTORS_TOO_FEW": (
            "Fewer than three hospitals have patients in the cohort: of two, each could subtract "
            "its own part.",
            _OTHER_QUESTION,
        ),
        "COUNTS_MALFORMED": (
            "The opened counts are no numbers of patients: a member has contributed wrong ones.",
            _MEMBER,
        ),
        "DATA_SET_UNKNOWN": (
            "A member has no such data set.",
            "Name members that have it, or ask the member to contribute its rows.",
        ),
        "DEADLINE_PASSED": (
            "A member was silent until the step's deadline; the contract ended the study.",
            "Ask the silent members, then propose it again; step_seconds may be larger.",
        ),
        "CONTRIBUTION_REFUSED": (
            "A member's contribution is none that the others may add.",
            _MEMBER,
        ),
        "DIGEST_RELEASED": ("That ciphertext was released before, by any study.", _AGAIN),
        "DISK_DAMAGED": (
            "What a member keeps on its disk is damaged, and was not used.",
            _MEMBER,
        ),
        "DISAGREED": (
            "Too few members made the same key or sum: at least one computed something else.",
            _MEMBER,
        ),
        "EVALUATION_KEY_REFUSED": ("The members' key failed its test, and is destroyed.", _AGAIN),
        "HOLDERS_NOT_READY": (
            "Too few of the members that hold the data key were ready to deal it anew. They hold "
            "it as before.",
            "See that their compute services run, then propose the resharing again.",
        ),
        "INTERNAL": ("A member's service failed in a way nobody has foreseen.", _MEMBER),
        "FLAGS_REFUSED": (
            "The checks of the columns' flags did not open to zero: some hospital's columns are "
            "not what they must be.",
            _MEMBER,
        ),
        "FLAGS_WRONG": (
            "The named hospital's flags are not all 0 or 1: it has encrypted columns that the "
            "others cannot compute with, and the data key ends.",
            _MEMBER,
        ),
        "ITERATE_MISSING": ("A member was not given the parameters of the round.", _AGAIN),
        "ITERATE_REFUSED": (
            "A member refused the parameters of the round: at them one patient could weigh too "
            "much, or a sum overflow.",
            "Look at the variables' ranges: one that is far too wide makes such parameters.",
        ),
        "KEY_DIFFERS": ("A member has another key than the study's order names.", _MEMBER),
        "KEY_ENDED": (
            "The data key has ended, or has gone over to other members: what computed with it "
            "ended in the same block.",
            "Look at it with `cipherward study key show`: if it is ready, propose it again with "
            "the members that hold it now; else use another data key.",
        ),
        "KEY_MISSING": ("A member has lost its share of the study's key.", _AGAIN),
        "MASK_REFUSED": (
            "The mask of the use is not of the hospital's own patients alone; no score was made.",
            "Ask the hospital that is named to read the log of its compute service.",
        ),
        "MEMBER_FAILED": ("A member could not do its part.", _MEMBER),
        "MEMBER_SILENT": (
            "A member did not answer until the step's deadline.",
            "Ask that member, then propose it again; step_seconds may be larger.",
        ),
        "NOBODY_ENROLLED": (
            "No patient had enrolled when enrolment closed.",
            "Propose another data key, with a longer time to enrol.",
        ),
        "NOTHING_CONTRIBUTED": ("A member has encrypted nothing for that sum.", _MEMBER),
        "NOT_APPROVED_IN_TIME": (
            "Too few members voted within the time of a step.",
            "Ask the members, and propose it again; step_seconds may be larger.",
        ),
        "NOT_TAKEN_IN_TIME": (
            "The chain did not take the question for scores in its time.",
            "Look whether the chain goes on, and ask for the scores again.",
        ),
        "OLD_BACKUP": (
            "A member committed to other bytes than it has: it was restored from an old backup.",
            _MEMBER,
        ),
        "PEER_WRONG": (
            "A member's part is not what it committed to, or its proof does not verify; the text "
            "names it. Nothing was decrypted from it.",
            _MEMBER,
        ),
        "PERMIT_ENDED": (
            "The data permit ended, and every study under it in the same block.",
            "Apply for another permit.",
        ),
        "RELEASE_DEAD": (
            "Members that had agreed to decrypt did not, at any of four attempts; no ciphertext is "
            "asked for twice.",
            "Ask the members that are named, then propose it again.",
        ),
        "REQUEST_UNKNOWN": (
            "The hospital's compute service has not asked for this use, or it is over.",
            "Ask for the scores again.",
        ),
        "RESHARING_REFUSED": (
            "What the holders dealt is not the data key's secret, or the new holders could not "
            "decrypt with it. The key stays with those who hold it.",
            "Propose the resharing again; others deal if another holder is ready first.",
        ),
        "RISK_SCORE_ENDED": (
            "The risk score ended before the use was answered.",
            "Look at the risk score; propose another one if it is over.",
        ),
        "RESTORED_SINCE": (
            "A member was put back from a backup after that order, which it may have answered.",
            _AGAIN,
        ),
        "ROWS_CHANGED": ("A member's rows are not those that it counted.", _AGAIN),
        "ROWS_REFUSED": (
            "A member has a value that a variable's policy refuses, or a variable's kind does not "
            "fit its rows.",
            "Declare `missing: exclude`, `outside: exclude` or the variable's kind, and ask again.",
        ),
        "ROWS_UNNAMED": (
            "Patients of a member keep their rows out, and its rows have no references to tell "
            "which are theirs: then none is used.",
            "Ask the member to contribute its rows with references.",
        ),
        "SCORES_UNREADABLE": (
            "The scores that were released do not open with the key of this use.",
            _MEMBER,
        ),
        "SHARE_ALREADY_GIVEN": (
            "A member has given its one share of that ciphertext before.",
            _AGAIN,
        ),
        "SHARE_REFUSED": ("A member can give no share in that set.", _MEMBER),
        "SPEC_DIFFERS": (
            "The study's text is not what the chain says about it, or cannot be computed.",
            "Propose it again with the same program release as the members'.",
        ),
        "SPEC_NOT_HANDED_OVER": ("A member was not given the study's text.", _AGAIN),
        "STUDY_ENDED": ("The study ended while a step was being taken.", _AGAIN),
        "STORAGE_FULL": (
            "A member's storage has no room for its columns.",
            "Ask that member to make room, then propose it again.",
        ),
        "SUM_DIFFERS": ("A member made another sum than the others.", _MEMBER),
        "TIME_OUT": (
            "Too few reports came before the step's deadline.",
            "Propose it again; step_seconds may be larger.",
        ),
        "TOO_MANY_ENROLLED": (
            "More patients have enrolled than a member's columns have slots.",
            "Propose data keys by part of the patients.",
        ),
        "TOO_MANY_MEMBERS": (
            "The columns of so many members cannot be checked together.",
            "Name fewer members.",
        ),
        "TOO_FEW_MEMBERS": ("A sum of so few members would show their parts.", _OTHER_QUESTION),
        "UNIT_DIFFERS": (
            "A member's data set has a variable in another unit than the study.",
            "Give its range and conditions in that unit, or ask the member to convert its rows.",
        ),
        "UNITS_DIFFER": (
            "A member has a variable in another unit than the study says.",
            "Ask in the members' unit, or ask the member to contribute its rows in yours.",
        ),
        "VALUES_OUT_OF_RANGE": (
            "A member's sums do not fit the plaintext.",
            "Declare tighter ranges, or ask for fewer patients.",
        ),
        "VARIABLE_UNKNOWN": (
            "A member's data set has no such variable.",
            "Name members that have it, or another variable.",
        ),
        "WEIGHTS_REFUSED": (
            "The weights of the model are too far apart for the circuit.",
            "Leave out the term that is named, or give it in another unit.",
        ),
    }.items()
}

# Of what ends without a failure.
STATES: Mapping[str, str] = {
    "proposed": "it waits for the members' votes",
    "iterating": "a round's result is there: its researcher's program says how it goes on "
    "(`cipherward study run --resume`), until the step's time is over",
    "released": "its result is there for its researcher",
    "rejected": "the members have voted against it; nothing was computed",
    "withdrawn": "its researcher or a member has withdrawn it; the key is destroyed",
    "ended": "it ended with its data permit or its data key; its own key, if it had one, is "
    "destroyed",
    "failed": "it has failed; the key is destroyed, and no value was released in that round",
}


def meaning(stage: str, reason: str) -> tuple[str, ...]:
    """Return in sentences what a study's state means; nothing for one that goes on by itself."""
    advice = ENDS.get(reason)
    found = (STATES[stage],) if stage in STATES else ()
    return found if advice is None else (*found, advice.cause, advice.fix)
