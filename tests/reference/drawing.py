"""What histories draw from: who, what, how; mostly what is usual, and now and then what is not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from hypothesis import strategies as st

from tests.reference import cast

HOUR, DAY = 3_600, 86_400
TEN_YEARS = 315_360_000

PEOPLE = [one.name for one in cast.PEOPLE]
WHOEVER = [
    *PEOPLE,
    *cast.MEMBERS,
    "hospital-a forged",
    cast.NO_MEMBER,
    "owner-0 showing",
    "clinician-b showing",
    "clinician-b showing-elsewhere",
    "clinician-b showing-unissued",
    "clinician-c showing-late",
    "clinician-b first",
]
# Those whom a slip would let in.
NEAR = [
    *("owner-0", "owner-1", "representative-0", "neighbour-0"),
    *("clinician-b", "clinician-c", "researcher-b", "researcher-a", "officer-a", "officer-d"),
    *("clinician-b showing", "hospital-a", "hospital-b", "hospital-c"),
]
# All of them, one behind another in many orders: from where, and in what steps.
QUEUES = st.tuples(st.integers(0, len(NEAR) - 1), st.sampled_from([1, 3, 5, 9, 11, 13]))
RIGHT = ""  # in the place of a name: whoever should do it


def queue(drawn: tuple[int, int]) -> list[str]:
    """Return those whom a slip would let in, each once, in an order of QUEUES."""
    first, step = drawn  # no step has a factor in common with their number
    return [NEAR[(first + place * step) % len(NEAR)] for place in range(len(NEAR))]


def mostly(usual: Sequence[Any], odd: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Return what is usual, nine times in ten, or something odd."""
    return st.sampled_from([*usual] * ceil(9 * len(odd) / len(usual)) + [*odd])


def changed(odd: Sequence[Mapping[str, Any]]) -> st.SearchStrategy[Mapping[str, Any]]:
    """Return what is changed in terms that are right: often nothing."""
    nothing: Mapping[str, Any] = {}
    return st.sampled_from([nothing] * 2 * len(odd) + [*odd])


WHO = st.one_of(st.just(RIGHT), st.just(RIGHT), st.sampled_from(NEAR), st.sampled_from(WHOEVER))
HOSPITAL = st.sampled_from([*cast.MEMBERS] * 6 + WHOEVER)
WHICH = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4])  # of the newest, the newest first
TAKEN = st.sampled_from([False] * 15 + [True])  # the id of a contract that is there
RECORD = mostly([0, 0, 1, 2], [3, 4, 5])
MANNER = st.sampled_from(["alone", "alone", "with others", "with others", "joined"])
PURPOSES = mostly(
    [["HRESCH", "TREAT"], ["HRESCH", "TREAT"], ["TREAT"]],
    [["ETREAT", "TREAT"], ["TREAT", "HRESCH"], ["TREAT", "TREAT"], ["CANCER"], []],
)
DIGESTS = [hashlib.sha256(b"one").digest(), hashlib.sha256(b"two").digest()]
CONSENT_CHANGES = changed(
    [
        {"grantee_member": "", "grantee_key": "clinician-b"},
        {"grantee_key": "clinician-b"},
        {"grantee_key": "researcher-b"},
        {"grantee_member": "", "grantee_key": b""},
        {"grantee_member": cast.NO_MEMBER},
        {"grantee_key": b"short"},
        {"visits_max": 1},
        {"visits_max": 1_000},
        {"visits_max": 0},
        {"visit_seconds": 59},
        {"visit_seconds": "long"},
        {"expires": True},
        {"reason": "more than is asked for"},
        {"purposes": "TREAT"},
        {"representative_key": "owner-0"},
    ]
)
PERMIT_CHANGES = changed(
    [
        {"user_key": "researcher-b"},
        {"user_member": "hospital-c"},
        {"holders": ["hospital-a", "hospital-b", "hospital-d"], "threshold": 3, "approvals": 3},
        {"holders": ["hospital-a", "hospital-b"], "threshold": 2, "approvals": 2},
        {"threshold": 4},
        {"approvals": 4},
        {"releases_max": 3},
        {"data_sets": ["cohort-1", "cohort-01"]},
        {"vote_seconds": 60},
    ]
)
DISSENT = st.sampled_from([(), (), (), ("hospital-a",), ("hospital-a", "hospital-c")])
KEY_CHANGES = changed(
    [
        {"releases_max": 3},
        {"enrol_until": 0},
        {"expires": 10**9},
        {"members": ["hospital-a", "hospital-b", "hospital-d"]},
        {"minimum": 20},
        {"year": 1},
        {"step_seconds": 30},
    ]
)
COLUMN_STUDY_CHANGES = changed(
    [
        {"data_set": "cohort-2"},
        {"key_digest": DIGESTS[1]},
        {"key_releases_max": 3},
        {"members": ["hospital-a", "hospital-b", "hospital-d"]},
        {"outputs": ["cox"]},
        {"step_seconds": HOUR},
    ]
)
SCORE_CHANGES = changed(
    [
        {"hospital": ["hospital-a", "hospital-b"]},
        {"hospital": []},
        {"uses_max": 1},
        {"minimum": 20},
        {"expires": 0},
        {"step_seconds": HOUR},
    ]
)
RESHARING_CHANGES = changed(
    [
        {"members": ["hospital-a", "hospital-b", "hospital-d"]},
        {"members": list(cast.MEMBERS)},
        {"members": ["hospital-a", "hospital-b"], "threshold": 2},
        {"members": ["hospital-a", "hospital-b", "hospital-x"]},
        {"holders": ["hospital-a", "hospital-b", "hospital-c"]},
        {"holders": list(cast.MEMBERS)},
        {"old_threshold": 4, "approvals": 4},
        {"threshold": 4},
        {"key_digest": DIGESTS[1]},
        {"data_set": "cohort-2"},
        {"key_releases_max": 3},
        {"step_seconds": HOUR},
    ]
)
STUDY_CHANGES = changed(
    [
        {"data_set": "cohort-3"},
        {"minimum": 20},
        {"outputs": ["sum"]},
        {"releases_max": 3},
        {"rounds_max": 1},
        {"rounds_max": 50, "rho": 4_000_000, "rho_max": 9_000_000},
        {"rounds_max": 50, "rho": 6_000_000, "rho_max": 50_000_000},
        {"rounds_max": 0},
        {"members": ["hospital-a", "hospital-b", "hospital-d"]},
        {"members": ["hospital-a", "hospital-b", "hospital-x"]},
        {"step_seconds": HOUR},
    ]
)
