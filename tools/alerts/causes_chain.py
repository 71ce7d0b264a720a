"""Causes in the chain: contract is away, a ledger is restored from an old copy."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_client.sdk.consents import ConsentTerms, grant_consent
from tools.alerts.cause import Cause
from tools.alerts.findings import DOCTOR, DOCTOR_OF_MEMBER, Answer, Finding, Printed, silent
from tools.alerts.following import series_of
from tools.alerts.world import CALL_SECONDS, A, B, World, calling

BRANCH_SECONDS: Final = 10.0  # some blocks, of which there comes one every 3 s
HALT_SECONDS: Final = 75.0  # a timer is late by more than a minute then
ASKED: Final = 'cipherward_canary_last_round_timestamp_seconds{kind="acts"} > 0'
# They ask about a consent that has expired after 15 s, and 3 s later.
ASKED_SECONDS: Final = 90.0
POLL_SECONDS: Final = 0.5
CONSENT_SECONDS: Final = 10  # the consent whose end falls into the halt


async def canaries_asked(world: World) -> None:
    """Wait until the canaries have asked the chain for the first time: they are not late before.

    Raises:
        TimeoutError: they have not in time.
    """
    ends = time.monotonic() + ASKED_SECONDS
    while not await asyncio.to_thread(series_of, world.prometheus.url, ASKED):
        if time.monotonic() > ends:
            raise TimeoutError("the canaries have asked the chain nothing")
        await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def stopped_contract(world: World) -> AsyncGenerator[None]:
    """Stop contract, and with it the chain, while people go on submitting; a consent ends then."""
    await world.ensure_canaries()
    await canaries_asked(world)
    owner, record = await world.record(A)
    until = int(time.time()) + CONSENT_SECONDS
    granted = await grant_consent(world.alliance, owner, ConsentTerms(record, B, until))
    world.names["CONTRACT"] = granted.grant_id.hex()
    nothing = ledger_pb.SubmitRequest(transaction=b"")
    began = time.monotonic()
    async with world.stopped(f"{A}/contract"):
        ledger = world.alliance.ledger_of(A)
        async with calling(lambda: ledger.Submit(nothing, timeout=CALL_SECONDS), 2):
            yield
            await asyncio.sleep(began + HALT_SECONDS - time.monotonic())


@asynccontextmanager
async def restored_chain(world: World) -> AsyncGenerator[None]:
    """Restore the one ledger and its contract from a copy that lacks blocks which others have.

    It signs other blocks at the heights of those: what nobody may ever do.
    """
    names = f"{A}/ledger", f"{A}/contract"
    home, aside = world.running.folder.member(A), world.running.folder.root / "aside"
    async with world.stopped(*names):
        for name in names:
            service = name.split("/")[1]
            await asyncio.to_thread(shutil.copytree, home.data(service), aside / service)
    await asyncio.sleep(BRANCH_SECONDS)
    async with world.stopped(*names):
        for name in names:
            service = name.split("/")[1]
            await asyncio.to_thread(shutil.rmtree, home.data(service))
            await asyncio.to_thread(shutil.copytree, aside / service, home.data(service))
    yield


CHAIN_CAUSES: Final = (
    Cause(
        "contract is stopped, and the chain with it, while transactions are submitted",
        (
            Finding(
                "CipherwardContractAway",
                {"member": A},
                DOCTOR_OF_MEMBER,
                silent(f"{A}/contract"),
            ),
            Finding("CipherwardChainStalled", {"member": A}, DOCTOR, silent(f"{A}/contract")),
            Finding("CipherwardBlockFeedLagging", {"member": B}, DOCTOR, silent(f"{A}/contract")),
            Finding(
                "CipherwardAvailabilityBurnsFast",
                {"member": A, "component": "ledger"},
                "sum by (grpc_method, reason) (rate(cipherward_rpc_refusals_total"
                '{member="hospital-a",component="storage"}[5m])) > 0',
                Answer({"reason": "CONTRACT_AWAY"}),
            ),
            Finding(
                "CipherwardAvailabilityBurnsSlowly",
                {"member": A, "component": "ledger"},
                "sum by (grpc_method, reason) (increase(cipherward_rpc_refusals_total"
                '{member="hospital-a",component="storage"}[1d])) > 0',
                Answer({"reason": "CONTRACT_AWAY"}),
            ),
            Finding(
                "CipherwardCanariesSilentOnTheChain",
                {"member": A},
                DOCTOR,
                silent(f"{A}/contract"),
            ),
        ),
        stopped_contract,
        120.0,
        afterwards=(
            Finding(
                "CipherwardTimersLate",
                {"member": A},
                'increase(cipherward_ledger_block_interval_seconds_count{member="hospital-a"}[1h])'
                " - ignoring (le) increase(cipherward_ledger_block_interval_seconds_bucket"
                '{member="hospital-a",le="30.0"}[1h])',
                Answer(least=0.5),  # one block, as far as a rate over a window tells it
            ),
        ),
    ),
    Cause(  # the last: nobody goes on after it
        "the ledger and its contract are restored from before their last blocks",
        (
            Finding(
                "CipherwardChainForked",
                {},
                "cipherward chain evidence DIR/hospital-a/data/storage/forks/* --alliance DIR",
                Printed({"signed_both": [A]}),
            ),
        ),
        restored_chain,
        90.0,
    ),
)
