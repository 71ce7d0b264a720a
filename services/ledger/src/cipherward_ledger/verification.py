"""Verification: whether bytes are a valid transaction, whatever the time and the state.

Valid once is valid for ever, so what was found valid is remembered by its hash. The hash is that of
all its bytes: another authorization of the same body is another transaction here.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cipherward_chain.authorization import PresentationClaim
from cipherward_kit.errors import ServiceError
from cipherward_ledger.checks import (
    REJECTED,
    Checked,
    InForm,
    Malformed,
    Rules,
    check_all,
    refuse_time,
)
from cipherward_ledger.errors import AuthorizationRejected, IdentityAway
from cipherward_ledger.mempool import Entry
from cipherward_ledger.metrics import VERIFICATIONS
from cipherward_ledger.presentations import PresentationVerifier

# One thread's piece of a batch, about 3 ms: small enough that callers share the threads fairly.
PIECE = 32
# Twice what the outbox holds by default: one's own and what others propose; about 12 MiB.
REMEMBERED_MAX = 40_000


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found out about some bytes.

    entry: the transaction; None when they are none.
    refusal: None when it is valid; `IdentityAway` when that could not be told.
    """

    entry: Entry | None
    refusal: ServiceError | None


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept of a valid transaction."""

    id: bytes
    expires_ns: int


class Verifier:
    """Verifies transactions: form and signatures in threads, presentations through identity."""

    def __init__(
        self,
        rules: Rules,
        presentations: PresentationVerifier,
        remembered_max: int = REMEMBERED_MAX,
    ) -> None:
        self._rules = rules
        self._remembered_max = remembered_max
        self._presentations = presentations
        self._valid: OrderedDict[bytes, _Known] = OrderedDict()  # by hash, the longest unused first
        # Signatures are checked outside the GIL, so two threads use two cores.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="verification")

    def close(self) -> None:
        """End the threads; what they still check is given up."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def verify(self, contents: Sequence[bytes], now_ns: int | None = None) -> list[Verified]:
        """Return what each content is, in order.

        Args:
            contents: serialised transactions.
            now_ns: also refuse what expires before then or too long after, and do so before any
                signature is checked; None leaves time aside.
        """
        hashes = [hashlib.sha256(content).digest() for content in contents]
        found: list[Verified | None] = [
            self._recall(digest, content, now_ns)
            for digest, content in zip(hashes, contents, strict=True)
        ]
        unknown = [at for at, known in enumerate(found) if known is None]
        VERIFICATIONS.labels("remembered").inc(len(contents) - len(unknown))
        VERIFICATIONS.labels("checked").inc(len(unknown))
        if unknown:
            checked = await self._check([contents[at] for at in unknown], now_ns)
            for at, one in zip(unknown, await self._settle(checked), strict=True):
                found[at] = one
                if one.entry is not None and one.refusal is None:
                    self._remember(one.entry)
        return [one for one in found if one is not None]

    def _recall(self, digest: bytes, content: bytes, now_ns: int | None) -> Verified | None:
        known = self._valid.get(digest)
        if known is None:
            return None
        self._valid.move_to_end(digest)
        entry = Entry(known.id, digest, content, known.expires_ns)
        refusal = None if now_ns is None else refuse_time(entry.expires_ns, self._rules, now_ns)
        return Verified(entry, refusal)

    def _remember(self, entry: Entry) -> None:
        self._valid[entry.hash] = _Known(entry.id, entry.expires_ns)
        self._valid.move_to_end(entry.hash)
        if len(self._valid) > self._remembered_max:
            self._valid.popitem(last=False)

    async def _check(self, contents: Sequence[bytes], now_ns: int | None) -> list[Checked]:
        loop = asyncio.get_running_loop()
        pieces = [contents[at : at + PIECE] for at in range(0, len(contents), PIECE)]
        done = await asyncio.gather(
            *(
                loop.run_in_executor(self._threads, check_all, piece, self._rules, now_ns)
                for piece in pieces
            )
        )
        return [checked for piece in done for checked in piece]

    async def _settle(self, checked: Sequence[Checked]) -> list[Verified]:
        """Have the presentations verified, and say what each transaction is."""
        claims = [one.claim for one in checked if isinstance(one, InForm) and one.claim is not None]
        refusals = iter(await self._ask(claims) if claims else ())
        settled: list[Verified] = []
        for one in checked:
            if isinstance(one, Malformed):
                settled.append(Verified(None, one.refusal))
            elif one.claim is not None:
                settled.append(Verified(one.entry, next(refusals)))
            else:
                settled.append(Verified(one.entry, one.refusal))
        return settled

    async def _ask(self, claims: Sequence[PresentationClaim]) -> list[ServiceError | None]:
        try:
            valid = await self._presentations.verify(claims)
        except IdentityAway as away:
            return [away] * len(claims)
        return [None if verdict else AuthorizationRejected(REJECTED) for verdict in valid]
