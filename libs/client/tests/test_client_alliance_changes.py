"""Proposals that members find by what they are about, whoever proposed them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import grpc
import pytest
from grpc import aio
from grpc.aio import Metadata

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.canonical import Value, encode
from cipherward_chain.domains import proposed_change
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.found_changes import ProposalsSpent, find_change
from cipherward_client.sdk.questions import Asker
from cipherward_kit.errors import DETAILS_KEY, ServiceError

CHAIN, SUBJECT = "nord", b"hospital-d"
TERMS: dict[str, Value] = {"member": "hospital-d"}


class Unknown(ServiceError):
    """As contract says it."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "INSTANCE_UNKNOWN"


class Rejected(ServiceError):
    """As contract says it."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "READ_REJECTED"


@dataclass
class Contracts:
    """A contract service with contracts by id, and the connection to it."""

    known: dict[bytes, pb.Contract] = field(default_factory=dict[bytes, pb.Contract])
    rejects: bool = False
    chain_id: str = CHAIN

    @property
    def contract(self) -> Contracts:
        return self

    def now(self) -> float:
        return 1_790_000_000.0

    def put(self, attempt: int, state: str, *, template: str = "removal", **more: Any) -> bytes:
        name = proposed_change(CHAIN, "removal", SUBJECT, attempt)
        terms = more.pop("terms", TERMS)
        self.known[name] = pb.Contract(
            instance_id=name, template=template, state=state, terms=encode(terms), **more
        )
        return name

    async def GetContract(
        self,
        request: pb.GetContractRequest,
        timeout: float,  # noqa: ASYNC109 (grpc's own name)
    ) -> pb.GetContractResponse:
        body = request.read.body
        found = next((self.known[name] for name in self.known if name in body), None)
        if self.rejects or found is None:
            refusal = Rejected("no") if self.rejects else Unknown("no")
            trailers = Metadata((DETAILS_KEY, refusal.details("test.cipherward")))
            raise aio.AioRpcError(refusal.code, Metadata(), trailers)
        return pb.GetContractResponse(contract=found)


@pytest.fixture
def contracts() -> Contracts:
    return Contracts()


@pytest.fixture
def asker(contracts: Contracts) -> Asker:
    return Asker(cast("Alliance", contracts), MemberSigner("hospital-a", bytes(32)))


async def test_what_nobody_has_proposed_has_the_first_id(asker: Asker) -> None:
    found = await find_change(asker, "removal", SUBJECT, TERMS)
    assert (found.state, found.change_id) == ("", proposed_change(CHAIN, "removal", SUBJECT, 0))


async def test_what_stands_is_found_with_its_votes(contracts: Contracts, asker: Asker) -> None:
    votes = encode({"votes": {"hospital-a": True, "hospital-b": False}})
    name = contracts.put(0, "proposed", variables=votes, created_height=4, changed_height=9)
    found = await find_change(asker, "removal", SUBJECT, TERMS)
    assert (found.change_id, found.state) == (name, "proposed")
    assert found.votes == {"hospital-a": True, "hospital-b": False}
    assert (found.created_height, found.changed_height) == (4, 9)


@pytest.mark.parametrize("ended", ["lapsed", "rejected"])
async def test_what_ended_without_a_decision_leaves_the_next_id(
    contracts: Contracts, asker: Asker, ended: str
) -> None:
    contracts.put(0, ended)
    name = contracts.put(1, "removed")
    found = await find_change(asker, "removal", SUBJECT, TERMS)
    assert (found.change_id, found.state) == (name, "removed")


@pytest.mark.parametrize("other", [{"terms": {"member": "hospital-a"}}, {"template": "suspension"}])
async def test_an_id_that_was_taken_for_something_else_is_passed_over(
    contracts: Contracts, asker: Asker, other: dict[str, Any]
) -> None:
    contracts.put(0, "proposed", **other)
    found = await find_change(asker, "removal", SUBJECT, TERMS)
    assert (found.state, found.change_id) == ("", proposed_change(CHAIN, "removal", SUBJECT, 1))


async def test_who_is_no_member_is_told_so(contracts: Contracts, asker: Asker) -> None:
    contracts.rejects = True
    with pytest.raises(aio.AioRpcError):
        await find_change(asker, "removal", SUBJECT, TERMS)


async def test_there_is_an_end_of_attempts(contracts: Contracts, asker: Asker) -> None:
    for attempt in range(256):
        contracts.put(attempt, "lapsed")
    with pytest.raises(ProposalsSpent):
        await find_change(asker, "removal", SUBJECT, TERMS)


def test_the_id_says_chain_template_subject_and_attempt() -> None:
    names = {
        proposed_change("nord", "removal", b"a", 0),
        proposed_change("sued", "removal", b"a", 0),
        proposed_change("nord", "membership", b"a", 0),
        proposed_change("nord", "removal", b"b", 0),
        proposed_change("nord", "removal", b"a", 1),
    }
    assert len(names) == 5
    assert {len(name) for name in names} == {16}
