"""Chapter: the hospitals make keys that none of them has."""

from __future__ import annotations

from collections.abc import Sequence

from cipherward_chain.group_keys import PURPOSES, RECORD
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.shared_keys import ensure_shared_keys
from cipherward_client.demo.report import Report
from cipherward_client.demo.teller import Teller, word


async def make_keys(
    teller: Teller, report: Report, folder: AllianceFolder, members: Sequence[str]
) -> None:
    """Tell the chapter: one key for records, one to find out who staff are if the members vote."""
    teller.chapter("They make keys that none of them has")
    teller.explain(
        "Each hospital deals shares of a secret to every other, sealed, on the chain, where all "
        "of them check it. The sum of all secrets is the key: nobody has ever seen it."
    )
    with report.timed("make keys"):
        made = await ensure_shared_keys(folder, members)
    record = made[RECORD]
    needed = f"{record.threshold} of {len(record.holders)}"
    teller.say(
        f"The record key and the opening key are in force after {report.timings['make keys']:.1f} "
        f"s. It takes {word(record.threshold)} of {word(len(record.holders))} hospitals to use one."
    )
    ready = all(entry.guardians == tuple(sorted(members)) for entry in made.values())
    report.check(
        "the members share a record key and an opening key",
        len(made) == len(PURPOSES) and ready,
        f"{needed}, {report.timings['make keys']:.1f} s",
    )
