"""This member's part of key ceremonies: which step does what."""

from __future__ import annotations

from cipherward_compute.ceremony.dealing import DealingSteps
from cipherward_compute.ceremony.multiplying import MultiplyingSteps
from cipherward_compute.ceremony.participant import Participant
from cipherward_compute.instructions import KeyCeremony
from cipherward_compute.keyring import Keyring
from cipherward_compute.member import Member
from cipherward_compute.peers import Peers
from cipherward_compute.steps import Done
from cipherward_compute.vault import CeremonyRoot

PROFILE = "additive-1"  # of every study's own key: a worker is warmed up for it


class CeremonySteps:
    """Carries out this member's part of key ceremonies."""

    def __init__(self, member: Member, root: CeremonyRoot, keyring: Keyring, peers: Peers) -> None:
        me = Participant(member, root, keyring, peers)
        self._dealing = DealingSteps(me)
        self._multiplying = MultiplyingSteps(me)

    async def carry_out(self, order: KeyCeremony) -> Done:
        """Take the step that an order asks for.

        Raises:
            StepFailed: it cannot be taken.
            PeerWrong: a peer's message is not what it should be.
        """
        match order.step:
            case "commit":
                return await self._dealing.commit(order)
            case "reveal":
                return await self._dealing.reveal(order)
            case "confirm":
                return await self._dealing.confirm(order)
            case "relin_first":
                return await self._multiplying.relin_first(order)
            case "relin_second":
                return await self._multiplying.relin_second(order)
            case "relin_combine":
                return await self._multiplying.relin_combine(order)
            case "test_commit":
                return await self._multiplying.test_commit(order)
            case "test_open":
                return await self._multiplying.test_open(order)
