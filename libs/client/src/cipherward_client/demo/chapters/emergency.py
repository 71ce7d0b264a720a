"""Chapter: an emergency. The glass is broken, everybody is told, and somebody looks into it."""

from __future__ import annotations

from cipherward_client.demo.cast import Case, Cast
from cipherward_client.demo.report import size
from cipherward_client.demo.staff import OFFICER, Staff, on_duty
from cipherward_client.sdk.emergencies import (
    Emergency,
    close_emergency,
    open_in_emergency,
    review_emergency,
)
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.notices import Notice, notices_of_member, notices_of_record

TOLD = ("emergency", "emergency-ended", "review-due")


async def emergency(cast: Cast, case: Case, clinician: Staff) -> None:
    """Tell the chapter."""
    teller = cast.teller
    teller.chapter("An emergency: a record is opened without anybody's leave")
    teller.explain(
        "A clinician who must not wait opens any record at once. The chain tells the patient and "
        "the hospitals of the record, and asks for a review: without one in 72 hours the "
        "clinician's key is suspended, and after seven days the hospitals vote on who it was."
    )
    broken = await _break_glass(cast, case, clinician)
    cast.acts.append(await close_emergency(cast.alliance, clinician.wallet, broken.emergency_id))
    owner = _kinds(await notices_of_record(cast.alliance, case.wallet, case.record.record_id))
    keeper = _kinds(await notices_of_member(cast.hospitals[case.hospital]), broken)
    teller.say(
        f"The clinician ends the visit. The patient was told: {', '.join(owner)}; so was "
        f"{case.hospital}, which keeps the record."
    )
    cast.report.check(
        "patient and hospital are told of an emergency",
        owner == keeper == list(TOLD),
        f"{', '.join(owner)}; {', '.join(keeper)}",
    )
    await _review(cast, case, clinician, broken)


async def _break_glass(cast: Cast, case: Case, clinician: Staff) -> Emergency:
    with cast.report.timed("open in an emergency"):
        broken = await open_in_emergency(
            cast.alliance, clinician.wallet, case.record.record_id, "unconscious"
        )
    cast.acts.append(broken.opened.act)
    milliseconds = 1000 * cast.report.timings["open in an emergency"]
    cast.teller.say(
        f"A clinician of {clinician.member} says that the patient is unconscious: "
        f"{size(len(broken.opened.content))} are open after {milliseconds:.0f} ms."
    )
    cast.report.check(
        "an emergency opens a record without a consent",
        broken.opened.content == case.content,
        f"{size(len(broken.opened.content))} in {milliseconds:.0f} ms",
    )
    return broken


async def _review(cast: Cast, case: Case, clinician: Staff, broken: Emergency) -> None:
    """Let the clinician try to review the own emergency, and then the officer of the record's
    hospital.
    """
    own = "reviewed"
    try:
        await review_emergency(cast.alliance, clinician.wallet, broken.emergency_id, justified=True)
    except ClientError as refusal:
        own = refusal.reason
    officer = await on_duty(cast, case.hospital, OFFICER)
    act = await review_emergency(cast.alliance, officer.wallet, broken.emergency_id, justified=True)
    cast.acts.append(act)
    cast.teller.say(
        f"The clinician cannot review it ({own}); the data-protection officer of {case.hospital} "
        f"does, and finds it justified: block {act.height}."
    )
    cast.report.check(
        "an emergency is reviewed by an officer, not by its clinician",
        own in ("NOT_A_PARTY", "POLICY_DENIED") and act.result.applied,
        f"clinician: {own}; officer: block {act.height}",
    )


def _kinds(notices: list[Notice], broken: Emergency | None = None) -> list[str]:
    """Return what was told, sorted; only about one emergency if it is given."""
    return sorted(
        one.kind for one in notices if broken is None or one.instance_id == broken.emergency_id
    )
