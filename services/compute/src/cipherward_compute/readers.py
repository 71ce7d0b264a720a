"""Who may read what about a study: its members and whoever requested it, by signed reads."""

from __future__ import annotations

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.acts import ID_BYTES
from cipherward_chain.reads import Reader, ReadGate
from cipherward_compute.studies import Studies, Study
from cipherward_member.errors import ReadMalformed, ReadRejected
from cipherward_member.reads import reader_of
from cipherward_member.registry import MemberRegistry
from cipherward_member.reports import OrderKey

# A reader sees its block proven some milliseconds before we do, and asks at once.
STUDY_WAIT_SECONDS = 2.0


class StudyReads:
    """Turns authorised reads into the studies that they are about."""

    def __init__(self, gate: ReadGate, registry: MemberRegistry, studies: Studies) -> None:
        """Describe the check.

        Args:
            gate: form, chain, time, signature and replay of a read.
            registry: the members, whose keys sign reads.
            studies: what is known here.
        """
        self._gate = gate
        self._registry = registry
        self._studies = studies

    async def study_of(self, read: chain_pb.AuthorizedRead, method: str) -> Study:
        """Return the study that a member or the requester asks about.

        Raises:
            ReadMalformed: out of form.
            ReadRejected: not authorised, or by somebody else.
            StudyUnknown: there is no such study.
        """
        reader = reader_of(self._gate, read, method, ID_BYTES)
        study = await self._studies.known(reader.object, STUDY_WAIT_SECONDS)
        if not self._is_requester(reader, study) and not self._is_member(reader, study):
            raise ReadRejected
        return study

    async def released_to(
        self, read: chain_pb.AuthorizedRead, method: str
    ) -> tuple[Study, OrderKey]:
        """Return the study whose result the requester asks for, and the order that released it.

        Raises:
            ReadMalformed: out of form, or it names no order.
            ReadRejected: not authorised, or not by the requester.
            StudyUnknown: there is no such study.
            NotReleased: that order has released no result of it, or not yet here.
        """
        reader = reader_of(self._gate, read, method, ID_BYTES)
        if reader.order is None:
            raise ReadMalformed("the read names no order")
        study = await self._studies.known(reader.object, STUDY_WAIT_SECONDS)
        if not self._is_requester(reader, study):
            raise ReadRejected
        order = OrderKey(*reader.order)
        await self._studies.release(study.id, order)
        return study, order

    def _is_member(self, reader: Reader, study: Study) -> bool:
        member = self._registry.members.get(reader.member)
        return (
            reader.kind == "member"
            and member is not None
            and reader.member in study.members
            and reader.public_key == member.public_key
        )

    @staticmethod
    def _is_requester(reader: Reader, study: Study) -> bool:
        return (
            reader.kind == "pseudonym"
            and bool(study.requester)
            and reader.public_key == study.requester
        )
