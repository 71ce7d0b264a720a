"""The member's database: connection, deadlines, transactions, and what the driver's failures mean.

motor and pymongo are imported in this package only (docs/adr/0011). Writes are acknowledged by a
majority and journaled, reads see what a majority has: what we were told is there after a failover.
Every act has one deadline, retries included. An act goes on to its end when its caller is
cancelled, so that a session never has two users and nobody writes after whoever comes next.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeAlias, TypeVar, cast

import pymongo
import structlog
from bson.errors import InvalidBSON
from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorClientSession,
    AsyncIOMotorCollection,
)
from pymongo import ReplaceOne, UpdateOne, WriteConcern
from pymongo.errors import ConfigurationError, ConnectionFailure, InvalidURI, PyMongoError
from pymongo.read_concern import ReadConcern

from cipherward_kit.client_pair import ClientPair
from cipherward_storage.errors import StoreAway, StoreUnusable
from cipherward_storage.mongo.failures import TRANSIENT, meaning_of
from cipherward_storage.mongo.layout import INDEXES, open_home
from cipherward_storage.mongo.settings import MongoSettings
from cipherward_storage.place import StoreOwner

Document: TypeAlias = dict[str, Any]
Collection: TypeAlias = "AsyncIOMotorCollection[Document]"
Session: TypeAlias = AsyncIOMotorClientSession | None  # None: the server has no transactions
Write: TypeAlias = UpdateOne | ReplaceOne[Document]
Result = TypeVar("Result")

DURABLE = WriteConcern(w="majority", j=True)
# Between two attempts of a transaction that met another one; each attempt waits this much longer.
CONFLICT_SECONDS = 0.002

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class MongoDatabase:
    """One member's database; enter it to open. The server need not be there yet."""

    def __init__(
        self, settings: MongoSettings, owner: StoreOwner, *, transactions: bool | None = None
    ) -> None:
        """Describe the connection.

        Args:
            settings: where and how.
            owner: whose database it must be; an empty one becomes theirs.
            transactions: whether to use them; None: whether the server has them.

        Raises:
            StoreUnusable: the driver cannot make sense of the settings.
        """
        self._settings = settings
        self._owner = owner
        self._wanted = transactions
        self._client = _client(settings)
        self._pair = _pair(settings, self._client)
        self._following = AsyncExitStack()
        self._database = self._client[settings.database]
        self._running: set[asyncio.Future[Any]] = set()
        self._lost: list[Mapping[str, Any]] = []  # sessions of transactions that were cut off
        self._opening = asyncio.Lock()
        self._opened = False
        self.transactions = False  # known once opened

    async def __aenter__(self) -> MongoDatabase:
        """Check and prepare the database if it answers, else at its first answer.

        Raises:
            StoreUnusable: it is another owner's, or a newer release wrote it.
        """
        try:
            await self.run(_nothing)
        except StoreAway:
            log.warning("store_away_at_start")
        except BaseException:
            self._client.close()
            raise
        if self._pair is not None:
            await self._following.enter_async_context(self._pair.followed())
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Let what runs end, and disconnect."""
        await self._following.aclose()
        if self._running:
            await asyncio.wait(set(self._running))
        self._client.close()

    def collection(self, name: str) -> Collection:
        """Return a collection; use it inside `run` or `atomically`."""
        return self._database[name]

    async def bulk(self, name: str, requests: Sequence[Write], session: Session = None) -> None:
        """Do writes to a collection in any order; use it as `collection`.

        Raises:
            pymongo.errors.BulkWriteError: some of them failed, the others are done.
        """
        if requests:
            collection = self.collection(name)
            await collection.bulk_write(requests, ordered=False, session=session)  # pyright: ignore[reportUnknownMemberType] - motor's stub leaves a parameter's type open

    async def run(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Do `work` within one deadline, to its end also if we are cancelled.

        Raises:
            StoreAway: the server did not answer in time; whether a write was done is open.
            DiskFull: the server has no room.
            pymongo.errors.DuplicateKeyError: of a unique index; the caller knows what it means.
        """
        running = asyncio.ensure_future(self._bounded(work))
        self._running.add(running)
        running.add_done_callback(self._ended)
        return await asyncio.shield(running)

    async def atomically(self, work: Callable[[Session], Awaitable[Result]]) -> Result:
        """Do `work` in one transaction, as often as others get in its way.

        On a server without transactions `work` is done with the session None, step after step: its
        order makes a stop after any step safe.

        Raises:
            As `run`.
        """

        async def whole() -> Result:
            if not self.transactions:
                return await work(None)
            return await self._transaction(work)

        return await self.run(whole)

    async def _bounded(self, work: Callable[[], Awaitable[Result]]) -> Result:
        with pymongo.timeout(self._settings.timeout_seconds):
            try:
                if not self._opened:
                    await self._open()
                await self._end_lost()
                return await work()
            except (PyMongoError, InvalidBSON) as error:
                raise meaning_of(error) from None

    async def _transaction(self, work: Callable[[Session], Awaitable[Result]]) -> Result:
        ends = asyncio.get_running_loop().time() + self._settings.timeout_seconds
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._end_lost()
                return await self._attempt(work)
            except PyMongoError as error:
                again = error.has_error_label(TRANSIENT)
                if not again or asyncio.get_running_loop().time() >= ends:
                    raise
            await asyncio.sleep(CONFLICT_SECONDS * attempt)

    async def _attempt(self, work: Callable[[Session], Awaitable[Result]]) -> Result:
        async with await self._client.start_session() as session:
            try:
                async with session.start_transaction(ReadConcern("snapshot"), DURABLE):
                    return await work(session)
            except ConnectionFailure:
                # The stub takes the property for a method.
                self._lost.append(cast("Mapping[str, Any]", session.session_id))
                raise

    async def _end_lost(self) -> None:
        """End the transactions whose connection was lost: the server would keep them for a minute,
        and with them everybody else from what they have written."""
        if self._lost:
            lost = list(self._lost)
            await self._client.admin.command("killSessions", lost)
            self._lost = [one for one in self._lost if one not in lost]

    async def _open(self) -> None:
        """Find out what the server can do, and make indexes; once for all tasks."""
        async with self._opening:
            if self._opened:
                return
            hello: Document = await self._client.admin.command("hello")
            replicated = "setName" in hello or hello.get("msg") == "isdbgrid"
            sessions = hello.get("logicalSessionTimeoutMinutes") is not None
            able = replicated and sessions
            self.transactions = able if self._wanted is None else self._wanted
            self._database = self._client.get_database(
                self._settings.database,
                write_concern=DURABLE,
                # A server alone has nobody to be confirmed by.
                read_concern=ReadConcern("majority") if replicated else None,
            )
            for name, indexes in INDEXES.items():
                await self.collection(name).create_indexes(list(indexes))
            await open_home(self.collection("home"), self._owner, self._settings.database)
            self._opened = True
            log.info("store_opened", transactions=self.transactions)

    def _ended(self, running: asyncio.Future[Any]) -> None:
        self._running.discard(running)
        if not running.cancelled():
            running.exception()  # whoever still waits gets it; nobody else misses it


async def _nothing() -> None:
    return


def _client(settings: MongoSettings) -> AsyncIOMotorClient[Document]:
    """Return the client; it connects at its first use.

    What we rely on (who acknowledges, where we read, what is retried) overrides the URI; hosts,
    account and authentication are the URI's.
    """
    milliseconds = round(settings.timeout_seconds * 1000)
    options: Document = {
        "appname": "cipherward-storage",
        "connectTimeoutMS": milliseconds,
        "maxPoolSize": settings.pool_max,
        "readPreference": "primary",
        "retryReads": True,
        "retryWrites": True,
        "serverSelectionTimeoutMS": milliseconds,
        "socketTimeoutMS": milliseconds,
        "waitQueueTimeoutMS": milliseconds,
    }
    if settings.ca_file is not None or settings.certificate_file is not None:
        options["tls"] = True
        options["tlsAllowInvalidCertificates"] = False
        options["tlsAllowInvalidHostnames"] = False
    if settings.ca_file is not None:
        options["tlsCAFile"] = str(settings.ca_file)
    if settings.certificate_file is not None:
        options["tlsCertificateKeyFile"] = str(settings.certificate_file)
    try:
        return AsyncIOMotorClient(settings.uri, **options)
    except (InvalidURI, ConfigurationError, OSError, ValueError, TypeError) as error:
        # Their texts may repeat the URI, and with it the password.
        raise StoreUnusable(
            f"the connection string or the TLS files of the database are of no use "
            f"({type(error).__name__}); check CIPHERWARD_MONGO_URI_FILE and the MONGO_ settings"
        ) from None


def _pair(settings: MongoSettings, client: AsyncIOMotorClient[Document]) -> ClientPair | None:
    """Return our certificate, which the client has loaded; None if there is none."""
    if settings.certificate_file is None:
        return None
    # The driver reads the file once and names no way to change it; its connections take the context
    # that its pools were made with.
    context: ssl.SSLContext | None = client.delegate.options.pool_options._ssl_context
    assert context is not None  # with a certificate TLS is on
    return ClientPair(context, settings.certificate_file)
