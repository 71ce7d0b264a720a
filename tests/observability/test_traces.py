"""One trace from a request through its transaction and block to the order in another service, in a
running alliance of two members: whose spans are which member's, and what none of them says.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import pytest
import pytest_asyncio

from cipherward_client.alliance.running import RunningAlliance, new_plan, running_alliance
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.consents import ConsentTerms, grant_consent
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.hospital import open_hospital
from cipherward_client.sdk.records import WalletOwner, get_record, put_record
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit import tracing
from cipherward_kit.testing import eventually
from cipherward_kit.tracing import Attribute
from tests.servers import collector as otlp

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

KEEPER, OTHER = "hospital-a", "hospital-b"  # the keeper runs the alliance's only ledger
# Spans come a second after they end; the machine may be busy.
SECONDS: Final = 30.0
FOLLOWERS: Final = {"storage", "identity", "compute"}
RPC_SPANS: Final = {"server", "client"}
OTHERS: Final = {"transaction", "block", "order", "stores a record"}


@dataclass(frozen=True)
class Told:
    """What the collector got, and what it must not have got."""

    spans: list[otlp.Seen]
    secrets: tuple[bytes, ...]  # ids and names of what the requests were about

    def of_trace(self, trace: str) -> list[otlp.Seen]:
        return [span for span in self.spans if span.trace == trace]


async def _person(alliance: Alliance, running: RunningAlliance, member: str, *role: str) -> Wallet:
    wallet = Wallet.create(alliance.chain_id)
    async with open_hospital(running.folder, member) as hospital:
        schema = "staff" if role else "patient"
        code = await admit_holder(hospital, schema, role="".join(role))
    await obtain_credential(alliance, wallet, member, code)
    return wallet


def _releases(spans: Iterable[otlp.Seen]) -> list[otlp.Seen]:
    """Return the spans of blocks that ordered the release of a key."""
    wanted = Attribute.INSTRUCTIONS.value
    return [s for s in spans if s.name == "block" and "release_key" in s.attributes.get(wanted, ())]


def _orders(spans: Iterable[otlp.Seen], block: otlp.Seen) -> list[otlp.Seen]:
    """Return the spans of orders that were carried out after their block."""
    return [s for s in spans if s.name == "order" and s.parent == block.id]


def _reports(spans: Iterable[otlp.Seen], block: otlp.Seen) -> list[otlp.Seen]:
    """Return the spans of transactions that report on orders of a block, with all above them."""
    known = list(spans)
    return [
        span
        for span in known
        if (span.name, span.trace) == ("transaction", block.trace)
        and (way := _path(known, span))[0] == "ledger server Submit"
        and "ledger server SubmitBatch" in way
    ]


def _stored(root: otlp.Seen) -> Callable[[Iterable[otlp.Seen]], list[otlp.Seen]]:
    """Return what finds the spans of blocks in the trace of a request."""
    return lambda spans: [s for s in spans if s.name == "block" and s.trace == root.trace]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Told]:
    """A member's system stores a record; holders consent to it and open it."""
    async with AsyncExitStack() as stack:
        collector = await stack.enter_async_context(otlp.running_collector())
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("CIPHERWARD_OTLP_ENDPOINT", collector.endpoint)
        root = tmp_path_factory.mktemp("alliance")
        opened = running_alliance(root, plan=new_plan(count=2))
        running = await stack.enter_async_context(opened)
        folder = running.folder
        alliance = await stack.enter_async_context(
            Alliance.open(folder.endpoints_file, folder.genesis_file)
        )
        patient = await _person(alliance, running, KEEPER)
        clinician = await _person(alliance, running, OTHER, "clinician")
        hospital = await stack.enter_async_context(open_hospital(folder, KEEPER))
        async with tracing.tracing("client", KEEPER, tracing.Collector(collector.endpoint)):
            with tracing.span("stores a record"):
                stored = await put_record(hospital, b"x" * 1_000, WalletOwner(alliance, patient))
        record = stored.record_id
        terms = ConsentTerms(record, OTHER, int(alliance.now()) + 3600)
        consent = await grant_consent(alliance, patient, terms)
        await get_record(alliance, clinician, record, consent.grant_id)
        (root,) = await collector.has("stores a record", seconds=SECONDS)
        for wanted in (_stored(root), _releases):
            await eventually(
                lambda wanted=wanted: (
                    {span.service for span in wanted(collector.spans)} == FOLLOWERS
                ),
                seconds=SECONDS,
                what="the spans of whom the block went to",
            )
        # Both wallets were filled before: at the other member's desk too.
        await eventually(
            lambda: any(span.member == OTHER for span in collector.spans),
            seconds=SECONDS,
            what="the other member's own traces",
        )
        (release,) = (span for span in _releases(collector.spans) if span.service == "storage")
        await eventually(
            lambda: _orders(collector.spans, release), seconds=SECONDS, what="the share"
        )
        await eventually(
            lambda: _reports(collector.spans, release), seconds=SECONDS, what="the report"
        )
        ids = (record, consent.grant_id)
        secrets = tuple(x for one in ids for x in (one, one.hex().encode()))
        yield Told(list(collector.spans), secrets)


def _path(spans: Iterable[otlp.Seen], leaf: otlp.Seen) -> list[str]:
    """Return service and name of a span and of all above it that are there, the highest first."""
    by_id = {span.id: span for span in spans}
    way = [leaf]
    while (above := by_id.get(way[-1].parent)) is not None:
        way.append(above)
    return [f"{span.service} {span.kind} {span.name.split('/')[-1]}" for span in reversed(way)]


async def test_a_members_request_is_one_trace_into_the_services_that_carried_it_out(
    told: Told,
) -> None:
    root = next(span for span in told.spans if span.name == "stores a record")
    trace = told.of_trace(root.trace)
    carried_out = {span.service: span for span in _stored(root)(trace)}
    assert set(carried_out) == FOLLOWERS
    for service, block in carried_out.items():
        assert _path(trace, block) == [
            "client internal stores a record",
            "client client Submit",
            "ledger server Submit",
            "ledger internal transaction",
            f"{service} consumer block",
        ]


async def test_a_holders_opening_is_one_trace_up_to_the_release_of_the_key(told: Told) -> None:
    (release,) = (span for span in _releases(told.spans) if span.service == "storage")
    trace = told.of_trace(release.trace)
    assert _path(trace, release) == [
        "ledger server Submit",
        "ledger internal transaction",
        "storage consumer block",
    ]
    assert release.attributes["cipherward.block.height"] > 0
    (share,) = _orders(trace, release)  # sealed after the block, as the guardian that it also is
    assert share.attributes == {
        "cipherward.block.height": release.attributes["cipherward.block.height"],
        "cipherward.order.instructions": ["release_key"],
    }


async def test_the_report_of_an_order_is_in_the_trace_of_the_order(told: Told) -> None:
    (release,) = (span for span in _releases(told.spans) if span.service == "storage")
    for report in _reports(told.spans, release):
        way = _path(told.spans, report)
        assert way[:3] == [
            "ledger server Submit",
            "ledger internal transaction",
            "storage consumer block",
        ]
        assert way[-3:] == [
            "storage client SubmitBatch",
            "ledger server SubmitBatch",
            "ledger internal transaction",
        ]
        assert way[3:-3] in ([], ["storage internal order"])  # if it took more than the block
        assert (
            report.attributes["cipherward.block.height"]
            > (release.attributes["cipherward.block.height"])
        )


async def test_no_trace_is_in_two_members_deployments(told: Told) -> None:
    members = {
        trace: {span.member for span in told.of_trace(trace)}
        for trace in {span.trace for span in told.spans}
    }
    assert all(len(found) == 1 for found in members.values()), json.dumps(
        {trace: sorted(found) for trace, found in members.items()}
    )
    assert {OTHER, KEEPER} == {member for found in members.values() for member in found}


async def test_work_that_nobody_asked_for_is_in_no_trace(told: Told) -> None:
    names = {span.name.split("/")[-1] for span in told.spans}
    assert not names & {"ExecuteBlock", "Commit", "StreamBlocks", "Check", "Watch"}


async def test_spans_say_nothing_of_whom_they_were_for(told: Told) -> None:
    allowed = {one.value for one in Attribute}
    for span in told.spans:
        assert set(span.attributes) <= allowed
        assert span.kind in RPC_SPANS or span.name in OTHERS
        octets = span.raw.SerializeToString()
        assert not any(secret in octets for secret in told.secrets)
