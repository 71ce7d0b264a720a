"""What may be in a block: CheckTx, PrepareProposal and ProcessProposal.

All three rest on `Verifier`, which is stateless and independent of time, so that every member says
the same of the same bytes. A block's time and the state are contract's to judge, in execution: a
transaction that has expired, or is there again, is refused by a result, never by a vote.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from cipherward.comet.v1 import abci_pb2 as abci
from cipherward_chain.wire import timestamp_ns
from cipherward_ledger.clock import Clock
from cipherward_ledger.comet.metrics import CHECKS_REFUSED, PROPOSALS_LATE, PROPOSALS_REFUSED
from cipherward_ledger.errors import TransactionExpired
from cipherward_ledger.mempool import FRAME_BYTES
from cipherward_ledger.verification import Verified, Verifier

# Everything in the node's mempool was verified when it came in, so this is a look into memory; a
# proposer that takes as long as the others wait for it (1 s) loses its turn.
PREPARE_SECONDS = 0.5
# A block that needs longer is voted down, as if identity were away; meanwhile gossip goes on, and
# the next proposer's block of the same transactions finds them verified.
PROCESS_SECONDS = 5.0
# Expired transactions that a block carries so that every mempool is rid of them: the node has no
# other way to drop one, and would offer them for ever. Contract refuses each for next to nothing.
EXPIRED_MAX = 100
REFUSED = 1  # any code but 0
GAS = 1  # the node's default limit is none, and it wants a number

TAKEN = abci.ResponseCheckTx(gas_wanted=GAS)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Proposals:
    """Answers the node's questions about transactions."""

    def __init__(self, verifier: Verifier, clock: Clock, transactions_max: int) -> None:
        """`transactions_max` is how many this member puts in a block that it proposes."""
        self._verifier = verifier
        self._clock = clock
        self._transactions_max = transactions_max

    async def check(self, contents: Sequence[bytes]) -> list[abci.ResponseCheckTx]:
        """Say of each transaction whether it may be in the mempool, and go on to the others'."""
        verified = await self._verifier.verify(contents)
        now_ns = self._clock.now_ns()
        return [self._checked(one, now_ns) for one in verified]

    def _checked(self, one: Verified, now_ns: int) -> abci.ResponseCheckTx:
        refusal = one.refusal
        if refusal is None and one.entry is not None and one.entry.expires_ns < now_ns:
            refusal = TransactionExpired("the transaction has expired")
        if refusal is None:
            return TAKEN
        CHECKS_REFUSED.labels(refusal.reason).inc()
        return abci.ResponseCheckTx(code=REFUSED, codespace=refusal.reason)

    async def prepare(self, request: abci.RequestPrepareProposal) -> abci.ResponsePrepareProposal:
        """Choose the block's transactions from what the node offers, in its order.

        The node offers as many bytes as a block may have, which under load is several blocks by the
        number of transactions: what comes after enough of them is not looked at.
        """
        most = self._transactions_max
        offered = request.txs[: 2 * (most + EXPIRED_MAX)]
        choice = _Choice(timestamp_ns(request.time), request.max_tx_bytes, most)
        try:
            async with asyncio.timeout(PREPARE_SECONDS):
                for at in range(0, len(offered), most):
                    for one in await self._verifier.verify(offered[at : at + most]):
                        choice.offer(one)
                    if choice.full:
                        break
        except TimeoutError:
            PROPOSALS_LATE.inc()
        return abci.ResponsePrepareProposal(txs=choice.chosen)

    async def process(self, request: abci.RequestProcessProposal) -> abci.ResponseProcessProposal:
        """Vote on a proposed block by its transactions."""
        try:
            async with asyncio.timeout(PROCESS_SECONDS):
                verified = await self._verifier.verify(request.txs)
        except TimeoutError:
            return _voted_down(request.height, "LATE")
        ids: set[bytes] = set()
        for one in verified:
            if one.refusal is not None or one.entry is None:
                why = "MALFORMED" if one.refusal is None else one.refusal.reason
                return _voted_down(request.height, why)
            if one.entry.id in ids:
                return _voted_down(request.height, "ID_TWICE")
            ids.add(one.entry.id)
        return abci.ResponseProcessProposal(status=abci.PROPOSAL_STATUS_ACCEPT)


class _Choice:
    """The transactions of a block that is being proposed."""

    def __init__(self, time_ns: int, bytes_max: int, transactions_max: int) -> None:
        self._time_ns = time_ns
        self._bytes_left = bytes_max
        self._transactions_max = transactions_max
        self._expired_left = EXPIRED_MAX
        self._ids: set[bytes] = set()
        self.chosen: list[bytes] = []
        self.full = False

    def offer(self, one: Verified) -> None:
        """Choose a transaction, if it is valid, new here, and the block has room for it."""
        entry = one.entry
        if self.full or one.refusal is not None or entry is None or entry.id in self._ids:
            return
        if entry.expires_ns < self._time_ns:
            if not self._expired_left:
                return
            self._expired_left -= 1
        self._bytes_left -= len(entry.content) + FRAME_BYTES
        if self._bytes_left < 0:
            self.full = True
            return
        self._ids.add(entry.id)
        self.chosen.append(entry.content)
        self.full = len(self.chosen) == self._transactions_max


def _voted_down(height: int, why: str) -> abci.ResponseProcessProposal:
    PROPOSALS_REFUSED.labels(why).inc()
    log.warning("proposal_refused", height=height, why=why)
    return abci.ResponseProcessProposal(status=abci.PROPOSAL_STATUS_REJECT)
