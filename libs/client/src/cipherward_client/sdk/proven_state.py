"""Entries of the chain's state, believed only as far as a certified header proves them.

A contract service answers values with proofs that lead to an app hash; a header that more than two
thirds of the validators have signed carries that app hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grpc import aio

from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.light_block import LightBlock
from cipherward_chain.light_skipping import CLOCK_DRIFT_SECONDS
from cipherward_chain.rejections import BlockRejected
from cipherward_chain.state_proof import StateProofRejected, verify_state_proof
from cipherward_chain.wire import NANOS
from cipherward_client.sdk.certified import StateUnproven
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import CheckFailed
from cipherward_client.sdk.ledger_calls import BEHIND, from_any_ledger
from cipherward_client.sdk.retries import AWAY_SECONDS
from cipherward_kit.errors import reason_of

# The block after the state's is made within a second, but on a machine with much other work
# validators take several to agree.
FOLLOWING_SECONDS = 15.0
HEADER_SECONDS = AWAY_SECONDS + FOLLOWING_SECONDS  # through the restart of the only ledger


class StateTooOld(CheckFailed):
    """The newest certified header is older than silence may last: the answer may be outdated."""

    reason = "STATE_TOO_OLD"


@dataclass(frozen=True, slots=True)
class ProvenEntries:
    """Values by state key (None: the state has none), as of a certified header of that height and
    time.
    """

    height: int
    time_seconds: int
    values: Mapping[bytes, bytes | None]


async def prove(
    alliance: Alliance, state: contract_pb.ProvenState, keys: Sequence[bytes]
) -> ProvenEntries:
    """Return the values of `keys` in a state that a certified and recent header names.

    Raises:
        StateUnproven: a proof is missing or does not lead to such a header.
        StateTooOld: the newest header is older than the alliance's bound of silence.
        AioRpcError: no ledger answers.
    """
    proofs = {proof.key: proof for proof in state.proofs}
    values: dict[bytes, bytes | None] = {}
    for key in keys:
        if key not in proofs:
            raise StateUnproven("an entry is not proven")
        try:
            values[key] = verify_state_proof(proofs[key], state.app_hash, key)
        except StateProofRejected as error:
            raise StateUnproven(str(error)) from error
    certifying = await _certifying(alliance, state)
    return ProvenEntries(certifying.height, certifying.time_ns // NANOS, values)


async def _certifying(alliance: Alliance, state: contract_pb.ProvenState) -> LightBlock:
    """Return the verified header that names the state's app hash.

    That is the header after the state's height. An empty block changes no state, so while the
    alliance is idle it is the newest header there is.
    """
    newest = await _light_block(alliance, 0)
    oldest = alliance.now() - alliance.genesis.parameters.fresh_seconds - CLOCK_DRIFT_SECONDS
    if newest.time_ns < oldest * NANOS:
        raise StateTooOld("the ledger's newest header is too old")
    if newest.header.app_hash == state.app_hash:
        return newest
    try:
        following = await _light_block(alliance, state.height + 1)
    except aio.AioRpcError as error:
        if reason_of(error) in BEHIND:
            raise StateUnproven("the chain has not certified that state") from error
        raise
    if following.header.app_hash != state.app_hash:
        raise StateUnproven("the chain certifies another state of that height")
    if following.time_ns < oldest * NANOS:
        raise StateTooOld("the state is too old")
    return following


async def _light_block(alliance: Alliance, height: int) -> LightBlock:
    request = pb.GetLightBlockRequest(height=height)
    answer = await from_any_ledger(
        alliance,
        lambda ledger, left: ledger.GetLightBlock(request, timeout=left),
        HEADER_SECONDS,
        behind_seconds=FOLLOWING_SECONDS,
    )
    try:
        block = LightBlock.parse(answer.light_block, alliance.chain_id)
    except BlockRejected as error:
        raise StateUnproven(str(error)) from error
    if height and block.height != height:
        raise StateUnproven("the ledger answers another header than was asked for")
    certifier = alliance.certifier
    if not certifier.knows(block):
        changes = await from_any_ledger(
            alliance,
            lambda ledger, left: ledger.GetValidatorChanges(
                pb.GetValidatorChangesRequest(), timeout=left
            ),
            HEADER_SECONDS,
        )
        certifier.learn(changes.changes)
    certifier.check(block)
    return block
