"""Chapter: a patient has a record erased, and gets the proof."""

from __future__ import annotations

from cipherward_client.demo.cast import Case, Cast
from cipherward_client.demo.staff import Staff
from cipherward_client.sdk.emergencies import open_in_emergency
from cipherward_client.sdk.erasures import OrderedErasure, erase_record, wait_erased
from cipherward_client.sdk.errors import ClientError

# The custodian's statement waits for its next slot key: ten seconds in a development alliance.
ERASED_SECONDS = 60.0


async def order_erasure(cast: Cast, case: Case, clinician: Staff) -> OrderedErasure:
    """Tell the chapter's first half: the order, and that from now on not even an emergency opens
    the record.
    """
    teller = cast.teller
    teller.chapter("A patient has a record erased")
    ordered = await erase_record(cast.alliance, case.wallet, case.record.record_id)
    cast.acts.append(ordered.act)
    reason = "opened"
    try:
        await open_in_emergency(
            cast.alliance, clinician.wallet, case.record.record_id, "life-threatening"
        )
    except ClientError as refusal:
        reason = refusal.reason
    teller.say(
        f"Ordered in block {ordered.act.height}. From that block on no key of the record is "
        f"released, not even in an emergency ({reason})."
    )
    teller.explain(
        "The guardians refuse the record for ever. The hospital that kept it destroys it, and says "
        "so when the key is gone under which old backups hold its part: here within ten seconds, "
        "elsewhere within a week. The story goes on meanwhile."
    )
    cast.report.check(
        "an erased record is not released in an emergency either",
        reason == "RECORD_ERASED",
        reason,
    )
    return ordered


async def prove_erasure(cast: Cast, case: Case, ordered: OrderedErasure) -> None:
    """Tell the second half: the statements of the members, each with its receipt."""
    with cast.report.timed("wait for the erasure"):
        statements = await wait_erased(cast.alliance, case.wallet, ordered, seconds=ERASED_SECONDS)
    cast.acts += [statement.act for statement in statements.values()]
    custodian = statements.get(case.record.custodian)
    cast.teller.chapter("The erased record is gone, and the patient has the proof")
    cast.teller.say(
        f"{len(statements)} of {len(cast.hospitals)} hospitals have signed that they erased what "
        f"they had; {case.record.custodian}, which kept the record, in block "
        f"{custodian.act.height if custodian else 0}. The order and every statement have a receipt."
    )
    cast.report.check(
        "an erasure is proven by the order and by each hospital's statement",
        custodian is not None and len(statements) >= cast.threshold,
        f"order in block {ordered.act.height}, statements of {', '.join(sorted(statements))}",
    )
