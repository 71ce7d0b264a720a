"""What the members' storages must refuse, asked as any reader asks."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from cipherward_chain.authorization import Signer
from cipherward_client.canaries.asking import ASK_SECONDS, Question, first_of, refused_read
from cipherward_client.canaries.scenes import Opening, Scenes
from cipherward_client.canaries.spots import Case, Path, Spot
from cipherward_client.canaries.stage import Stage
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.release_orders import SERVICE

ENDED = ("RELEASE_ENDED",)
NOT_YOURS = ("READ_REJECTED",)
NOT_FOR_YOU = ("CALLER_REFUSED",)

StubOf = Callable[[], StorageServiceStub]


def storage_questions(stage: Stage, scenes: Scenes, cases: frozenset[Case]) -> Iterator[Question]:
    """Yield the questions to storages.

    Args:
        cases: what is over by now, everywhere.
    """
    clinician = stage.memory.clinician
    reader = clinician.signer(scenes.scope)
    ended = (
        (Case.REVOKED, scenes.revoked),
        (Case.EXPIRED, scenes.expired),
        (Case.ERASED, scenes.erased),
    )
    for case, opening in ended:
        if case in cases:
            yield from _reads(stage, opening, reader, case, ENDED)
    # The release stands, for its owner: not for a clinician, nor for the hospital itself.
    yield from _reads(stage, scenes.standing, reader, Case.NO_CONSENT, NOT_YOURS)
    hospital = stage.hospital.signer
    yield from _reads(stage, scenes.standing, hospital, Case.WRONG_INSTITUTION, NOT_YOURS)
    yield from _outside(stage, scenes)


def _reads(
    stage: Stage, opening: Opening, signer: Signer, case: Case, reasons: tuple[str, ...]
) -> Iterator[Question]:
    """Yield the questions about what an order released: the key's parts and the ciphertext."""
    asker = Asker(stage.holder, signer)
    custodian = stage.hospital.member

    async def key() -> object:
        read = asker.read(f"{SERVICE}/GetReleasedKey", opening.record_id, opening.order)
        storage = stage.holder.storage_of(custodian)
        return await storage.GetReleasedKey(
            pb.GetReleasedKeyRequest(read=read), timeout=ASK_SECONDS
        )

    async def record() -> object:
        read = asker.read(f"{SERVICE}/GetRecord", opening.record_id, opening.order)
        storage = stage.holder.storage_of(custodian)
        request = pb.GetRecordRequest(read=read)
        return await first_of(storage.GetRecord(request, timeout=ASK_SECONDS))

    def share_of(guardian: str) -> Question:
        async def share() -> object:
            read = asker.read(f"{SERVICE}/GetGuardianShare", opening.record_id, opening.order)
            storage = stage.holder.storage_of(guardian)
            return await storage.GetGuardianShare(
                pb.GetGuardianShareRequest(read=read), timeout=ASK_SECONDS
            )

        return Question(Spot(Path.GUARDIAN_SHARE, case), refused_read(share, reasons))

    yield Question(Spot(Path.RELEASED_KEY, case), refused_read(key, reasons))
    yield Question(Spot(Path.RECORD, case), refused_read(record, reasons))
    for guardian in opening.guardians:
        yield share_of(guardian)


def _outside(stage: Stage, scenes: Scenes) -> Iterator[Question]:
    """Yield the questions that storages answer to their own member only."""
    spot = Spot(Path.DESCRIBE, Case.OUTSIDE)
    record_id = secrets.choice(sorted(scenes.records))

    def describe(storage: StubOf) -> Question:
        async def call() -> object:
            request = pb.DescribeRecordRequest(record_id=record_id)
            return await storage().DescribeRecord(request, timeout=ASK_SECONDS)

        return Question(spot, refused_read(call, NOT_FOR_YOU))

    own = stage.hospital.member
    yield describe(lambda: stage.holder.storage_of(own))
    for member in stage.hospital.alliance.present:
        if member != own:
            yield describe(lambda member=member: stage.hospital.alliance.storage_of(member))
