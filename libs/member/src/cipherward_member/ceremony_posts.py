"""Sending what a member owes to a ceremony: signed, retried, anew when its time is over.

Nothing of it is on disk: what is owed follows from the log and the seed, and a message that the
chain took twice it refuses the second time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_chain.authorization import Signer
from cipherward_chain.transactions import build_transaction
from cipherward_member.reports import (
    EXPIRY_SECONDS,
    SUBMIT_SECONDS,
    TAKEN,
    TOO_LATE,
    SubmitBatch,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# A member owes a handful at once: an answer or a rebuilt share for each of 32 others at most.
OWED_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Owed:
    """A message that a member still has to say in the window that is open."""

    ceremony: bytes
    kind: str
    body: bytes


@dataclass(slots=True)
class _Sent:
    transaction: bytes
    expires: int
    taken: bool


class CeremonyPosts:
    """Sends the messages of one member. Used on the event loop only."""

    def __init__(
        self, signer: Signer, chain_id: str, block_seconds: Callable[[], int], submit: SubmitBatch
    ) -> None:
        """Describe the sending; `block_seconds` is the time of the newest proven header."""
        self._signer = signer
        self._chain_id = chain_id
        self._block_seconds = block_seconds
        self._submit = submit
        self._sent: dict[Owed, _Sent] = {}

    async def send(self, owed: Sequence[Owed]) -> int:
        """Send what the ledger has not taken yet, and forget what is owed no more.

        Args:
            owed: all that is still to be said, the same values as before where nothing changed.

        Returns:
            How many the ledger refused; they are tried again at the next call.

        Raises:
            grpc.aio.AioRpcError: the ledger does not answer.
        """
        wanted = list(dict.fromkeys(owed))[:OWED_MAX]
        self._sent = {one: sent for one, sent in self._sent.items() if one in wanted}
        now = self._block_seconds()
        for one in wanted:
            sent = self._sent.get(one)
            if sent is None or sent.expires < now:
                self._sent[one] = self._sign(one, now)
        refused = 0
        # One at a time: a deal is up to 40 kB, and a call takes 4 MiB at most.
        for one in wanted:
            sent = self._sent[one]
            if not sent.taken:
                refused += not await self._send(one, sent)
        return refused

    def _sign(self, one: Owed, now: int) -> _Sent:
        said = chain_pb.CeremonyMessage(instance_id=one.ceremony, kind=one.kind, body=one.body)
        expires = now + EXPIRY_SECONDS
        transaction = build_transaction(
            [chain_pb.Act(ceremony_message=said)],
            chain_id=self._chain_id,
            expires_at=expires,
            signer=self._signer,
        )
        return _Sent(transaction, expires, taken=False)

    async def _send(self, one: Owed, sent: _Sent) -> bool:
        request = ledger_pb.SubmitBatchRequest(transactions=[sent.transaction])
        answer = await self._submit(request, timeout=SUBMIT_SECONDS)
        reason = answer.verdicts[0].reason
        if reason in TAKEN:
            sent.taken = True
            return True
        log.warning("ceremony_message_refused", kind=one.kind, reason=reason)
        if reason in TOO_LATE:
            del self._sent[one]
        return False
