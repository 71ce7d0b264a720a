"""For tests: a node's RPC that answers what a real one once answered, and takes transactions."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from aiohttp import web

from cipherward_ledger.comet.node_config import RPC_SOCKET
from cipherward_ledger.comet.node_rpc import NodeRpc, open_node_rpc
from cipherward_ledger.comet.sockets import short_path

Json = dict[str, object]


@dataclass
class RecordedNode:
    """What the node answers, by method, or by method and height.

    handed: the transactions that it was handed, in order, repetitions included.
    full: it takes none. known: hashes of those in its mempool.
    """

    answers: Mapping[str, Json]
    handed: list[bytes] = field(default_factory=list[bytes])
    known: set[bytes] = field(default_factory=set[bytes])
    full: bool = False

    async def post(self, request: web.Request) -> web.Response:
        """Answer a request of one or several questions."""
        asked = cast("list[Json]", json.loads(await request.read()))
        answers = [{"jsonrpc": "2.0", "id": one["id"], **self._answer(one)} for one in asked]
        # As CometBFT does: one question, one object.
        return web.json_response(answers if len(answers) > 1 else answers[0])

    def _answer(self, asked: Json) -> Json:
        method, parameters = cast(str, asked["method"]), cast("Json", asked["params"])
        if method == "broadcast_tx_async":
            return self._take(base64.b64decode(cast(str, parameters["tx"])))
        named = f"{method} {parameters.get('height', '')}"
        return self.answers.get(named) or self.answers.get(method) or _error("it has none")

    def _take(self, content: bytes) -> Json:
        if self.full:
            return _error("mempool is full: number of txs 1 (max: 1)")
        self.handed.append(content)
        digest = hashlib.sha256(content).digest()
        if digest in self.known:
            return _error("tx already exists in cache")
        self.known.add(digest)
        return {"result": {"code": 0, "hash": digest.hex().upper()}}


def _error(data: str) -> Json:
    return {"error": {"code": -32603, "message": "Internal error", "data": data}}


@asynccontextmanager
async def serve_recorded(folder: Path, node: RecordedNode) -> AsyncGenerator[NodeRpc]:
    """Serve `node` in a folder while the context is open; give what asks it."""
    application = web.Application(client_max_size=16 * 1024 * 1024)
    application.router.add_post("/", node.post)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        with short_path(folder / RPC_SOCKET) as name:
            await web.UnixSite(runner, name).start()
            async with open_node_rpc(folder) as rpc:
                yield rpc
    finally:
        await runner.cleanup()
