"""What the contract service must refuse: decisions, and what it shows of contracts and accesses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator

from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import encode
from cipherward_chain.sealing import SealingKey
from cipherward_client.canaries.asking import (
    ASK_SECONDS,
    Ask,
    Denial,
    Question,
    of_denial,
    refused_act,
    refused_read,
)
from cipherward_client.canaries.building import OTHER_PURPOSE, PURPOSE
from cipherward_client.canaries.scenes import Scenes
from cipherward_client.canaries.spots import Case, Outcome, Path, Spot
from cipherward_client.canaries.stage import Stage
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.records import ask_to_open

SERVICE = "/cipherward.contract.v1.ContractService"
NOT_YOURS = ("READ_REJECTED",)
POLICY_DENIED = "POLICY_DENIED"
SOMEBODY_ELSE = (Denial(POLICY_DENIED, ("not-the-grantee",)),)
# The block that ends a consent may be a heartbeat away: until then its own policy refuses.
EXPIRED = (Denial("STATE_FORBIDS"), Denial(POLICY_DENIED, ("after-the-end",)))
ERASED = (Denial("RECORD_ERASED"), Denial("STATE_FORBIDS"))


def contract_questions(stage: Stage, scenes: Scenes, cases: frozenset[Case]) -> Iterator[Question]:
    """Yield the questions to the contract service.

    Args:
        cases: what is over by now, everywhere.
    """
    asker = Asker(stage.holder, stage.memory.clinician.signer(scenes.scope))
    for case, (_, grant_id), purpose, denials in _attempts(scenes, cases):
        yield Question(Spot(Path.DECIDE, case), _undecided(asker, grant_id, purpose, denials))
    # Those who are no party to a consent are shown nothing of it, nor of its record.
    yield _unshown(asker, scenes.standing.grant_id, Case.NO_CONSENT)
    if scenes.foreign:
        yield _unshown(asker, scenes.foreign, Case.WRONG_INSTITUTION)
    yield from _unlisted(asker, scenes.standing.record_id)


def acts(stage: Stage, scenes: Scenes, cases: frozenset[Case]) -> Iterator[Question]:
    """Yield the attempts to open a record that the chain must refuse; each is a transaction."""
    clinician = stage.memory.clinician

    def attempt(record_id: bytes, grant_id: bytes, purpose: str) -> Callable[[], Awaitable[object]]:
        async def submit() -> object:
            key = await asyncio.to_thread(SealingKey.generate)
            return await ask_to_open(
                stage.holder, clinician, record_id, grant_id, key, purpose=purpose
            )

        return submit

    for case, (record_id, grant_id), purpose, denials in _attempts(scenes, cases):
        ask = refused_act(attempt(record_id, grant_id, purpose), denials)
        yield Question(Spot(Path.OPEN, case), ask)


Attempt = tuple[Case, tuple[bytes, bytes], str, Collection[Denial]]


def _attempts(scenes: Scenes, cases: frozenset[Case]) -> Iterator[Attempt]:
    """Yield (case, (record, consent), purpose, right denials) of what the clinician tries."""
    shown = scenes.standing.record_id
    yield Case.NO_CONSENT, (shown, scenes.standing.grant_id), PURPOSE, SOMEBODY_ELSE
    if scenes.foreign:
        yield Case.WRONG_INSTITUTION, (shown, scenes.foreign), PURPOSE, SOMEBODY_ELSE
    denied = (Denial(POLICY_DENIED, ("purpose-differs",)),)
    yield Case.WRONG_PURPOSE, (shown, scenes.narrow), OTHER_PURPOSE, denied
    ended = (
        (Case.REVOKED, scenes.revoked, (Denial("STATE_FORBIDS"),)),
        (Case.EXPIRED, scenes.expired, EXPIRED),
        (Case.ERASED, scenes.erased, ERASED),
    )
    for case, opening, denials in ended:
        if case in cases:
            yield case, (opening.record_id, opening.grant_id), PURPOSE, denials


def _undecided(asker: Asker, grant_id: bytes, purpose: str, denials: Collection[Denial]) -> Ask:
    """Return a question that must be decided against whoever asks."""

    async def ask() -> Outcome:
        key = await asyncio.to_thread(SealingKey.generate)
        arguments = encode({"reader_key": key.public_key, "purpose": purpose})
        read = asker.read(f"{SERVICE}/Decide", grant_id)
        request = pb.DecideRequest(read=read, transition="open", arguments=arguments)
        try:
            answer = await asker.alliance.contract.Decide(request, timeout=ASK_SECONDS)
        except aio.AioRpcError:
            return Outcome.UNKNOWN  # it is asked about what it answers: a refusal says nothing
        if answer.allowed:
            return Outcome.GIVEN
        return of_denial(Denial(answer.rule or POLICY_DENIED, tuple(answer.policies)), denials)

    return ask


def _unshown(asker: Asker, grant_id: bytes, case: Case) -> Question:
    async def call() -> object:
        read = asker.read(f"{SERVICE}/GetContract", grant_id)
        request = pb.GetContractRequest(read=read)
        return await asker.alliance.contract.GetContract(request, timeout=ASK_SECONDS)

    return Question(Spot(Path.CONTRACT, case), refused_read(call, NOT_YOURS))


def _unlisted(asker: Asker, record_id: bytes) -> Iterator[Question]:
    """Yield the questions for pages about a record, by somebody whom they do not concern."""

    def read(method: str) -> chain_pb.AuthorizedRead:
        return asker.read(f"{SERVICE}/{method}", record_id)

    async def contracts() -> object:
        request = pb.ListContractsRequest(read=read("ListContracts"))
        return await asker.alliance.contract.ListContracts(request, timeout=ASK_SECONDS)

    async def disclosures() -> object:
        request = pb.ListDisclosuresRequest(read=read("ListDisclosures"))
        return await asker.alliance.contract.ListDisclosures(request, timeout=ASK_SECONDS)

    async def notices() -> object:
        request = pb.ListNoticesRequest(read=read("ListNotices"))
        return await asker.alliance.contract.ListNotices(request, timeout=ASK_SECONDS)

    pages = (
        (Path.CONTRACTS, contracts),
        (Path.DISCLOSURES, disclosures),
        (Path.NOTICES, notices),
    )
    for path, call in pages:
        yield Question(Spot(path, Case.NO_CONSENT), refused_read(call, NOT_YOURS))
