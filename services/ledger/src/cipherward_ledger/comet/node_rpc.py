"""The node's RPC, over a unix socket in its folder: nobody but this user reaches it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import aiohttp
from pydantic import BaseModel, ValidationError

from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.comet import (
    VALIDATORS_MAX,
    ValidatorSet,
    ValidatorsMalformed,
    header_hash,
)
from cipherward_chain.wire import exact_bytes
from cipherward_ledger.comet.json_form import (
    BlockAnswer,
    CommitAnswer,
    ErrorJson,
    StatusAnswer,
    ValidatorsAnswer,
)
from cipherward_ledger.comet.node_config import RPC_SOCKET
from cipherward_ledger.comet.sockets import short_path

A = TypeVar("A", bound=BaseModel)

# The node answers from its memory or its disk in milliseconds; a loaded machine takes longer.
CALL_SECONDS = 5.0
# At once: the collector, the broadcaster and the status; one more of each costs nothing.
CONNECTIONS_MAX = 8


class NodeAway(Exception):
    """The node does not answer: it starts, it ends, or it is overloaded."""


class NodeRefuses(Exception):
    """The node answers with an error: it does not have what it is asked for."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """Where the node stands; `catching_up`: it fetches blocks that the others have decided."""

    height: int
    catching_up: bool


@dataclass(frozen=True, slots=True)
class Certified:
    """A decided block's header and commit, parsed and serialised; the commit names the header."""

    header: comet.Header
    header_bytes: bytes
    commit_bytes: bytes


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    parameters: dict[str, object]


class NodeRpc:
    """Asks the node. Every method raises NodeAway when there is no answer in time."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def status(self) -> NodeStatus:
        """Return where the node stands."""
        answer = await self._one(StatusAnswer, "status", {})
        return NodeStatus(answer.sync_info.latest_block_height, answer.sync_info.catching_up)

    async def commits(self, heights: Sequence[int]) -> list[Certified]:
        """Return headers and commits of decided blocks, in order.

        Raises:
            NodeRefuses: it does not have one of them, or one does not certify its header.
        """
        calls = [_Call("commit", {"height": str(height)}) for height in heights]
        return [_certified(_read(CommitAnswer, one)) for one in await self._ask(calls)]

    async def transactions(self, height: int) -> tuple[bytes, ...]:
        """Return the transactions of a decided block, or raise NodeRefuses."""
        answer = await self._one(BlockAnswer, "block", {"height": str(height)})
        return answer.block.data.txs

    async def evidence(self, height: int) -> bytes:
        """Return what a decided block holds against validators, in the node's JSON."""
        answer = await self._one(BlockAnswer, "block", {"height": str(height)})
        return json.dumps(answer.block.evidence, indent=1).encode()

    async def validators(self, height: int) -> ValidatorSet:
        """Return the validators of a height, or raise NodeRefuses."""
        parameters: dict[str, object] = {"height": str(height), "per_page": str(VALIDATORS_MAX)}
        answer = await self._one(ValidatorsAnswer, "validators", parameters)
        try:
            return answer.validator_set()
        except ValidatorsMalformed as error:
            raise NodeRefuses(f"its validators of height {height}: {error}") from None

    async def broadcast(self, contents: Sequence[bytes]) -> list[str]:
        """Hand transactions to the node; return why each was not taken, "" if it was."""
        calls = [
            _Call("broadcast_tx_async", {"tx": base64.b64encode(content).decode()})
            for content in contents
        ]
        refusals: list[str] = []
        for answer in await self._ask(calls):
            error = answer.get("error")
            found = "" if error is None else _refusal(error)
            refusals.append(found)
        return refusals

    async def _one(self, kind: type[A], method: str, parameters: dict[str, object]) -> A:
        (answer,) = await self._ask([_Call(method, parameters)])
        return _read(kind, answer)

    async def _ask(self, calls: Sequence[_Call]) -> list[dict[str, object]]:
        """Ask several things at once; return the answers in order."""
        batch = [
            {"jsonrpc": "2.0", "id": at, "method": call.method, "params": call.parameters}
            for at, call in enumerate(calls)
        ]
        try:
            async with asyncio.timeout(CALL_SECONDS):
                async with self._session.post("http://node/", json=batch) as response:
                    raw = await response.content.read(-1)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NodeAway(type(error).__name__) from None
        answers = _answers(raw)
        if [answer.get("id") for answer in answers] != list(range(len(calls))):
            raise NodeAway("it answers something else")
        return answers


@asynccontextmanager
async def open_node_rpc(folder: Path) -> AsyncGenerator[NodeRpc]:
    """Open the RPC of the node in `folder`, which may start later."""
    with short_path(folder / RPC_SOCKET) as name:
        connector = aiohttp.UnixConnector(path=name, limit=CONNECTIONS_MAX)
        async with aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=CALL_SECONDS)
        ) as session:
            yield NodeRpc(session)


def _answers(raw: bytes) -> list[dict[str, object]]:
    """Return the answers in a body: an array, or the object alone where there was one question."""
    try:
        body: object = json.loads(raw)
    except ValueError:
        raise NodeAway("it does not answer in JSON") from None
    found = cast("list[object]", body) if isinstance(body, list) else [body]
    return [cast("dict[str, object]", one) for one in found if isinstance(one, dict)]


def _read(kind: type[A], answer: dict[str, object]) -> A:
    error = answer.get("error")
    if error is not None:
        raise NodeRefuses(_refusal(error))
    try:
        return kind.model_validate(answer.get("result"))
    except ValidationError as faults:
        where = faults.errors(include_input=False, include_url=False)[0]["loc"]
        raise NodeRefuses(f"its answer is out of form at {where}") from None


def _refusal(error: object) -> str:
    """Return the node's words for a refusal; never empty."""
    try:
        told = ErrorJson.model_validate(error)
    except ValidationError:
        return "unknown"
    return told.data or told.message or "unknown"


def _certified(answer: CommitAnswer) -> Certified:
    header = answer.signed_header.header.message()
    commit = answer.signed_header.commit.message()
    if header_hash(header) != commit.block_id.hash or header.height != commit.height:
        raise NodeRefuses(f"its commit of height {header.height} is not for its header")
    return Certified(header, exact_bytes(header), exact_bytes(commit))
