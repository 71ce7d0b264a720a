"""Contracts as a contract service has them, to whoever may read them; nothing of it is proven."""

from __future__ import annotations

from collections.abc import Mapping

from grpc import aio

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import NotCanonical, Value, decode_map
from cipherward_client.sdk.ledger_calls import BEHIND_SECONDS
from cipherward_client.sdk.questions import Asker, ask
from cipherward_client.sdk.retries import Patience
from cipherward_kit.errors import reason_of

GET_CONTRACT = "/cipherward.contract.v1.ContractService/GetContract"


async def read_contract(asker: Asker, instance_id: bytes) -> pb.Contract:
    """Return a contract as the service has it, which may be a block behind who told of it.

    Raises:
        AioRpcError: there is none, or the asker may not read it.
    """
    contract, behind = asker.alliance.contract, Patience.through_restart(BEHIND_SECONDS)
    while True:
        try:
            answer = await ask(
                asker,
                GET_CONTRACT,
                instance_id,
                lambda read, left: contract.GetContract(
                    pb.GetContractRequest(read=read), timeout=left
                ),
            )
        except aio.AioRpcError as error:
            if reason_of(error) != "INSTANCE_UNKNOWN":
                raise
            await behind.pause(error)
        else:
            return answer.contract


def failure_of(contract: pb.Contract) -> str:
    """Return the word by which a contract says why it has failed, or ""."""
    found = _variables(contract).get("failure", "")
    return found if isinstance(found, str) else ""


def round_of(contract: pb.Contract) -> int:
    """Return the round of values that a study's contract is in; 0 before there is one."""
    found = _variables(contract).get("round", 0)
    return found if isinstance(found, int) else 0


def _variables(contract: pb.Contract) -> Mapping[str, Value]:
    try:
        return decode_map(contract.variables)
    except NotCanonical:  # of a service that says nothing of use
        return {}
