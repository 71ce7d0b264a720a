"""The demonstration from its first chapter to its table: hospitals and 442 real patients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cipherward_client.alliance.parts import COMETBFT, SOLO, Parts
from cipherward_client.alliance.running import RunningAlliance, new_plan, running_alliance
from cipherward_client.demo.cast import Case, Cast
from cipherward_client.demo.chapters.account import account, prove_offline
from cipherward_client.demo.chapters.alone import alone
from cipherward_client.demo.chapters.compute import compute
from cipherward_client.demo.chapters.emergency import emergency
from cipherward_client.demo.chapters.enrol import enrol
from cipherward_client.demo.chapters.erasure import order_erasure, prove_erasure
from cipherward_client.demo.chapters.expiry import expiry, give_briefly
from cipherward_client.demo.chapters.keys import make_keys
from cipherward_client.demo.chapters.share import share
from cipherward_client.demo.chapters.store import store
from cipherward_client.demo.chapters.survival import survival
from cipherward_client.demo.memory import MemoryWatch, watched_memory
from cipherward_client.demo.patients import load_patients, spread
from cipherward_client.demo.pictures import draw
from cipherward_client.demo.report import TO_ITS_END, Report, size
from cipherward_client.demo.teller import Teller, word
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.hospital import open_hospital
from cipherward_client.wallet.wallet import Wallet

# Who runs the chain, by engine.
_CHAIN = {
    SOLO: "the first one also runs the ledger and the contracts.",
    COMETBFT: "each also runs a ledger, its contracts, and a node that agrees with the others'.",
}
STORY_SECONDS = 600.0  # the story takes 45 s; on a machine that needs more, something stands still


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and with whom the story plays.

    Attributes:
        folder: a fresh one for the alliance; `pictures`: one for pictures of results.
        members: hospitals.
    """

    folder: Path
    pictures: Path
    parts: Parts
    members: int


async def tell(teller: Teller, report: Report, setting: Setting) -> None:
    """Tell the whole story, and note what was found in the report.

    Raises:
        TimeoutError: it did not end in STORY_SECONDS.
        Exception: whatever made it impossible to go on; no chapter is left out.
    """
    with report.timed("whole story"), watched_memory() as memory:
        async with asyncio.timeout(STORY_SECONDS):
            async with _staged(teller, report, setting) as cast:
                await enrol(cast)
                await store(cast)
                shared = await share(cast)
                # One patient after the other: each chapter's record has a history of its own.
                _, alone_case, broken_case, brief_case, erased_case = cast.cases[:5]
                # What takes time by itself begins early, and is looked at when it is over.
                brief = await give_briefly(cast, brief_case, shared.reader)
                ordered = await order_erasure(cast, erased_case, shared.stranger)
                await alone(cast, alone_case, shared.reader)
                await emergency(cast, broken_case, shared.stranger)
                await survival(cast, await compute(cast))
                await expiry(cast, brief)
                await prove_erasure(cast, erased_case, ordered)
                receipts = await account(cast, shared)
            genesis_file = setting.folder / "genesis.json"
            await prove_offline(teller, report, genesis_file, receipts)
            await draw(teller, report, setting.pictures, cast.pictures)
    chapters = f"{teller.chapters} chapters in {report.timings['whole story']:.1f} s"
    report.check(TO_ITS_END, True, chapters)
    _conclude(teller, report, memory)


@asynccontextmanager
async def _staged(teller: Teller, report: Report, setting: Setting) -> AsyncGenerator[Cast]:
    """Start the alliance, and connect its hospitals; inside, the story can be played."""
    parts, members = setting.parts, setting.members
    teller.chapter(f"{word(members).capitalize()} hospitals found an alliance")
    teller.explain(
        "Every hospital runs identity, storage and compute services of its own; "
        f"{_CHAIN[parts.engine]} All of it starts now, on this machine."
    )
    started, ready = time.perf_counter(), list[str]()
    async with AsyncExitStack() as stack:
        plan = new_plan(parts, members)
        starting = running_alliance(
            setting.folder, plan=plan, parts=parts, keys=False, told=ready.append
        )
        running = await stack.enter_async_context(starting)
        report.timings["start"] = time.perf_counter() - started
        teller.say(
            f"{len(ready)} processes with keys and certificates of their own are ready after "
            f"{report.timings['start']:.1f} s. Whatever they say to each other is encrypted."
        )
        expected = len(running.supervisor.pids)
        report.check(
            "the alliance runs",
            len(set(ready)) == expected > 0,
            f"{len(set(ready))} of {expected} processes ready",
        )
        await make_keys(teller, report, running.folder, running.members)
        yield await _connected(stack, teller, report, running)
        report.check(
            "no process died on the way",
            running.supervisor.restarts == 0,
            f"{running.supervisor.restarts} restarts",
        )


async def _connected(
    stack: AsyncExitStack, teller: Teller, report: Report, running: RunningAlliance
) -> Cast:
    folder, members = running.folder, list(running.genesis.members)
    connection = Alliance.open(folder.endpoints_file, folder.genesis_file)
    alliance = await stack.enter_async_context(connection)
    hospitals = {
        member: await stack.enter_async_context(open_hospital(folder, member)) for member in members
    }
    patients = load_patients()
    cases = [
        Case(patient, member, Wallet.create(alliance.chain_id))
        for member, treated in spread(patients, members).items()
        for patient in treated
    ]
    teller.say(
        f"{len(patients)} real patients of a diabetes study (ten measurements and how the disease "
        "went on) come to the hospitals; each hospital sees only its own."
    )
    return Cast(folder.root, alliance, hospitals, cases, teller, report)


def _conclude(teller: Teller, report: Report, memory: MemoryWatch) -> None:
    report.timings["memory peak MiB"] = memory.peak_bytes / 2**20
    teller.console.print()
    teller.console.print(report.table())
    failed = [check.name for check in report.checks if not check.passed]
    verdict = "[bold red]" + ", ".join(failed) + "[/]" if failed else "[bold green]all passed[/]"
    teller.console.print(
        f"\n{len(report.checks)} checks: {verdict}.  {report.timings['whole story']:.1f} s; memory "
        f"at most {size(memory.peak_bytes)} in {memory.peak_processes} processes (sum of PSS)."
    )
