"""Questions that need a right: signed like a transaction, never submitted, answered once each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Protocol, TypeVar

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.authorization import Signer
from cipherward_chain.reads import build_read
from cipherward_chain.wire import NANOS
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.credentials import register_pseudonym
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.retries import patiently
from cipherward_client.wallet.scopes import record_scope
from cipherward_client.wallet.wallet import Wallet


class Page(Protocol):
    """One page of a list; the token is empty on the last."""

    @property
    def next_page_token(self) -> str:
        """What asks for the page after it."""
        ...


T = TypeVar("T")
P = TypeVar("P", bound=Page)

QUESTION_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and on which connection."""

    alliance: Alliance
    signer: Signer

    @classmethod
    async def owner(cls, alliance: Alliance, wallet: Wallet, record_id: bytes) -> Asker:
        """Return a record's owner, whose key must be registered in this epoch to be answered."""
        return await cls.pseudonym(alliance, wallet, record_scope(record_id))

    @classmethod
    async def pseudonym(cls, alliance: Alliance, wallet: Wallet, scope: str) -> Asker:
        """Return the pseudonym of a scope, registered in this epoch."""
        wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
        await register_pseudonym(alliance, wallet, scope)
        return cls(alliance, wallet.signer(scope))

    @classmethod
    def member(cls, hospital: Hospital) -> Asker:
        """Return a member itself."""
        return cls(hospital.alliance, hospital.signer)

    def read(
        self, method: str, object_id: bytes, order: tuple[int, int] | None = None
    ) -> chain_pb.AuthorizedRead:
        """Return a fresh question about an object.

        Args:
            method: the full name of the RPC.
            order: (height, index) of the order that gives the right, if one does.
        """
        return build_read(
            method,
            object_id,
            chain_id=self.alliance.chain_id,
            signer=self.signer,
            time_ns=int(self.alliance.now() * NANOS),
            order=order,
        )


async def ask(
    asker: Asker,
    method: str,
    object_id: bytes,
    call: Callable[[chain_pb.AuthorizedRead, float], Awaitable[T]],
    *,
    order: tuple[int, int] | None = None,
    not_yet: Collection[str] = (),
) -> T:
    """Return the answer to a question, asked afresh while the refusal is a passing one.

    Args:
        call: gets the question and the seconds left.
        not_yet: reasons that pass here.

    Raises:
        AioRpcError: the last refusal.
    """
    return await patiently(
        lambda left: call(asker.read(method, object_id, order), left),
        QUESTION_SECONDS,
        not_yet=not_yet,
    )


async def every_page(page: Callable[[str], Awaitable[P]]) -> AsyncGenerator[P]:
    """Yield the pages of a list, asked one after the other.

    Args:
        page: gets the token of the page that is wanted; the first one's is empty.
    """
    token = ""
    while True:
        found = await page(token)
        yield found
        token = found.next_page_token
        if not token:
            return
