"""What the node's state sync asks of other nodes' RPC, answered from headers that were believed.

CometBFT's light client wants two RPC servers of other members; no member exposes its node's. So the
ledger answers in their place, on unix sockets in the node's folder, and translates what the other
members' ledgers say after it has verified it. The node verifies it again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

import structlog
from aiohttp import web

from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.comet import ValidatorSet, address, header_time_ns
from cipherward_chain.rfc3339 import format_time
from cipherward_chain.wire import NANOS
from cipherward_ledger.comet.node_files import KEY_TYPE
from cipherward_ledger.comet.priorities import Turn
from cipherward_ledger.comet.sockets import short_path
from cipherward_ledger.comet.state_headers import StateHeaders
from cipherward_ledger.comet.verified_headers import NoHeaderBelieved

REQUEST_BYTES_MAX = 64 * 1024  # the node's questions have a few hundred
GO_ZERO_TIME = "0001-01-01T00:00:00Z"  # of a vote that is absent
INVALID_PARAMETERS, INTERNAL_ERROR = -32602, -32603  # JSON-RPC 2.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class LightProxy:
    """One RPC server, as far as a light client looks."""

    def __init__(self, headers: StateHeaders, consensus_params: Mapping[str, object]) -> None:
        """Describe the server.

        Args:
            headers: what it answers from.
            consensus_params: the genesis's, which nothing but the machine's version changes.
        """
        self._headers = headers
        self._consensus_params = consensus_params

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one JSON-RPC call."""
        call: dict[str, object] = json.loads(await request.read())
        answer: dict[str, object] = {"jsonrpc": "2.0", "id": call.get("id")}
        try:
            parameters = cast("dict[str, object]", call["params"])
            height = int(str(parameters["height"]))
        except (KeyError, TypeError, ValueError):
            answer["error"] = {"code": INVALID_PARAMETERS, "message": "Invalid params", "data": ""}
            return web.json_response(answer)
        try:
            answer["result"] = await self._result(call.get("method"), height)
        except NoHeaderBelieved as error:
            # The words by which CometBFT's client knows that a height is missing.
            answer["error"] = {
                "code": INTERNAL_ERROR,
                "message": "Internal error",
                "data": str(error),
            }
        return web.json_response(answer)

    async def _result(self, method: object, height: int) -> dict[str, object]:
        match method:
            case "commit":
                block = await self._headers.light_block(height)
                return {
                    "signed_header": {
                        "header": header_json(block.header),
                        "commit": commit_json(block.commit),
                    },
                    "canonical": True,
                }
            case "validators":
                block = await self._headers.light_block(height)
                turn = await self._headers.turn(block)
                count = str(len(block.validators.validators))
                return {
                    "block_height": str(block.height),
                    "validators": validators_json(block.validators, turn),
                    "count": count,
                    "total": count,
                }
            case "consensus_params":
                block = await self._headers.light_block(height)
                version = {"app": str(block.header.version.app)}
                return {
                    "block_height": str(block.height),
                    "consensus_params": {**self._consensus_params, "version": version},
                }
            case _:
                raise NoHeaderBelieved("no other method is available")


@asynccontextmanager
async def serve_light_proxies(
    folder: Path, proxies: Mapping[str, LightProxy]
) -> AsyncGenerator[None]:
    """Serve each proxy on the unix socket of its name in `folder`, for this user alone."""
    async with AsyncExitStack() as stack:
        for name, proxy in proxies.items():
            application = web.Application(client_max_size=REQUEST_BYTES_MAX)
            application.router.add_post("/{path:.*}", proxy.handle)
            runner = web.AppRunner(application, access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            path = folder / name
            path.unlink(missing_ok=True)  # of a ledger that was killed
            stack.callback(path.unlink, missing_ok=True)
            # The folder is this user's alone.
            address_of = stack.enter_context(short_path(path))
            await web.UnixSite(runner, address_of).start()
        yield


def consensus_params(document: bytes) -> Mapping[str, object]:
    """Return the consensus parameters of a genesis document."""
    return json.loads(document)["consensus_params"]


def header_json(header: comet.Header) -> dict[str, object]:
    """Return a header as CometBFT writes it."""
    return {
        "version": {"block": str(header.version.block), "app": str(header.version.app)},
        "chain_id": header.chain_id,
        "height": str(header.height),
        "time": format_time(header_time_ns(header)),
        "last_block_id": _block_id(header.last_block_id),
        "last_commit_hash": _hexadecimal(header.last_commit_hash),
        "data_hash": _hexadecimal(header.data_hash),
        "validators_hash": _hexadecimal(header.validators_hash),
        "next_validators_hash": _hexadecimal(header.next_validators_hash),
        "consensus_hash": _hexadecimal(header.consensus_hash),
        "app_hash": _hexadecimal(header.app_hash),
        "last_results_hash": _hexadecimal(header.last_results_hash),
        "evidence_hash": _hexadecimal(header.evidence_hash),
        "proposer_address": _hexadecimal(header.proposer_address),
    }


def commit_json(commit: comet.Commit) -> dict[str, object]:
    """Return a commit as CometBFT writes it."""
    return {
        "height": str(commit.height),
        "round": commit.round,
        "block_id": _block_id(commit.block_id),
        "signatures": [_signature(one) for one in commit.signatures],
    }


def validators_json(validators: ValidatorSet, turn: Turn) -> Sequence[Mapping[str, object]]:
    """Return a set as CometBFT writes it, with whose turn it is to propose."""
    return [
        {
            "address": _hexadecimal(one.address),
            "pub_key": {
                "type": KEY_TYPE,
                "value": base64.b64encode(one.public_key).decode(),
            },
            "voting_power": str(one.power),
            "proposer_priority": str(turn.priorities[address(one.public_key)]),
        }
        for one in validators.validators
    ]


def _signature(signature: comet.CommitSig) -> dict[str, object]:
    absent = signature.block_id_flag == comet.BLOCK_ID_FLAG_ABSENT
    when = signature.timestamp
    time_ns = when.seconds * NANOS + when.nanos
    return {
        "block_id_flag": int(signature.block_id_flag),
        "validator_address": _hexadecimal(signature.validator_address),
        "timestamp": GO_ZERO_TIME if absent else format_time(time_ns),
        "signature": None if absent else base64.b64encode(signature.signature).decode(),
    }


def _block_id(block_id: comet.BlockId) -> dict[str, object]:
    parts = block_id.part_set_header
    return {
        "hash": _hexadecimal(block_id.hash),
        "parts": {"total": parts.total, "hash": _hexadecimal(parts.hash)},
    }


def _hexadecimal(octets: bytes) -> str:
    return octets.hex().upper()
