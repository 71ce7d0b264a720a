"""What a ledger tells somebody who joins: the genesis byte for byte, and where everybody is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.registry_entry import member_key
from cipherward_chain.state_proof import verify_state_proof
from cipherward_chain.testing import make_genesis
from cipherward_ledger.beginning import AllianceFiles, Beginning
from cipherward_ledger.errors import AdmissionNotKept
from cipherward_ledger.testing import free_port

SERVICES = {
    "ledger": {
        "listen": "ledger.a:7000",
        "holder": "ledger.a:7001",
        "health": "ledger.a:7002",
        "metrics": "ledger.a:7003",
        "p2p": "ledger.a:26656",
    }
}


@pytest.fixture
async def beginning(tmp_path: Path) -> AsyncIterator[Beginning]:
    """A beginning whose contract is away."""
    genesis, keys = make_genesis()
    files = AllianceFiles(tmp_path / "alliance.json", tmp_path / "admissions")
    async with aio.insecure_channel(f"127.0.0.1:{free_port()}") as nobody:
        yield Beginning(genesis, keys.document, ContractServiceStub(nobody), files)


def write_endpoints(tmp_path: Path, chain_id: str) -> None:
    document = {
        "chain_id": chain_id,
        "ledger_member": "hospital-a",
        "endpoints": {"hospital-a": SERVICES},
    }
    (tmp_path / "alliance.json").write_text(json.dumps(document))


async def test_a_newcomer_gets_the_genesis_and_the_addresses_of_now(
    beginning: Beginning, tmp_path: Path
) -> None:
    write_endpoints(tmp_path, beginning.genesis.chain_id)
    told = await beginning.told()
    assert told.genesis == beginning.document
    assert told.ledger_member == "hospital-a"
    (address,) = told.addresses
    assert (address.member, address.service) == ("hospital-a", "ledger")
    assert (address.listen, address.p2p) == ("ledger.a:7000", "ledger.a:26656")


async def test_ports_for_probes_and_metrics_are_told_to_nobody(
    beginning: Beginning, tmp_path: Path
) -> None:
    write_endpoints(tmp_path, beginning.genesis.chain_id)
    told = str(list((await beginning.told()).addresses))
    assert "ledger.a:7000" in told
    assert "7002" not in told
    assert "7003" not in told


@pytest.mark.parametrize("content", [None, "{", "another chain"])
async def test_without_a_file_of_addresses_the_genesis_is_told_alone(
    beginning: Beginning, tmp_path: Path, content: str | None
) -> None:
    if content == "another chain":
        write_endpoints(tmp_path, "another-chain")
    elif content is not None:
        (tmp_path / "alliance.json").write_text(content)
    told = await beginning.told()
    assert told.genesis == beginning.document
    assert not told.addresses


async def test_a_proof_of_admission_is_told_as_it_was_kept(
    beginning: Beginning, tmp_path: Path
) -> None:
    (tmp_path / "admissions").mkdir()
    (tmp_path / "admissions" / "hospital-e.json").write_bytes(b"proof")
    assert await beginning.admission("hospital-e") == b"proof"


@pytest.mark.parametrize("member", ["hospital-f", "../alliance", "", "/etc/passwd"])
async def test_no_other_file_is_told(beginning: Beginning, tmp_path: Path, member: str) -> None:
    write_endpoints(tmp_path, beginning.genesis.chain_id)
    (tmp_path / "admissions").mkdir()
    with pytest.raises(AdmissionNotKept):
        await beginning.admission(member)


async def test_a_running_ledger_answers_both(
    world: Any, ledger: Any, reason_of_call: Callable[..., Any]
) -> None:
    stub = ledger.stub
    assert (await stub.GetGenesis(pb.GetGenesisRequest())).genesis == world.keys.document
    refused = stub.GetAdmission(pb.GetAdmissionRequest(member="hospital-e"))
    assert await reason_of_call(refused) == "NOT_FOUND/ADMISSION_NOT_KEPT"


async def test_a_running_ledger_proves_who_is_a_member(world: Any, ledger: Any) -> None:
    world.contract.pairs[member_key("hospital-a")] = b"an entry"
    for member, value in (("hospital-a", b"an entry"), ("hospital-e", None)):
        told = await ledger.stub.GetGenesis(pb.GetGenesisRequest(member=member))
        key, entry = member_key(member), told.entry
        assert verify_state_proof(entry.proof, entry.app_hash, key) == value
        assert entry.height == world.contract.committed


async def test_nothing_is_proven_of_who_has_no_members_name(ledger: Any) -> None:
    for member in ("", "../a", "x" * 1000):
        told = await ledger.stub.GetGenesis(pb.GetGenesisRequest(member=member))
        assert not told.HasField("entry")


async def test_while_contract_is_away_the_rest_is_told(beginning: Beginning) -> None:
    told = await beginning.told("hospital-a")
    assert told.genesis == beginning.document
    assert not told.HasField("entry")
