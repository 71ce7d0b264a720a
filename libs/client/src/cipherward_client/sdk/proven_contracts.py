"""Contracts and decisions as the chain proves them, not as a service tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import NotCanonical, Value, decode, encode
from cipherward_chain.fields import Fields
from cipherward_client.sdk.certified import StateUnproven
from cipherward_client.sdk.proven_state import ProvenEntries, prove
from cipherward_client.sdk.questions import Asker, ask

SERVICE = "/cipherward.contract.v1.ContractService"
INSTANCE = b"instance/"  # the state key of a contract, before its id


@dataclass(frozen=True, slots=True)
class ProvenContract:
    """A contract as the state held it under a certified header of `height` and `time_seconds`.

    `terms` is the canonical map of its terms, `variables` what the machine has recorded in it.
    """

    instance_id: bytes
    template: str
    version: int
    state: str
    terms: bytes
    variables: Mapping[str, Value]
    created_height: int
    changed_height: int
    height: int
    time_seconds: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What the contract service says that it would decide, and the proven contract it is about.

    `policies` are the sorted ids of those that decided, `rule` the state rule that refused before
    any was asked. The entries that it was made from are proven; that they lead to this decision is
    the service's word, until the act itself is on the chain.
    """

    allowed: bool
    policies: tuple[str, ...]
    rule: str
    contract: ProvenContract


async def proven_contract(asker: Asker, instance_id: bytes) -> ProvenContract:
    """Return a contract that the asker may read, proven.

    Raises:
        AioRpcError: there is none, or the asker may not read it.
        StateUnproven, StateTooOld: the answer is not to be believed.
    """
    contract = asker.alliance.contract
    answer = await ask(
        asker,
        f"{SERVICE}/GetContract",
        instance_id,
        lambda read, left: contract.GetContract(
            pb.GetContractRequest(read=read, with_proof=True), timeout=left
        ),
    )
    entries = await prove(asker.alliance, answer.proven, [INSTANCE + instance_id])
    return _read(instance_id, entries)


async def decide(
    asker: Asker, instance_id: bytes, transition: str, arguments: Mapping[str, Value]
) -> Decision:
    """Ask what would become of a transition now; nothing is changed.

    Raises:
        AioRpcError: there is no such contract, or the asker may not ask.
        StateUnproven, StateTooOld: the answer is not to be believed.
    """
    contract = asker.alliance.contract
    answer = await ask(
        asker,
        f"{SERVICE}/Decide",
        instance_id,
        lambda read, left: contract.Decide(
            pb.DecideRequest(
                read=read,
                transition=transition,
                arguments=encode(arguments),
                with_proof=True,
            ),
            timeout=left,
        ),
    )
    keys = {INSTANCE + instance_id, *(proof.key for proof in answer.proven.proofs)}
    entries = await prove(asker.alliance, answer.proven, sorted(keys))
    return Decision(
        answer.allowed, tuple(answer.policies), answer.rule, _read(instance_id, entries)
    )


def _read(instance_id: bytes, entries: ProvenEntries) -> ProvenContract:
    raw = entries.values[INSTANCE + instance_id]
    if raw is None:
        raise StateUnproven("the state has no such contract")
    try:
        fields = Fields(decode(raw))
        return ProvenContract(
            instance_id=instance_id,
            template=fields.text("template"),
            version=fields.integer("version"),
            state=fields.text("state"),
            terms=fields.octets("terms"),
            variables=fields.mapping("variables"),
            created_height=fields.integer("created"),
            changed_height=fields.integer("changed"),
            height=entries.height,
            time_seconds=entries.time_seconds,
        )
    except NotCanonical as error:
        raise StateUnproven(f"the entry is none of a contract: {error}") from error
