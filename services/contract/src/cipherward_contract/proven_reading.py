"""Answers with proofs: made in the executing thread, so that what is said is what is proven."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.group_keys import (
    PURPOSES,
    group_key_key,
    newest_epoch,
    newest_group_key_key,
)
from cipherward_chain.key_holders import key_holders_key
from cipherward_chain.reads import Reader
from cipherward_contract.catalogue import Catalogue
from cipherward_contract.chain import Chain
from cipherward_contract.deciding import Answer, Present, Question, decide, instance_of
from cipherward_contract.entries import INSTANCE, Instance, template_key
from cipherward_contract.errors import GroupKeyUnknown, PurposeUnknown, TemplateUnknown
from cipherward_contract.instructions.key_holders import TEMPLATE as DATA_KEY
from cipherward_contract.proving import Prover, WatchedState
from cipherward_contract.rights import readable_case
from cipherward_contract.store import StoredState

# Documents are proven by GetTemplate, once; the members by their own registry.
_NOT_SHOWN = (b"template/", b"active/")


@dataclass(frozen=True, slots=True)
class Proven:
    """A number (an epoch, a version) and the entry that it names, proven."""

    number: int
    state: pb.ProvenState


class ProvenReading:
    """Answers questions about the committed state, with the proof of what was looked up for them.

    What is found by scanning a range of keys, such as the registry, is not proven here.
    """

    def __init__(self, chain: Chain, clock: Callable[[], float]) -> None:
        """Use the chain's own thread, and a clock (Unix seconds)."""
        self._chain = chain
        self._present = Present(clock, Catalogue())

    async def decide(self, reader: Reader, question: Question) -> tuple[Answer, pb.ProvenState]:
        """Return what would be decided, and the entries from which: to who may read the instance.

        Raises:
            ChainNotInitialised, ReadRejected, InstanceUnknown, ReadMalformed.
        """

        def work(prover: Prover) -> tuple[Answer, pb.ProvenState]:
            watched = WatchedState(StoredState(prover.connection))
            block, actor = self._present.opened(prover.connection, watched, reader)
            instance = instance_of(block, reader.object)
            readable_case(block, instance, actor)
            answer = decide(block, actor, instance, question)
            keys = sorted(key for key in watched.asked if not key.startswith(_NOT_SHOWN))
            return answer, prover.prove(keys)

        return await self._chain.on_committed(work)

    async def instance(self, reader: Reader) -> tuple[Instance, pb.ProvenState]:
        """Return the instance that the reader names, and its entry; of a data key its holders too.

        Raises:
            ReadRejected, InstanceUnknown.
        """

        def work(prover: Prover) -> tuple[Instance, pb.ProvenState]:
            stored = StoredState(prover.connection)
            block, actor = self._present.opened(prover.connection, stored, reader)
            instance = instance_of(block, reader.object)
            readable_case(block, instance, actor)
            keys = [INSTANCE + instance.id]
            if instance.origin.template == DATA_KEY:  # or that nobody has come to hold it since
                keys.append(key_holders_key(instance.id))
            return instance, prover.prove(keys)

        return await self._chain.on_committed(work)

    async def group_key(self, purpose: str, key_epoch: int) -> Proven:
        """Return the entry of a key that the members share; epoch 0 is the newest.

        Raises:
            ChainNotInitialised, PurposeUnknown, GroupKeyUnknown.
        """
        if purpose not in PURPOSES:
            raise PurposeUnknown(f"a shared key is for one of {', '.join(PURPOSES)}")

        def work(prover: Prover) -> Proven:
            stored = StoredState(prover.connection)
            epoch = key_epoch or newest_epoch(stored.get(newest_group_key_key(purpose)))
            key = group_key_key(purpose, epoch)
            if not epoch or stored.get(key) is None:
                raise GroupKeyUnknown("the members share no such key", purpose=purpose)
            return Proven(epoch, prover.prove([key]))

        return await self._chain.on_committed(work)

    async def template(self, name: str, version: int) -> Proven:
        """Return the entry of a template; version 0 is the newest that is active.

        Raises:
            ChainNotInitialised, TemplateUnknown.
        """

        def work(prover: Prover) -> Proven:
            stored = StoredState(prover.connection)
            block = self._present.block(prover.connection, stored)
            found = version
            if not found:
                newest = block.catalogue.newest(block.state, name, block.now)
                found = newest.template.version if newest else 0
            key = template_key(name, found)
            if stored.get(key) is None:
                raise TemplateUnknown("the chain has no such template")
            return Proven(found, prover.prove([key]))

        return await self._chain.on_committed(work)
