"""The peer of record transfers: takes and gives the same bytes in the clear, in its own process.

Beside it a real storage service is measured. So the channel is the same (gRPC, the services' own
mutual TLS), messages have the same size, and what is put is on the disk (fdatasync) when it is
answered; there is no encryption of the content, no hash, no database and no chain.

    python -m bench.clear_peer PARENT_PID ADDRESS FOLDER ALLIANCE_FOLDER MEMBER
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from cipherward_chain.genesis import Genesis
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_kit.credentials import server_credentials
from cipherward_kit.parent import die_with_parent
from cipherward_kit.server import KEEPALIVE_OPTIONS
from cipherward_kit.tls import Identity, TrustRegistry

SERVICE = "bench.ClearPeer"
PUT, GET = f"/{SERVICE}/Put", f"/{SERVICE}/Get"
SHOWN_AS = "storage"  # whose certificate it shows
PART_BYTES = 1 << 20  # as the parts of a record
DONE = b"done"
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
GRACE_SECONDS = 1.0


class ClearPeer:
    """Files, written and read as they come; the newest is what is got.

    Each put makes a file of its own, as a record has: one that takes the place of a deleted one
    would find its pages in the cache, and a page that the machine has not used yet costs more than
    all the rest of writing it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = 0

    @property
    def _path(self) -> Path:
        return self._folder / f"in-the-clear-{self._files}"

    async def put(self, parts: AsyncIterator[bytes], context: Any) -> bytes:
        """Write the stream to a new file; answer when it is on the disk."""
        self._files += 1
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            async for part in parts:
                await asyncio.to_thread(os.write, descriptor, part)
            await asyncio.to_thread(os.fdatasync, descriptor)
        finally:
            os.close(descriptor)
        return DONE

    async def get(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Send the file."""
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            while part := await asyncio.to_thread(os.read, descriptor, PART_BYTES):
                yield part
        finally:
            os.close(descriptor)


async def serve(address: str, folder: Path, alliance: AllianceFolder, member: str) -> None:
    """Serve until SIGTERM."""
    genesis = Genesis.parse(alliance.genesis_file.read_bytes())
    registry = TrustRegistry(
        {found.id: found.ca_certificate.encode() for found in genesis.members.values()}
    )
    identity = Identity.from_files(*alliance.member(member).certificate(SHOWN_AS))
    options = [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX), *KEEPALIVE_OPTIONS]
    peer, server = ClearPeer(folder), aio.server(options=options)
    handlers: dict[str, Any] = {  # grpc's handlers have no types without serialisers
        "Put": grpc.stream_unary_rpc_method_handler(peer.put),
        "Get": grpc.unary_stream_rpc_method_handler(peer.get),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_secure_port(address, server_credentials(identity, registry))
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await server.start()
    print("serving", flush=True)
    await stopped.wait()
    await server.stop(GRACE_SECONDS)


if __name__ == "__main__":
    parent, place, target, root, served_member = sys.argv[1:]
    die_with_parent(int(parent))
    asyncio.run(serve(place, Path(target), AllianceFolder(Path(root)), served_member))
