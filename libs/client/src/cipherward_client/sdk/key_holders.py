"""Who holds a data key now, as the chain proves it."""

from __future__ import annotations

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.key_holders import KeyHolders, key_holders_key
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.proven_state import prove
from cipherward_client.sdk.retries import patiently

STATE_SECONDS = 15.0


async def handed_over(hospital: Hospital, data_key: bytes) -> KeyHolders | None:
    """Return to whom a data key was handed over last, proven; None before the first time.

    None also says that the key has ended: whoever held it then, holds nothing.

    Raises:
        AioRpcError: the contract service does not answer.
        StateUnproven, StateTooOld, KeyHoldersMalformed: the answer is not to be believed.
    """
    alliance, key = hospital.alliance, key_holders_key(data_key)
    request = pb.ReadStateRequest(keys=[key])
    found = await patiently(
        lambda left: alliance.contract.ReadState(request, timeout=left), STATE_SECONDS
    )
    state = pb.ProvenState(height=found.height, app_hash=found.app_hash, proofs=found.proofs)
    raw = (await prove(alliance, state, [key])).values[key]
    return None if raw is None else KeyHolders.from_bytes(raw)
