"""Taking enrolments from wallets: two presentations of one body, shown to this hospital only.

Both must be valid, of patients, and over the same octets, so that neither is good for another
enrolment. Leaving is easy, as with opt-outs: any epoch's credential does, while the chain is
silent too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.acts import ID_BYTES
from cipherward_chain.opt_outs import Choice, care_scope
from cipherward_chain.reads import ReadGate
from cipherward_compute.choices import Patients
from cipherward_compute.column_keys import study_scope
from cipherward_compute.enrolments import Enrolled, Enrolment, Enrolments
from cipherward_member.errors import ReadMalformed
from cipherward_member.reads import reader_of

CHOICES: dict[bytes, Choice] = {b"in": "in", b"out": "out"}


@dataclass(frozen=True, slots=True)
class EnrolmentDesk:
    """Takes what wallets show.

    gate: form, chain, time and replay. member: this one. patients: whose credentials count.
    require_fresh: raises ChainStale while the chain is silent.
    """

    gate: ReadGate
    member: str
    patients: Patients
    enrolments: Enrolments
    require_fresh: Callable[[], None]

    async def take(
        self, care: chain_pb.AuthorizedRead, study: chain_pb.AuthorizedRead, method: str
    ) -> Enrolled:
        """Take an enrolment, or take it back.

        Raises:
            ReadMalformed: out of form, or the two are not about the same.
            ReadRejected: not a patient's presentations to this member, or not valid ones.
            ChainStale: it is an enrolment, and the chain is silent.
            IdentityAway: nobody can say whether they are valid.
            DataKeyUnknown, EnrolmentClosed: there is nothing to enrol for, or not any more.
        """
        if care.body != study.body:
            raise ReadMalformed("the two presentations are not of one body")
        shown = reader_of(self.gate, care, method), reader_of(self.gate, study, method)
        data_key, choice = _asked(shown[0].object)
        if choice == "in":
            self.require_fresh()
        scopes = care_scope(self.member), study_scope(data_key)
        care_pseudonym, study_pseudonym = await self.patients.shown(
            [(reader.claim, scope) for reader, scope in zip(shown, scopes, strict=True)],
            current=choice == "in",
        )
        enrolment = Enrolment(data_key, study_pseudonym, care_pseudonym)
        if choice == "out":
            return await self.enrolments.withdraw(enrolment)
        return await self.enrolments.enrol(enrolment)


def _asked(octets: bytes) -> tuple[bytes, Choice]:
    choice = CHOICES.get(octets[ID_BYTES:])
    if choice is None:
        raise ReadMalformed("the object is not a data key with `in` or `out` behind it")
    return octets[:ID_BYTES], choice
