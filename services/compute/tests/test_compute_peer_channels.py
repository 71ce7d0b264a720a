"""Where a peer is may be said, and its certificates known, later than an order names it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from cipherward_chain.testing import make_genesis
from cipherward_compute.config import ComputeConfig
from cipherward_compute.peers import Peers
from cipherward_kit.testing import TestAlliance
from cipherward_kit.tls import TrustRegistry
from cipherward_member.peers import PeerChannels, PeerUnknown, peers_of

CHAIN = make_genesis()[0].chain_id


@pytest.fixture
def config(tmp_path: Path) -> ComputeConfig:
    settings = TestAlliance(tmp_path, ["hospital-a"]).settings("hospital-a", "compute")
    names = ("member_key_file", "ceremony_key_file", "data_key_file", "endpoints_file")
    files: dict[str, Any] = {name: tmp_path / name for name in names}
    return ComputeConfig(**settings, **files)


def say(config: ComputeConfig, *members: str) -> None:
    """Write alliance.json with these members' compute services."""
    endpoints = {member: {"compute": {"listen": "127.0.0.1:9"}} for member in members}
    endpoints["hospital-a"] = {"ledger": {"listen": "127.0.0.1:9"}}
    document = {"chain_id": CHAIN, "ledger_member": "hospital-a", "endpoints": endpoints}
    config.endpoints_file.write_text(json.dumps(document))


async def test_a_peer_is_unknown_until_file_and_registry_have_it(
    config: ComputeConfig, tmp_path: Path
) -> None:
    alliance = TestAlliance(tmp_path, ["hospital-a", "newcomer"])
    certificates = {m: ca.certificate_pem for m, ca in alliance.authorities.items()}
    trust = TrustRegistry({"hospital-a": certificates["hospital-a"]})
    own = alliance.identity("hospital-a", "compute")
    open_peer = peers_of(config, own, trust, CHAIN, "compute")
    for said in (None, [], ["newcomer"]):
        if said is not None:
            await asyncio.to_thread(say, config, *said)
        with pytest.raises(PeerUnknown):
            await open_peer("newcomer")
    trust.replace(certificates)
    await (await open_peer("newcomer")).close()


async def test_an_unknown_peer_is_asked_for_again_and_not_given_up() -> None:
    asked = asyncio.Event()

    async def unknown(member: str) -> aio.Channel:
        if asked.is_set():
            raise AssertionError("it was asked for again")
        asked.set()
        raise PeerUnknown(member)

    async with PeerChannels(unknown) as channels:
        with pytest.raises(AssertionError, match="again"):
            await Peers(channels).verdict("newcomer", bytes(16))
